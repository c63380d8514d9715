//! The clinic's words and policy: what records there are and how their fields merge, how a visit flows, how numbers are
//! minted, which task an event causes, when two people are the same person.
//!
//! Nothing in this crate reads a clock, draws a random number, does I/O or is async. A program asks it and stores what
//! it answers.

pub mod booking;
pub mod catalogue;
pub mod code_set;
pub mod colleagues;
pub mod fhir;
pub mod flow;
pub mod following;
pub mod hl7;
pub mod index;
pub mod keeping;
pub mod linking;
pub mod matching;
pub mod membership;
pub mod numbering;
pub mod policies;
pub mod policy;
pub mod read;
pub mod rules;
pub mod task;
pub mod value;
pub mod write;

pub use catalogue::{
    allergy, appointment, colleague, coverage, form, link, location, organisation, patient, payer,
    policy as policy_record, provider, reference_set, result, room, site, staff, task as task_record, visit,
};
pub use read::{Said, Shown};
pub use value::{BirthDate, Identifier, PersonName, Value};
pub use write::{Action, Channel, Writing};
