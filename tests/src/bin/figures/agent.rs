//! Of the agent: memory at rest with many patients, time from start to serving, size of the programs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::hl7_peer::RawMllp;
use tests::house::{House, Target};
use tests::process::Binaries;

use crate::resident_kib;

#[derive(clap::Args)]
pub(crate) struct Wanted {
    /// Patients that the agent holds.
    #[arg(long, default_value_t = 10_000)]
    patients: usize,
    /// Connections that bring them in.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Starts that are measured.
    #[arg(long, default_value_t = 5)]
    starts: usize,
}

pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut house = House::open(folder.path(), Binaries::find()?, Target::Person).await?;

    let begun = Instant::now();
    bring_in(house.mllp()?, wanted).await?;
    let took = begun.elapsed();
    let per_second = wanted.patients as f64 / took.as_secs_f64();
    println!(
        "messages taken in and acknowledged: {} in {took:.1?}, {per_second:.0} a second",
        wanted.patients
    );

    let begun = Instant::now();
    let patience = Duration::from_secs(600);
    house
        .until_status("the hub to have it all", patience, |status| status["pending"] == 0)
        .await?;
    println!(
        "until the hub had them and the agent had them back: {:.1?} more",
        begun.elapsed()
    );
    house.until_agreed().await?;

    for _ in 0..wanted.starts {
        house.agent.stop().await?;
        let begun = Instant::now();
        house.agent.start().await?;
        println!("start to serving: {:.0?}", begun.elapsed());
    }
    house.until_agreed().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let agent = house.agent.running()?.process_id()?;
    let hub = house.hub.running()?.process_id()?;
    println!(
        "agent at rest with {} patients: {} KiB resident",
        wanted.patients,
        resident_kib(agent)?
    );
    println!("hub beside it: {} KiB resident", resident_kib(hub)?);
    for (name, binary) in [("agent", &house.binaries.agent), ("hub", &house.binaries.hub)] {
        let bytes = std::fs::metadata(binary)?.len();
        println!(
            "{name} binary: {:.1} MiB ({})",
            bytes as f64 / 1_048_576.0,
            binary.display()
        );
    }
    house.close().await
}

/// Registers made-up people without a visit, by ADT A08 over several connections at once.
async fn bring_in(to: SocketAddr, wanted: &Wanted) -> Result<()> {
    let mut senders = tokio::task::JoinSet::new();
    for connection in 0..wanted.connections {
        let numbers: Vec<usize> = (connection..wanted.patients).step_by(wanted.connections).collect();
        senders.spawn(async move {
            let mut peer = RawMllp::connect(to).await?;
            for number in numbers {
                let (ack, _) = peer.send(somebody(number).as_bytes(), Duration::from_secs(30)).await?;
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

fn somebody(number: usize) -> String {
    let (family, given) = (syllables(number), syllables(number / 7 + 3));
    let (year, month, day) = (1930 + number % 90, 1 + number % 12, 1 + number % 28);
    format!(
        "MSH|^~\\&|FIGURES|RIVERSIDE|MAINSTAY|RIVERSIDE|20260414080000||ADT^A08^ADT_A01|F{number}|P|2.5.1\r\
         EVN||20260414080000\r\
         PID|1||{number:07}^^^RIVERSIDE^MR||{family}^{given}||{year}{month:02}{day:02}|F|||1 Main St^^Mesa^AZ^85201||\
         (602) 555-{:04}\r",
        number % 10_000
    )
}

pub(crate) fn syllables(number: usize) -> String {
    const PARTS: [&str; 12] = [
        "Ma", "ri", "ko", "len", "to", "vas", "hu", "ber", "qui", "san", "dor", "wei",
    ];
    (0..4).map(|place| PARTS[number / 12usize.pow(place) % 12]).collect()
}
