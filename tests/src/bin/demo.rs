//! `cargo demo`: a hub, an EHR if its server is there, one clinic with a made-up day, and a control page that cuts and
//! restores the line between them.
//!
//! Builds and runs the real programs on a folder of its own and free loopback ports. Refuses a folder that already holds
//! something, so that no real installation is ever touched. Ends everything on Ctrl-C and SIGTERM.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use tests::clinic_day::ClinicDay;
use tests::control::{Control, HowToSignIn, WhereToLook};
use tests::ehr::Ehr;
use tests::house::{House, Target};
use tests::process::Binaries;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const HEARTBEAT: Duration = Duration::from_secs(25);

/// Starts a clinic, a hub and an EHR with a made-up day, and lets you cut the line between them.
#[derive(Parser)]
#[command(name = "demo")]
struct Arguments {
    /// No words for people and a day that stands still, for programs that drive the demo.
    #[arg(long)]
    headless: bool,
    /// Keep everything in this folder, which must be empty or not there; it stays afterwards. Without it, a temporary one.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON line when ready.
    #[arg(long)]
    json: bool,
    /// Let a person be the EHR (the transcription screen), even if the FHIR server is installed.
    #[arg(long)]
    no_ehr: bool,
    /// Use the programs as they were last built.
    #[arg(long)]
    no_build: bool,
}

/// A demo that is ready to be looked at.
struct Demo {
    house: House,
    control: Control,
    places: WhereToLook,
    day: ClinicDay,
    /// Removes the folder when it is dropped, after the house.
    _folder: Option<tempfile::TempDir>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    let signals = tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    let started = tokio::select! {
        started = Demo::start(&arguments) => Some(started?),
        // Dropping a half-started demo ends what it had started.
        () = stop.cancelled() => None,
    };
    if let Some(demo) = started {
        demo.announce(&arguments)?;
        demo.live(&arguments, &stop).await?;
    }
    signals.abort();
    Ok(())
}

impl Demo {
    async fn start(arguments: &Arguments) -> Result<Self> {
        let say = |words: &str| {
            if arguments.headless {
                Ok(())
            } else {
                writeln!(std::io::stderr(), "{words}")
            }
        };
        let (path, folder) = folder(arguments.dir.as_deref())?;
        let binaries = if arguments.no_build {
            Binaries::find()?
        } else {
            say("Building the agent and the hub, if they changed…")?;
            Binaries::build().await?
        };
        let target = if !arguments.no_ehr && Ehr::is_installed() {
            Target::Machine
        } else {
            Target::Person
        };
        say("Starting a hub, a clinic and what stands in for the EHR…")?;
        let house = House::open(&path, binaries, target).await?;
        let mut day = ClinicDay::begin(house.desk().await?, house.mllp()?);
        say("Letting the morning happen…")?;
        day.until_now().await.context("the clinic day")?;
        let places = WhereToLook {
            page: house.page_url()?.into(),
            hub: format!("https://{}", house.hub_address),
            mllp: house.mllp()?.to_string(),
            ehr: house.ehr.as_ref().map(Ehr::base_url),
            control: String::new(),
            site: house.site.clone(),
            sign_in: HowToSignIn {
                login: house.lead.login.clone(),
                passphrase: house.lead.passphrase.clone(),
            },
        };
        let (control, places) = Control::serve(Arc::clone(&house.line), &house.site_name, places).await?;
        Ok(Self {
            house,
            control,
            places,
            day,
            _folder: folder,
        })
    }

    fn announce(&self, arguments: &Arguments) -> Result<()> {
        let mut out = std::io::stdout();
        if arguments.json {
            writeln!(out, "{}", serde_json::to_string(&self.places)?)?;
        } else {
            let WhereToLook {
                page,
                hub,
                mllp,
                ehr,
                control,
                sign_in,
                ..
            } = &self.places;
            let ehr = ehr.as_deref().unwrap_or("a person: see the work list on the page");
            writeln!(out, "\n{} is open. All people are made up.\n", self.house.site_name)?;
            writeln!(
                out,
                "  page      {page}   sign in as {} with {}",
                sign_in.login, sign_in.passphrase
            )?;
            writeln!(out, "  control   {control}   cut the line, restore the line")?;
            writeln!(out, "  HL7       {mllp}   (MLLP)")?;
            writeln!(out, "  hub       {hub}")?;
            writeln!(out, "  EHR       {ehr}")?;
            writeln!(out, "\nCtrl-C ends everything.")?;
        }
        out.flush().context("nobody reads what the demo says")
    }

    /// Goes on until told to stop; unless headless, the day goes on too.
    async fn live(mut self, arguments: &Arguments, stop: &CancellationToken) -> Result<()> {
        while stop.run_until_cancelled(tokio::time::sleep(HEARTBEAT)).await.is_some() {
            if !arguments.headless {
                self.day.something_happens().await.context("the clinic day")?;
            }
        }
        self.control.stop().await;
        self.house.close().await
    }
}

/// Where the demo lives; a temporary folder is removed with the guard.
fn folder(wanted: Option<&Path>) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    let Some(wanted) = wanted else {
        let made = tempfile::Builder::new()
            .prefix("mainstay-demo-")
            .tempdir()
            .context("no temporary folder")?;
        return Ok((made.path().to_path_buf(), Some(made)));
    };
    std::fs::create_dir_all(wanted).with_context(|| format!("{} cannot be made", wanted.display()))?;
    let empty = std::fs::read_dir(wanted)?.next().is_none();
    ensure!(
        empty,
        "{} is not empty; name an empty or new folder for the demo",
        wanted.display()
    );
    Ok((std::fs::canonicalize(wanted)?, None))
}
