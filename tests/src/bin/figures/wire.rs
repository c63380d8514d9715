//! Of the line: what a push weighs, part by part, what a pull weighs, and an exchange that has nothing to say.

use std::time::Duration;

use anyhow::{Result, ensure};
use sync_protocol::wire::PushRequest;
use tests::fleet::Fleet;
use tests::process::Binaries;
use tests::region::{Region, Store};

use crate::desk::Desk;
use crate::report::{Form, Report};

const PATIENCE: Duration = Duration::from_secs(120);
/// Questions that are held until their time is over, of which the weight is told.
const QUIET: u64 = 3;

#[derive(clap::Args)]
pub(crate) struct Wanted {
    /// Changes in each push.
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// Only what needs no hub.
    #[arg(long)]
    without_hub: bool,
    #[command(flatten)]
    form: Form,
}

pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    let mut desk = Desk::new();
    let patients = (0..wanted.changes).map(|number| desk.register(number));
    let patients = patients.collect::<Result<Vec<_>>>()?;
    desk.push();

    patients.iter().try_for_each(|patient| desk.edit_phone(*patient))?;
    let edits = desk.push();
    let mut report = Report::new(format!("one-field edits on {} patients, one push", wanted.changes));
    weigh(&mut report, &edits, "aim 120");
    report.print(&wanted.form);

    patients.iter().try_for_each(|patient| desk.visit(*patient, 600))?;
    let visits = desk.push();
    let mut report = Report::new(format!("{} visits of about 600 bytes, one push", wanted.changes));
    weigh(&mut report, &visits, "aim 260");
    report.print(&wanted.form);

    if let Some(patient) = patients.first() {
        let mut report = Report::new("one change alone in its push: the whole body");
        desk.edit_phone(*patient)?;
        report.add("a one-field edit", desk.push().encode_compact().len() as f64, "bytes");
        desk.visit(*patient, 600)?;
        report.add(
            "a visit of about 600 bytes",
            desk.push().encode_compact().len() as f64,
            "bytes",
        );
        report.print(&wanted.form);
    }
    if !wanted.without_hub {
        with_a_hub(wanted).await?;
    }
    Ok(())
}

fn weigh(report: &mut Report, push: &PushRequest, aim: &str) {
    let count = push.changes.len().max(1) as f64;
    let each = |bytes: usize| bytes as f64 / count;
    let author: usize = push.changes.iter().map(sync_protocol::Change::bytes).sum();
    report.add("as the author wrote it", each(author), "bytes each");
    report.add("protocol 1", each(push.encode().len()), "bytes each");
    report.add_noted("protocol 2", each(push.encode_compact().len()), "bytes each", aim);
    for (name, bytes) in push.compact_parts() {
        if bytes > 0 {
            report.add(format!("  {name}, not yet compressed"), each(bytes), "bytes each");
        }
    }
}

/// Two stores of one site at a real hub: one writes, both pull, then nobody has anything to say.
async fn with_a_hub(wanted: &Wanted) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let region = Region::open(folder.path(), Binaries::find()?, &Store::Embedded, 1, &[]).await?;
    let socket = region.hubs[0].socket()?;
    let site = socket.add_site("Riverside").await?;
    let writer = tests::fleet::SimAgent::enrol(&socket, &site).await?;
    let reader = tests::fleet::SimAgent::enrol(&socket, &site).await?;
    let mut fleet = Fleet::of(vec![writer, reader]);
    for number in 0..wanted.changes {
        fleet.agents[0].arrival(number)?;
    }
    fleet.start();
    fleet.until_drained(PATIENCE).await?;
    fleet.until_agreed(PATIENCE).await?;
    let reader = fleet.agents[1].tally();

    fleet.agents[1].forget_tally();
    fleet.until_agreed(PATIENCE).await?;
    let at_once = fleet.agents[1].tally();
    ensure!(
        at_once.rested.exchanges > 0 && at_once.rested.exchanges == at_once.pulled.exchanges,
        "an exchange was to be answered at once with nothing, and was not: {at_once}"
    );
    fleet.agents[1].forget_tally();
    tests::until(PATIENCE, "exchanges with nothing to say", async || {
        Ok((fleet.agents[1].tally().rested.exchanges >= QUIET).then_some(()))
    })
    .await?;
    let quiet = fleet.agents[1].tally();
    ensure!(
        quiet.rested.exchanges == quiet.pulled.exchanges,
        "exchanges were to have nothing to say, and told of lanes"
    );
    fleet.stop().await;
    region.close().await?;

    let mut report = Report::new("exchanges with a real hub");
    let rows = reader.rows.max(1) as f64;
    report.add(
        "pull, one row of the feed",
        reader.pulled.down as f64 / rows,
        "bytes each",
    );
    report.add("rows of that pull", rows, "rows");
    for (name, bodies) in [("held", quiet.rested), ("after a change or an outage", at_once.pulled)] {
        let (up, down) = bodies.each();
        report.add(format!("nothing to say, {name}: asked"), up, "bytes");
        report.add(format!("nothing to say, {name}: answered"), down, "bytes");
        report.add_noted(format!("nothing to say, {name}: both"), up + down, "bytes", "aim 400");
    }
    report.print(&wanted.form);
    Ok(())
}
