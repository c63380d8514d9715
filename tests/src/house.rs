//! A whole small world: a hub, one site's agent, the line between them, and an EHR behind a line of its own.
//!
//! Everything is built from outside as an operator would: config files, verbs, a one-time token. Refuses to live
//! anywhere but in the folder it is given.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::ehr::Ehr;
use crate::line::Line;
use crate::page::Page;
use crate::process::{Binaries, Program, Running};

const READY_PATIENCE: Duration = Duration::from_secs(30);
/// After a cut the agent may pause for 15 s before each of its next tries.
const AGREE_PATIENCE: Duration = Duration::from_secs(60);
const ROOMS: [&str; 4] = ["Room 1", "Room 2", "Room 3", "Procedure"];

/// Where tasks of the site go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The EHR over FHIR.
    Machine,
    /// The transcription screen.
    Person,
}

/// Someone who may sign in.
#[derive(Clone, Debug)]
pub struct SignIn {
    pub login: String,
    pub passphrase: String,
}

pub struct House {
    folder: PathBuf,
    pub binaries: Binaries,
    clinic: Clinic,
    pub ehr: Option<Ehr>,
    /// Between hub and EHR.
    pub ehr_line: Line,
    pub hub: Service,
    /// Where the hub itself listens, past the line.
    pub hub_address: SocketAddr,
}

/// One site: its agent, and the line between that and the hub.
pub struct Clinic {
    pub line: Arc<Line>,
    pub agent: Service,
    pub site: String,
    pub site_name: String,
    pub lead: SignIn,
}

impl Deref for House {
    type Target = Clinic;

    fn deref(&self) -> &Clinic {
        &self.clinic
    }
}

impl DerefMut for House {
    fn deref_mut(&mut self) -> &mut Clinic {
        &mut self.clinic
    }
}

/// A program on its home folder, running or not.
pub struct Service {
    pub program: Program,
    running: Option<Running>,
}

impl Service {
    pub fn new(program: Program) -> Self {
        Self { program, running: None }
    }

    pub async fn start(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "it already runs");
        self.running = Some(self.program.run_until_ready(READY_PATIENCE).await?);
        Ok(())
    }

    pub fn running(&self) -> Result<&Running> {
        self.running.as_ref().context("it does not run")
    }

    pub fn runs(&self) -> bool {
        self.running.is_some()
    }

    pub async fn kill9(&mut self) -> Result<()> {
        self.running.take().context("it does not run")?.kill9().await
    }

    /// SIGTERM; must end with code 0.
    pub async fn stop(&mut self) -> Result<()> {
        let mut running = self.running.take().context("it does not run")?;
        let status = running.stop().await?;
        ensure!(status.success(), "it ended with {status}; it said: {}", running.said());
        Ok(())
    }

    /// A verb that must succeed and answer in JSON.
    pub async fn answer(&self, arguments: &[&str]) -> Result<Value> {
        self.program.answer(arguments, None).await
    }
}

impl House {
    /// Builds and starts everything in `folder`. With [`Target::Machine`] the EHR is started too.
    pub async fn open(folder: &Path, binaries: Binaries, target: Target) -> Result<Self> {
        let line = Arc::new(Line::lay().await?);
        let ehr_line = Line::lay().await?;
        let ehr = match target {
            Target::Machine => Some(Ehr::start(&folder.join("ehr")).await?),
            Target::Person => None,
        };
        if let Some(ehr) = &ehr {
            ehr_line.lead_to(ehr.address());
        }

        let mut hub = Service::new(Program::new(&binaries.hub, &folder.join("hub")));
        let ehr_url = ehr.as_ref().map(|_| format!("http://{}", ehr_line.address()));
        let hub_address = SocketAddr::from((Ipv4Addr::LOCALHOST, crate::free_port()?));
        let config = hub_config(hub_address, line.address(), ehr_url.as_deref());
        write(&hub.program.home().join("hub.toml"), &config)?;
        hub.start().await?;
        line.lead_to(hub_address);

        let site_name = "Riverside Urgent Care".to_owned();
        let site = add_site(&hub, &site_name, target).await?;
        let lead = add_staff(&hub, folder, &site, "dolores", "Quintero, Dolores", "lead").await?;
        let mut clinic = Clinic {
            line,
            agent: Service::new(Program::new(&binaries.agent, &folder.join("agent"))),
            site,
            site_name,
            lead,
        };
        let token = token(&hub, &clinic.site).await?;
        clinic.open(&token).await?;
        Ok(Self {
            folder: folder.into(),
            binaries,
            clinic,
            ehr,
            ehr_line,
            hub,
            hub_address,
        })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A fresh one-time token for the site.
    pub async fn token(&self) -> Result<String> {
        token(&self.hub, &self.site).await
    }

    /// An agent of the site on a folder of its own, enrolled and not started: on a machine that is new, or was set up anew.
    pub async fn another_agent(&self, name: &str, settings: &str) -> Result<Service> {
        let agent = Service::new(Program::new(&self.binaries.agent, &self.folder.join(name)));
        write(
            &agent.program.home().join("agent.toml"),
            &format!("{AGENT_CONFIG}\n{settings}"),
        )?;
        let enrolled = agent
            .program
            .answer(&["enrol", "--json"], Some(&self.token().await?))
            .await;
        enrolled.context("enrolment")?;
        Ok(agent)
    }

    /// Adds a person with a passphrase of this run.
    pub async fn add_staff(&self, login: &str, name: &str, role: &str) -> Result<SignIn> {
        add_staff(&self.hub, &self.folder, &self.site, login, name, role).await
    }

    /// Ends everything in order.
    pub async fn close(mut self) -> Result<()> {
        if self.agent.runs() {
            self.agent.stop().await.context("the agent")?;
        }
        if self.hub.runs() {
            self.hub.stop().await.context("the hub")?;
        }
        if let Some(ehr) = &mut self.ehr {
            ehr.stop().await?;
        }
        Ok(())
    }
}

impl Clinic {
    /// Enrols the agent with a token and starts it.
    pub(crate) async fn open(&mut self, token: &str) -> Result<()> {
        write(&self.agent.program.home().join("agent.toml"), AGENT_CONFIG)?;
        let enrolled = self.agent.program.answer(&["enrol", "--json"], Some(token)).await;
        enrolled.context("enrolment")?;
        self.agent.start().await
    }

    pub fn page_url(&self) -> Result<&str> {
        self.agent.running()?.ready("page")
    }

    pub fn mllp(&self) -> Result<SocketAddr> {
        self.agent.running()?.ready("mllp")?.parse().context("the MLLP address")
    }

    /// A browser with the lead signed in. The lead's credential comes by the line, so this waits for it.
    pub async fn desk(&self) -> Result<Page> {
        self.desk_of(&self.lead).await
    }

    pub async fn desk_of(&self, person: &SignIn) -> Result<Page> {
        let url = self.page_url()?.to_owned();
        let mut page = Page::at(&url)?;
        // Wrong sign-ins are counted and lock a login out, so the credential is waited for, not tried for.
        if page.sign_in(&person.login, &person.passphrase).await.is_err() {
            self.until_agreed()
                .await
                .context("the sign-in to have reached the site")?;
            page.sign_in(&person.login, &person.passphrase).await?;
        }
        Ok(page)
    }

    pub async fn status(&self) -> Result<Value> {
        self.agent.answer(&["status", "--json"]).await
    }

    /// Waits until the agent's status answers `wanted`.
    pub async fn until_status(&self, what: &str, patience: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        crate::until(patience, what, async || Ok(Some(self.status().await?).filter(&wanted))).await
    }

    /// Waits until nothing is pending and every lane's roots were equal when they were last compared: what was written at this
    /// site is at the hub and back; what was written elsewhere may still be to come.
    pub async fn until_agreed(&self) -> Result<Value> {
        self.until_status("site and hub to agree", AGREE_PATIENCE, agrees).await
    }
}

/// Whether an agent's status says that nothing is pending and every lane's roots are equal.
pub fn agrees(status: &Value) -> bool {
    let lanes = status["roots"].as_object();
    status["pending"] == 0
        && lanes.is_some_and(|lanes| !lanes.is_empty() && lanes.values().all(|lane| lane["equal"] == true))
}

const AGENT_CONFIG: &str = "[page]\nlisten = \"127.0.0.1:0\"\n\n[mllp]\nlisten = \"127.0.0.1:0\"\n";

fn hub_config(listen: SocketAddr, public: SocketAddr, ehr_url: Option<&str>) -> String {
    let server = format!("[server]\nlisten = \"{listen}\"\npublic_url = \"https://{public}\"\n");
    match ehr_url {
        Some(url) => {
            format!("{server}\n[ehr]\nbase_url = \"{url}\"\nattempt_timeout_secs = 3\nretry_backoff_max_secs = 2\n")
        }
        None => server,
    }
}

pub(crate) async fn add_site(hub: &Service, name: &str, target: Target) -> Result<String> {
    let target = match target {
        Target::Machine => "machine",
        Target::Person => "person",
    };
    let mut verb = vec![
        "site",
        "add",
        name,
        "--zone",
        "America/Chicago",
        "--ehr",
        target,
        "--json",
    ];
    verb.extend(ROOMS.iter().flat_map(|room| ["--room", room]));
    let answer = hub.answer(&verb).await?;
    Ok(answer["site"].as_str().context("the hub named no site")?.to_owned())
}

pub(crate) async fn token(hub: &Service, site: &str) -> Result<String> {
    let answer = hub.answer(&["token", "--site", site, "--json"]).await?;
    Ok(answer["token"].as_str().context("the hub gave no token")?.to_owned())
}

pub(crate) async fn add_staff(
    hub: &Service,
    folder: &Path,
    site: &str,
    login: &str,
    name: &str,
    role: &str,
) -> Result<SignIn> {
    let passphrase = format!("{login}-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    let file = folder.join("passphrase");
    write(&file, &passphrase)?;
    let file_name = file.to_str().context("the folder's name is not UTF-8")?;
    let verb = ["staff", "add", login, "--name", name, "--role", role, "--site", site];
    let added = hub
        .answer(&[&verb[..], &["--passphrase-file", file_name, "--json"]].concat())
        .await;
    std::fs::remove_file(&file)?;
    added?;
    Ok(SignIn {
        login: login.into(),
        passphrase,
    })
}

pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}
