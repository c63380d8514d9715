//! Of an outage: visits that were written while the line was cut, and how fast they reach the hub when it is back. Real
//! agent, real hub, TLS, every commit synced to disk at both ends; beside it PouchDB to express-pouchdb, without either.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::fleet::HubSocket;
use tests::hl7_peer::RawMllp;
use tests::house::{House, Target};
use tests::process::Binaries;

use crate::peer;
use crate::report::{Form, Report};

const PATIENCE: Duration = Duration::from_secs(1_800);
const ASK_EVERY: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(crate) struct Wanted {
    /// Visits that are written while the line is cut.
    #[arg(long, default_value_t = 10_000)]
    visits: usize,
    /// Connections that bring them in.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Of people who have all been here before; otherwise nobody has.
    #[arg(long)]
    known: bool,
    /// Without PouchDB beside it.
    #[arg(long)]
    alone: bool,
    #[command(flatten)]
    form: Form,
}

pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    let mut report = Report::new(format!("{} visits written offline", wanted.visits));
    let reached = mainstay(wanted, &mut report).await?;
    if !wanted.alone {
        // What is written of a visit are several records, each a document there.
        let by_records = peer::pouchdb("offline", reached.records).await?;
        report.add(
            "PouchDB to express-pouchdb, no TLS, no fsync, as many documents",
            by_records,
            "documents/s",
        );
        report.add_noted("times as fast", reached.changes / by_records, "times", "floor 1, aim 3");
        let by_visits = peer::pouchdb("offline", wanted.visits).await?;
        report.add("PouchDB, one document for each visit", by_visits, "documents/s");
        report.add(
            "times as fast, a visit for a document",
            reached.visits / by_visits,
            "times",
        );
    }
    report.print(&wanted.form);
    Ok(())
}

/// What the hub held durably, each a second.
struct Reached {
    visits: f64,
    changes: f64,
    /// How many of the latter in all.
    records: usize,
}

async fn mainstay(wanted: &Wanted, report: &mut Report) -> Result<Reached> {
    let folder = tempfile::tempdir()?;
    let mut house = House::open(folder.path(), Binaries::find()?, Target::Person).await?;
    house.until_agreed().await?;
    if wanted.known {
        bring_in(house.mllp()?, wanted, "EARLIER").await?;
        house
            .until_status("the hub to have everybody", PATIENCE, |status| {
                status["pending"] == 0 && status["behind"] == 0
            })
            .await?;
        house.until_agreed().await?;
    }
    house.line.cut().await?;
    let begun = Instant::now();
    bring_in(house.mllp()?, wanted, "V").await?;
    let wrote = wanted.visits as f64 / begun.elapsed().as_secs_f64();
    report.add("written at the agent, offline, durable", wrote, "visits/s");
    let counter = house.status().await?["counter"].as_u64().context("no counter")?;

    // A fresh start: how long an agent waits after an outage is no part of how fast it sends.
    house.agent.stop().await?;
    house.line.restore().await?;
    let socket = HubSocket::of(house.hub.program.home())?;
    let at_start = accepted(&socket).await?;
    let passed = house.line.passed();
    house.agent.start().await?;
    let ready = Instant::now();
    let first = until_accepted(&socket, at_start + 1).await?;
    let last = until_accepted(&socket, counter).await?;
    let bytes = house.line.passed().bytes_up - passed.bytes_up;

    let took = last.saturating_duration_since(first.min(ready)).as_secs_f64();
    let changes = (counter - at_start) as f64;
    report.add("changes of these visits", changes, "changes");
    report.add("from the agent's start to all held durably by the hub", took, "s");
    let reached = Reached {
        visits: wanted.visits as f64 / took,
        changes: changes / took,
        records: usize::try_from(counter - at_start)?,
    };
    report.add(
        "reached the hub over TLS, durable at both ends",
        reached.visits,
        "visits/s",
    );
    report.add("  that is", reached.changes, "changes/s");
    report.add("up the line, with TLS and HTTP", bytes as f64 / changes, "bytes/change");
    let begun = Instant::now();
    house
        .until_status("the agent to have it all back", PATIENCE, |status| {
            status["pending"] == 0 && status["behind"] == 0
        })
        .await?;
    house.until_agreed().await?;
    report.add(
        "until the agent had it all back, roots equal",
        begun.elapsed().as_secs_f64(),
        "s more",
    );
    house.close().await?;
    Ok(reached)
}

async fn accepted(socket: &HubSocket) -> Result<u64> {
    let status = socket.status().await?;
    let sites = status["sites"].as_array().context("no sites")?;
    Ok(sites.iter().filter_map(|site| site["accepted"].as_u64()).sum())
}

/// When the hub held so many changes. It is not asked so often that it works for the question.
async fn until_accepted(socket: &HubSocket, wanted: u64) -> Result<Instant> {
    tests::until(PATIENCE, "the hub to hold the changes", async || {
        let held = accepted(socket).await?;
        if held < wanted {
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok((held >= wanted).then(Instant::now))
    })
    .await
}

/// Registers made-up people who come for a visit, by ADT A04 over several connections at once.
async fn bring_in(to: SocketAddr, wanted: &Wanted, visits: &'static str) -> Result<()> {
    let mut senders = tokio::task::JoinSet::new();
    for connection in 0..wanted.connections {
        let numbers: Vec<usize> = (connection..wanted.visits).step_by(wanted.connections).collect();
        senders.spawn(async move {
            let mut peer = RawMllp::connect(to).await?;
            for number in numbers {
                let (ack, _) = peer
                    .send(visit(visits, number).as_bytes(), Duration::from_secs(60))
                    .await?;
                ensure!(ack.code() == "AA", "message {number} was answered {}", ack.code());
            }
            anyhow::Ok(())
        });
    }
    while let Some(sender) = senders.join_next().await {
        sender.context("a sender")??;
    }
    Ok(())
}

/// Somebody of a town of twenty thousand: names and birth dates repeat as they do among people, nobody is somebody else.
fn visit(visits: &str, number: usize) -> String {
    let mixed = number.wrapping_mul(2_654_435_761) % 20_731;
    let (year, month, day) = (1930 + mixed % 90, 1 + mixed / 90 % 12, 1 + mixed / 1_080 % 28);
    format!(
        "MSH|^~\\&|FIGURES|RIVERSIDE|MAINSTAY|RIVERSIDE|20260414080000||ADT^A04^ADT_A01|{visits}{number}|P|2.5.1\r\
         EVN|A04|20260414080000\r\
         PID|1||{number:07}^^^RIVERSIDE^MR||{}^{}||{year}{month:02}{day:02}|F|||{} Main St^^Mesa^AZ^85201||(602) {:03}-{:04}\r\
         PV1|1|O|||||||||||||||||{visits}{number}\rPV2|||^Cough for 3 days, worse at night\r",
        crate::agent::syllables(mixed),
        crate::agent::syllables(mixed.wrapping_mul(7_919) % 20_731),
        1 + mixed / 7,
        200 + number / 10_000,
        number % 10_000
    )
}
