//! Measures what the README's figures say. It prints figures and judges nothing; a machine that is busy with other things
//! measures them wrong.
//!
//!     cargo build --release -p mainstay-agent -p mainstay-hub && cargo run --release -p tests --bin figures -- agent

#![expect(clippy::print_stdout, reason = "the figures are its output")]

mod agent;
mod bootstrap;
mod converge;
mod desk;
mod hub;
mod merge;
mod offline;
mod peer;
mod repair;
mod report;
mod wire;

use anyhow::{Context as _, Result};
use clap::Parser;

#[derive(Parser)]
enum Wanted {
    /// Memory at rest, start to serving, size of the programs.
    Agent(agent::Wanted),
    /// Changes accepted and sites fed per second, growth, memory, a thousand sites that come back at once.
    Hub(hub::Wanted),
    /// Bytes of push, pull and an exchange with nothing to say, by part.
    Wire(wire::Wanted),
    /// Changes applied, states joined and headers checked per second on one core, and how that grows.
    Merge(merge::Wanted),
    /// Visits written while the line was cut, until the hub has them; beside it PouchDB to express-pouchdb.
    Offline(offline::Wanted),
    /// Records edited on both sides of a cut line, until all is merged and proved; beside it PouchDB.
    Converge(converge::Wanted),
    /// A new machine at a site with many patients: time, and peak memory of both ends.
    Bootstrap(bootstrap::Wanted),
    /// Bytes and round trips to find and mend what differs.
    Repair(repair::Wanted),
}

#[tokio::main]
async fn main() -> Result<()> {
    match Wanted::parse() {
        Wanted::Agent(wanted) => agent::measure(&wanted).await,
        Wanted::Hub(wanted) => hub::measure(&wanted).await,
        Wanted::Wire(wanted) => wire::measure(&wanted).await,
        Wanted::Merge(wanted) => merge::measure(&wanted),
        Wanted::Offline(wanted) => offline::measure(&wanted).await,
        Wanted::Converge(wanted) => converge::measure(&wanted).await,
        Wanted::Bootstrap(wanted) => bootstrap::measure(&wanted).await,
        Wanted::Repair(wanted) => repair::measure(&wanted),
    }
}

/// What of a process lies in memory.
fn resident_kib(process: u32) -> Result<u64> {
    memory_kib(process, "VmRSS")
}

/// The most of a process that ever lay in memory.
fn peak_kib(process: u32) -> Result<u64> {
    memory_kib(process, "VmHWM")
}

fn memory_kib(process: u32, name: &'static str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name)).context(name)?;
    let figure = line.split_whitespace().nth(1).context("no figure")?;
    Ok(figure.parse()?)
}
