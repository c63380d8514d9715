//! The real programs, from outside: real TLS, real MLLP, a real FHIR server nobody here wrote, kill -9, cut lines.
//!
//! Nothing here calls into the agent or the hub: what is asserted is what a person, a peer or an operator can see.

mod at_rest;
mod bad_input;
mod certificates;
mod chaos;
mod clock;
mod conflict;
mod corpus;
mod cut_line;
mod delivery;
mod demo;
mod doors;
mod full_disk;
mod inbound;
mod intake;
mod leaving_scope;
mod matching;
mod organisations;
mod phi_at_rest;
mod postgres_gone;
mod proxies;
mod put_back;
mod reference;
mod rot;
mod schedule;
mod several;
mod signed_requests;
mod simulated_sites;
mod snapshot;
mod transcription;
mod two_hubs;
mod two_sites;
mod world;
