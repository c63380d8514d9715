//! The agent: what runs at a clinic site. `service` starts and stops it all; `access` is the door to everything that is
//! done at the site; `store` is where the siblings meet. `web`, `intake`, `sync` and `jobs` never import each other.

pub mod access;
pub mod app;
pub mod clock;
pub mod config;
pub mod enrol;
pub mod enrolment;
pub mod fault;
pub mod home;
pub mod hub_client;
pub mod intake;
pub mod jobs;
pub mod line;
pub mod local;
pub mod log;
pub mod open;
pub mod pages;
pub mod policies;
pub mod reference;
pub mod service;
pub mod session;
pub mod status;
pub mod store;
pub mod sync;
pub mod verified;
pub mod web;
pub mod witness;
