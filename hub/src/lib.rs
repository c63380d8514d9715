//! The hub in the cloud: it keeps every change of its sites, feeds them the records they hold, enrols their agents and
//! delivers their tasks to the EHR.
//!
//! What it refuses: to make a store anew that cannot be opened, to take a change whose chain does not add up, to answer
//! anybody whose certificate is not of its own authority.

pub mod admin;
pub mod cli;
pub mod config;
pub mod connectors;
pub mod console;
pub mod continuity;
pub mod db;
pub mod ehr;
pub mod exit;
pub mod home;
pub mod intake;
pub mod log;
pub mod matching;
pub mod proof;
pub mod reference;
pub mod scopes;
pub mod server;
pub mod service;
pub mod snapshots;
