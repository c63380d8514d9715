//! The sites of a chaos run: agents with their writers, copies of their disks, and what was done to whom.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tests::copy_folder;
use tests::fleet::HubSocket;
use tests::house::Service;
use tests::postgres::Cluster;
use tests::process::{Binaries, Program};
use tests::simulation::Rng;
use tokio_util::sync::CancellationToken;

use super::check::how_it_stands;
use super::writer::{Sent, Writer};
use super::{Disturbance, patience};
use crate::several::Several;

const STANDSTILL: Duration = Duration::from_secs(3);
const CUT: Duration = Duration::from_millis(1_500);

/// Each site with the hub process that it begins with; the last process is the one that stands still and is killed.
pub(super) fn at(hubs: usize) -> [(&'static str, usize); 3] {
    [("Northside", 0), ("Southside", hubs - 1), ("Eastside", hubs - 1)]
}

/// Only killed, and its line cut.
const KILLED: usize = 0;
/// Put back to a copy.
const RESTORED: usize = 1;
/// Runs twice.
const CLONED: usize = 2;
/// The writer to the second machine, once there is one.
const SECOND: usize = 3;

/// A copy of a folder, and how many messages its writer had sent when it was taken.
struct Copy {
    folder: PathBuf,
    sent: usize,
    rebirths: usize,
    incarnation: Value,
    /// At most what it has.
    counter: u64,
}

/// The hub's store as it was at one moment.
enum Backup {
    /// A home folder with the embedded store's files.
    Files(PathBuf),
    /// What `pg_dump` said.
    Database(String),
}

pub(super) struct Sites {
    pub(super) several: Several,
    folder: tempfile::TempDir,
    writers: Vec<Writer>,
    stop: CancellationToken,
    copy: Option<Copy>,
    /// The second machine that runs a site's folder.
    pub(super) clone: Option<Service>,
    backup: Option<Backup>,
    cluster: Option<Cluster>,
    /// Messages that were confirmed by a disk which was thrown away after the hub had them.
    only_at_hub: Vec<Range<usize>>,
    done: Vec<(Disturbance, u32)>,
    pub(super) hub_was_put_back: bool,
    /// How many identities the restored agent must have told of since its last restore.
    pub(super) restored_rebirths: usize,
}

impl Sites {
    pub(super) fn take(several: Several, cluster: Option<Cluster>) -> Result<Sites> {
        let stop = CancellationToken::new();
        let writers = (0..several.clinics.len()).map(|site| Writer::start(site, stop.clone()));
        let sites = Sites {
            writers: writers.collect(),
            several,
            folder: tempfile::Builder::new().prefix("mainstay-chaos-").tempdir()?,
            stop,
            copy: None,
            clone: None,
            backup: None,
            cluster,
            only_at_hub: Vec::new(),
            done: Vec::new(),
            hub_was_put_back: false,
            restored_rebirths: 0,
        };
        for site in 0..sites.writers.len() {
            sites.writers[site]
                .book
                .send_to(Some(sites.several.clinics[site].mllp()?));
        }
        Ok(sites)
    }

    /// What was done how often, for whoever reads of a failure.
    pub(super) fn told(&self) -> String {
        let mut told = "done:".to_owned();
        for (disturbance, times) in &self.done {
            let _ = write!(told, " {disturbance:?} {times}");
        }
        told
    }

    pub(super) fn socket(&self) -> Result<HubSocket> {
        self.several.hubs[0].socket()
    }

    pub(super) async fn disturb(&mut self, what: Disturbance, rng: &mut Rng) -> Result<()> {
        match what {
            Disturbance::KillAgent => self.kill_agent([KILLED, RESTORED, CLONED][rng.index(3)]).await?,
            Disturbance::KillHub => self.kill_hub().await?,
            Disturbance::PauseHub => self.pause_hub().await?,
            Disturbance::CutLine => {
                let line = &self.several.clinics[rng.index(3)].line;
                line.cut().await?;
                tokio::time::sleep(CUT).await;
                line.restore().await?;
            }
            Disturbance::LoseReplies => {
                let line = &self.several.clinics[rng.index(3)].line;
                line.set(tests::line::Condition::RepliesLost).await?;
                tokio::time::sleep(CUT).await;
                line.restore().await?;
            }
            Disturbance::CopyAgent => self.copy_agent().await?,
            Disturbance::RestoreAgent => self.restore_agent(rng).await?,
            Disturbance::CloneAgent => self.clone_agent().await?,
            Disturbance::BackUpHub => self.backup = Some(self.back_up_hub()?),
            Disturbance::RestoreHub => self.restore_hub(rng).await?,
        }
        match self.done.iter_mut().find(|(done, _)| *done == what) {
            Some((_, times)) => *times += 1,
            None => self.done.push((what, 1)),
        }
        Ok(())
    }

    async fn start_agent(&mut self, site: usize) -> Result<()> {
        let clinic = &mut self.several.clinics[site];
        clinic.agent.start().await?;
        self.writers[site].book.send_to(Some(clinic.mllp()?));
        Ok(())
    }

    async fn kill_agent(&mut self, site: usize) -> Result<()> {
        self.several.clinics[site].agent.kill9().await?;
        self.writers[site].book.send_to(None);
        self.start_agent(site).await
    }

    /// Its sites go to the first process for as long, if there is another.
    async fn kill_hub(&mut self) -> Result<()> {
        let last = self.several.hubs.len() - 1;
        self.several.hubs[last].service.kill9().await?;
        self.turn_to(0).await?;
        tokio::time::sleep(CUT).await;
        self.several.hubs[last].service.start().await?;
        self.turn_to(last).await
    }

    async fn pause_hub(&mut self) -> Result<()> {
        let last = self.several.hubs.len() - 1;
        self.several.hubs[last].pause()?;
        self.turn_to(0).await?;
        tokio::time::sleep(STANDSTILL).await;
        self.several.hubs[last].resume()?;
        self.turn_to(last).await
    }

    /// Of one moment, in the middle of the work, as a backup is.
    fn back_up_hub(&self) -> Result<Backup> {
        if let Some(cluster) = &self.cluster {
            return Ok(Backup::Database(cluster.dump()?));
        }
        let folder = self
            .folder
            .path()
            .join(format!("hub-{}", uuid::Uuid::new_v4().simple()));
        let hub = &self.several.hubs[0];
        hub.pause()?;
        let copied = put_store(hub.service.program.home(), &folder);
        hub.resume()?;
        copied?;
        Ok(Backup::Files(folder))
    }

    /// The store goes back to the backup: while every hub process is killed, or, where they share a server, every other time
    /// while one goes on and another stands still.
    async fn restore_hub(&mut self, rng: &mut Rng) -> Result<()> {
        let backup = match self.backup.take() {
            Some(backup) => backup,
            None => self.back_up_hub()?,
        };
        // Something is to be missing from it.
        tokio::time::sleep(STANDSTILL).await;
        let runs_on = self.cluster.is_some() && rng.below(2) == 0;
        if runs_on {
            self.several.hubs.last().context("there is a hub")?.pause()?;
        } else {
            for hub in &mut self.several.hubs {
                hub.service.kill9().await?;
            }
        }
        match &backup {
            Backup::Files(folder) => put_store(folder, self.several.hubs[0].service.program.home())?,
            Backup::Database(dump) => {
                let cluster = self.cluster.as_ref().context("a dump is of a server")?;
                cluster.put_back(dump)?;
            }
        }
        if runs_on {
            self.several.hubs.last().context("there is a hub")?.resume()?;
        } else {
            for hub in &mut self.several.hubs {
                hub.service.start().await?;
            }
        }
        // What a thrown-away disk had confirmed was only there.
        for range in self.only_at_hub.drain(..) {
            self.writers[RESTORED].book.lose(range);
        }
        self.backup = Some(backup);
        self.hub_was_put_back = true;
        Ok(())
    }

    async fn turn_to(&self, hub: usize) -> Result<()> {
        if self.several.hubs.len() > 1 {
            for site in [RESTORED, CLONED] {
                self.several.turn(site, hub).await?;
            }
        }
        Ok(())
    }

    /// As a snapshot of the disk would be: of one moment, in the middle of the work.
    async fn copy_agent(&mut self) -> Result<()> {
        let folder = self
            .folder
            .path()
            .join(format!("copy-{}", uuid::Uuid::new_v4().simple()));
        let clinic = &self.several.clinics[RESTORED];
        let running = clinic.agent.running()?;
        running.signal(Signal::STOP)?;
        // While it stands still nothing is confirmed; what is on its way may be confirmed after.
        let sent = self.writers[RESTORED].book.length().saturating_sub(2);
        let copied = copy_folder(clinic.agent.program.home(), &folder);
        running.signal(Signal::CONT)?;
        copied?;
        let status = clinic.status().await?;
        let copy = Copy {
            folder,
            sent,
            rebirths: rebirths(&status),
            incarnation: status["incarnation"].clone(),
            counter: status["counter"].as_u64().unwrap_or_default(),
        };
        if let Some(old) = self.copy.replace(copy) {
            std::fs::remove_dir_all(old.folder)?;
        }
        Ok(())
    }

    /// The disk goes back to the copy, after the hub has come to hold more than it has; every other time everything that was
    /// confirmed has reached the hub before.
    async fn restore_agent(&mut self, rng: &mut Rng) -> Result<()> {
        if self.copy.is_none() {
            self.copy_agent().await?;
        }
        let copy = self.copy.as_ref().context("there is a copy")?;
        let (clinic, book) = (&mut self.several.clinics[RESTORED], &self.writers[RESTORED].book);
        tests::until(patience(), "the hub to have more than the copy", async || {
            let status = clinic.status().await?;
            let accepted = status["accepted"].as_u64().unwrap_or_default();
            let ahead = status["incarnation"] != copy.incarnation || accepted > copy.counter;
            Ok(ahead.then_some(()))
        })
        .await?;
        let all_there = rng.below(2) == 0;
        if all_there {
            book.send_to(None);
            let mut told = String::new();
            let has_all = tests::until(patience(), "the hub to have everything", async || {
                let before = book.length();
                tokio::time::sleep(STANDSTILL / 6).await;
                let nothing_new = book.length() == before && !book.is_sending();
                let status = clinic.status().await?;
                told = how_it_stands(&clinic.site_name, &status);
                Ok((nothing_new && status["pending"] == 0).then_some(()))
            })
            .await;
            has_all.with_context(|| format!("is sending: {}; {told}", book.is_sending()))?;
        }
        clinic.agent.kill9().await?;
        book.send_to(None);
        let since = copy.sent..book.length();
        if all_there {
            self.only_at_hub.push(since);
        } else {
            book.lose(since);
        }
        let home = clinic.agent.program.home().to_path_buf();
        std::fs::remove_dir_all(&home)?;
        copy_folder(&copy.folder, &home)?;
        self.restored_rebirths = copy.rebirths + 1;
        self.start_agent(RESTORED).await
    }

    async fn clone_agent(&mut self) -> Result<()> {
        if self.clone.is_some() {
            return self.kill_clone().await;
        }
        let home = self.folder.path().join("second-machine");
        let clinic = &self.several.clinics[CLONED];
        let running = clinic.agent.running()?;
        running.signal(Signal::STOP)?;
        let copied = copy_folder(clinic.agent.program.home(), &home);
        running.signal(Signal::CONT)?;
        copied?;
        let mut service = Service::new(Program::new(&Binaries::find()?.agent, &home));
        service.start().await?;
        let writer = Writer::start(SECOND, self.stop.clone());
        writer.book.send_to(Some(service.running()?.ready("mllp")?.parse()?));
        self.writers.push(writer);
        self.clone = Some(service);
        Ok(())
    }

    async fn kill_clone(&mut self) -> Result<()> {
        let (service, book) = (self.clone.as_mut(), &self.writers[SECOND].book);
        let service = service.context("there is a second machine")?;
        service.kill9().await?;
        book.send_to(None);
        service.start().await?;
        book.send_to(Some(service.running()?.ready("mllp")?.parse()?));
        Ok(())
    }

    /// Ends the writers. Answers what each site was sent, the second machine's with its site's.
    pub(super) async fn stop_writing(&mut self) -> Result<Vec<Vec<Sent>>> {
        // One that came last has hardly begun.
        tests::until(patience(), "every writer to be confirmed something", async || {
            let has_begun = |writer: &Writer| writer.book.sent().iter().any(|sent| sent.confirmed);
            Ok(self.writers.iter().all(has_begun).then_some(()))
        })
        .await?;
        self.stop.cancel();
        let mut written: Vec<Vec<Sent>> = Vec::new();
        for (number, writer) in self.writers.drain(..).enumerate() {
            let book = writer.join().await;
            let confirmed = book.sent().iter().filter(|sent| sent.confirmed).count();
            ensure!(confirmed > 0, "writer {number} was confirmed nothing");
            if number == SECOND {
                written[CLONED].extend(book.sent());
            } else {
                written.push(book.sent());
            }
        }
        Ok(written)
    }

    /// The status of every agent that runs, by a name for whoever reads it.
    pub(super) async fn statuses(&self) -> Result<Vec<(String, Value)>> {
        let mut statuses = Vec::new();
        for clinic in &self.several.clinics {
            statuses.push((clinic.site_name.clone(), clinic.status().await?));
        }
        if let Some(service) = &self.clone {
            let status = service.answer(&["status", "--json"]).await?;
            statuses.push(("the second machine".to_owned(), status));
        }
        Ok(statuses)
    }
}

/// The embedded store's files take the place of those in another home.
fn put_store(from: &Path, to: &Path) -> Result<()> {
    let to = to.join("data");
    std::fs::create_dir_all(&to)?;
    for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        let (from, to) = (from.join("data").join(name), to.join(name));
        if to.exists() {
            std::fs::remove_file(&to)?;
        }
        if from.exists() {
            std::fs::copy(from, to)?;
        }
    }
    Ok(())
}

pub(super) fn rebirths(status: &Value) -> usize {
    status["rebirths"].as_array().map_or(0, Vec::len)
}
