//! The agent: what runs at a clinic site.

pub mod access;
pub mod store;
pub mod web;
