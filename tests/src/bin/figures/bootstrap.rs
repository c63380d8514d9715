//! Of a machine that is new at a site with many patients: how long until it has them all and the roots are proven equal, the
//! most memory that either end took, and what went down the line; from a snapshot, and page by page beside it. Real agent, real
//! hub, TLS, every commit synced to disk at both ends.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::fleet::{HubSocket, register_at};
use tests::house::{House, Target};
use tests::process::Binaries;

use crate::peak_kib;
use crate::report::{Form, Report};

const PATIENCE: Duration = Duration::from_secs(3_600);
/// How often the agent is asked how far it is; each time costs the start of a program.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct Wanted {
    /// Patients of the site.
    #[arg(long, default_value_t = 200_000)]
    patients: usize,
    /// What is measured.
    #[arg(long, value_enum, default_values = ["snapshot", "pages"])]
    ways: Vec<Way>,
    /// From how many waiting rows on a snapshot is taken; pages go on while the hub makes it.
    #[arg(long, default_value_t = 5_000)]
    rows_min: u64,
    /// Every piece of traffic is held back so long on the line.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    #[command(flatten)]
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Way {
    Snapshot,
    Pages,
}

impl Way {
    fn settings(self, rows_min: u64) -> String {
        let rows_min = match self {
            Way::Snapshot => rows_min,
            // More than ever wait.
            Way::Pages => 1_000_000_000,
        };
        format!("[sync]\nsnapshot_rows_min = {rows_min}\n")
    }

    fn words(self) -> &'static str {
        match self {
            Way::Snapshot => "snapshot",
            Way::Pages => "page by page",
        }
    }
}

pub(crate) async fn measure(wanted: &Wanted) -> Result<()> {
    let mut report = Report::new(format!(
        "a new machine at a site of {} patients, line delay {} ms",
        wanted.patients, wanted.delay_ms
    ));
    let folder = tempfile::tempdir()?;
    let mut house = House::open(folder.path(), Binaries::find()?, Target::Person).await?;
    house.agent.stop().await?;
    let socket = HubSocket::of(house.hub.program.home())?;
    // A site may have a quarter of this where no policy says more.
    let cap = format!("patients_max = {}\n", wanted.patients + 1_000);
    socket
        .ask(&json!({ "about": "policy", "command": "set", "name": "scope", "body": cap }))
        .await?;
    let begun = Instant::now();
    register_at(&socket, &house.site, 0..wanted.patients, PATIENCE).await?;
    let rate = wanted.patients as f64 / begun.elapsed().as_secs_f64();
    report.add("registered at the hub beforehand", rate, "patients/s");
    for (number, way) in wanted.ways.iter().enumerate() {
        // So that its peak is of this alone.
        house.hub.stop().await?;
        house.hub.start().await?;
        let settings = way.settings(wanted.rows_min);
        house.agent = house.another_agent(&format!("agent-{number}"), &settings).await?;
        house.line.set_delay(Duration::from_millis(wanted.delay_ms));
        one(&mut house, wanted, *way, &mut report).await?;
        house.line.set_delay(Duration::ZERO);
    }
    house.close().await?;
    report.print(&wanted.form);
    Ok(())
}

async fn one(house: &mut House, wanted: &Wanted, way: Way, report: &mut Report) -> Result<()> {
    let passed = house.line.passed().bytes_down;
    house.agent.start().await?;
    let begun = Instant::now();
    let mut filled = 0;
    loop {
        let status = house.status().await?;
        filled = filled.max(status["filling"]["of_rows"].as_u64().unwrap_or(0));
        if is_complete(&status) {
            break;
        }
        ensure!(begun.elapsed() < PATIENCE, "it did not end: {status}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let bytes = house.line.passed().bytes_down - passed;
    let said = house.agent.program.home().join("logs");
    ensure!(
        way == Way::Pages
            || 10 * filled >= 9 * wanted.patients as u64
            || (wanted.patients as u64) < 4 * wanted.rows_min,
        "a snapshot of {filled} rows was taken; see {}",
        said.display()
    );
    let of = way.words();
    report.add(format!("{of}: until all is here and proven identical"), took, "s");
    report.add("  that is", wanted.patients as f64 / took, "patients/s");
    let mib = |kib: u64| kib as f64 / 1024.0;
    let peak = |service: &tests::house::Service| peak_kib(service.running()?.process_id()?).map(mib);
    report.add("  peak memory of the agent", peak(&house.agent)?, "MiB");
    report.add("  peak memory of the hub", peak(&house.hub).context("the hub")?, "MiB");
    report.add("  down the line, with TLS and HTTP", bytes as f64 / 1_048_576.0, "MiB");
    house.agent.stop().await
}

fn is_complete(status: &Value) -> bool {
    let roots = status["roots"].as_object();
    let are_equal = roots.is_some_and(|lanes| lanes.values().all(|lane| lane["equal"] == true));
    status["filling"].is_null() && status["behind"] == 0 && status["roots"]["flow"]["verified_ms"].is_i64() && are_equal
}
