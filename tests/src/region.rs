//! Several sites of one organisation: hub processes on one store, an agent at each site with a line of its own, and which
//! process each site talks to.
//!
//! Everything is built from outside as an operator would. Refuses to know how the hub processes keep together: they share
//! a store and the keys, nothing else.

use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustix::process::Signal;

use crate::fleet::HubSocket;
use crate::house::{Clinic, Service, Target, add_site, add_staff, token, write};
use crate::line::Line;
use crate::process::{Binaries, Program};

/// What the hub processes keep their records in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// One encrypted file, for one process.
    Embedded,
    /// A PostgreSQL database, by its connection string.
    Postgres(String),
}

impl Store {
    /// The table `[store]` of hub.toml.
    pub fn table(&self) -> String {
        match self {
            Store::Embedded => String::new(),
            Store::Postgres(url) => format!("\n[store]\npostgres = \"{url}\"\n"),
        }
    }
}

/// One hub process on its own home folder.
pub struct Hub {
    pub service: Service,
    pub address: SocketAddr,
    /// What hub.toml holds besides the table `[server]`.
    tables: String,
}

impl Hub {
    fn new(binaries: &Binaries, home: &Path, tables: &str) -> Result<Hub> {
        Ok(Hub {
            service: Service::new(Program::new(&binaries.hub, home)),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, crate::free_port()?)),
            tables: tables.to_owned(),
        })
    }

    /// Writes its hub.toml; tokens will carry `public`.
    fn configure(&self, public: SocketAddr) -> Result<()> {
        let config = format!(
            "[server]\nlisten = \"{}\"\npublic_url = \"https://{public}\"\n{}",
            self.address, self.tables
        );
        write(&self.service.program.home().join("hub.toml"), &config)
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn socket(&self) -> Result<HubSocket> {
        HubSocket::of(self.service.program.home())
    }

    /// SIGSTOP: as good as dead to everybody, with all it holds.
    pub fn pause(&self) -> Result<()> {
        self.service.running()?.signal(Signal::STOP)
    }

    pub fn resume(&self) -> Result<()> {
        self.service.running()?.signal(Signal::CONT)
    }
}

/// Sites, hub processes and their store.
pub struct Region {
    pub hubs: Vec<Hub>,
    pub clinics: Vec<Clinic>,
}

impl Region {
    /// Builds and starts everything in `folder`: `hubs` processes, and for every named site an agent that talks to the
    /// process of that number.
    pub async fn open(
        folder: &Path,
        binaries: Binaries,
        store: &Store,
        hubs: usize,
        sites: &[(&str, usize)],
    ) -> Result<Region> {
        Region::open_with(folder, binaries, &store.table(), hubs, sites).await
    }

    /// The same with lines of hub.toml of the caller's own, which go on from table `[server]`.
    pub async fn open_with(
        folder: &Path,
        binaries: Binaries,
        tables: &str,
        hubs: usize,
        sites: &[(&str, usize)],
    ) -> Result<Region> {
        let hubs = (0..hubs).map(|number| Hub::new(&binaries, &folder.join(format!("hub-{number}")), tables));
        let mut region = Region {
            hubs: hubs.collect::<Result<Vec<_>>>()?,
            clinics: Vec::new(),
        };
        let first = &region.hubs[0];
        first.configure(first.address)?;
        // Makes the keys and the store; nothing runs yet, so the verbs below open the store themselves, and each token
        // carries the address of its own site's line.
        first.service.answer(&["status", "--json"]).await?;
        let mut tokens = Vec::new();
        for (number, (name, hub)) in sites.iter().enumerate() {
            let line = Arc::new(Line::lay().await?);
            first.configure(line.address())?;
            line.lead_to(region.hubs[*hub].address);
            let site = add_site(&first.service, name, Target::Person).await?;
            let login = format!("lead{number}");
            let lead = add_staff(
                &first.service,
                folder,
                &site,
                &login,
                &format!("Lead {number}, Dolores"),
                "lead",
            )
            .await?;
            tokens.push(token(&first.service, &site).await?);
            region.clinics.push(Clinic {
                line,
                agent: Service::new(Program::new(&binaries.agent, &folder.join(format!("agent-{number}")))),
                site,
                site_name: (*name).to_owned(),
                lead,
            });
        }
        region.start(folder).await?;
        for (clinic, token) in region.clinics.iter_mut().zip(tokens) {
            clinic.open(&token).await.with_context(|| clinic.site_name.clone())?;
        }
        Ok(region)
    }

    async fn start(&mut self, folder: &Path) -> Result<()> {
        let keys = folder.join("hub-0/keys");
        for (number, hub) in self.hubs.iter_mut().enumerate() {
            if number > 0 {
                copy_private(&keys, &hub.service.program.home().join("keys"))?;
            }
            hub.configure(hub.address)?;
            hub.service
                .start()
                .await
                .with_context(|| format!("hub process {number}"))?;
        }
        Ok(())
    }

    /// Leads a site's line to another hub process; its running connections end.
    pub async fn turn(&self, clinic: usize, hub: usize) -> Result<()> {
        let line = &self.clinics[clinic].line;
        line.cut().await?;
        line.lead_to(self.hubs[hub].address);
        line.restore().await
    }

    /// Ends everything in order.
    pub async fn close(mut self) -> Result<()> {
        for clinic in &mut self.clinics {
            if clinic.agent.runs() {
                clinic.agent.stop().await.with_context(|| clinic.site_name.clone())?;
            }
        }
        for hub in &mut self.hubs {
            if hub.service.runs() {
                hub.service.stop().await.context("a hub process")?;
            }
        }
        Ok(())
    }
}

/// Copies the files of a folder as an operator does who sets up a second process: for the owner alone.
fn copy_private(from: &Path, to: &Path) -> Result<()> {
    let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode));
    std::fs::create_dir_all(to)?;
    mode(to, 0o700)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        std::fs::copy(entry.path(), &copy)?;
        mode(&copy, 0o600)?;
    }
    Ok(())
}
