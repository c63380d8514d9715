//! Delivering tasks to partners, today the EHR by FHIR R4 REST, and bringing in what the EHR holds ([`inbound`]). Delivery
//! works from the task records alone, woken by commits and by time, and writes how far it is into them, so every step
//! reaches the site.
//!
//! What it refuses: to send before the attempt is committed; to send again, or to confirm a withdrawal, before a look-up
//! has told what became of an attempt without an answer; to create a patient before looking for one; to choose between
//! people who are alike; to let one patient's trouble delay another's.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::db::Db;
use crate::ehr::Reach;
use crate::matching::Matcher;

pub mod config;
mod delivery;
mod failure;
mod finding;
pub mod inbound;
mod journal;
mod merge;
mod pace;
mod partner;
mod plan;
mod resources;
mod situation;
mod turn;
mod worker;

pub use config::Config;
pub use partner::ConnectorError;

use delivery::Office;
use inbound::Poller;
use pace::May;
use partner::{Partner, now};
use plan::Patience;
use turn::Terms;
use worker::Worker;

/// While nothing is delivered the EHR is asked this often whether it is there.
const IDLE_PROBE_EVERY: Duration = Duration::from_secs(10);

/// The EHR's connector at work.
pub struct Connector {
    worker: JoinHandle<()>,
    watch: JoinHandle<()>,
    /// Reads the EHR, if it is to be read.
    poller: Option<JoinHandle<()>>,
}

impl Connector {
    /// Starts delivering; goes on until `stop`. Whether the EHR is reached is told to `reach`.
    pub fn start(
        db: Db,
        config: &Config,
        matcher: Matcher,
        reach: Reach,
        stop: CancellationToken,
    ) -> Result<Connector, ConnectorError> {
        let partner = Arc::new(Partner::new(config, reach)?);
        let patience = Patience {
            attempts_max: config.attempts_max,
            backoff_max_ms: config.retry_backoff_max_secs.saturating_mul(1_000),
        };
        let watch = tokio::spawn(keep_watch(partner.clone(), stop.clone()));
        // A hub that no longer delivers and says nothing is worse than one that is started anew.
        let takes_the_hub_along = stop.clone().drop_guard();
        let poller = match config.inbound.enabled {
            true => Some(Poller::new(
                db.clone(),
                partner.clone(),
                config.inbound.clone(),
                matcher.clone(),
                stop.clone(),
            )?),
            false => None,
        };
        let poller = poller.map(|poller| {
            let takes_the_hub_along = stop.clone().drop_guard();
            tokio::spawn(async move {
                poller.run().await;
                drop(takes_the_hub_along);
            })
        });
        let office = Office {
            db,
            partner,
            patience,
            matcher,
        };
        let worker = Worker::new(office, Terms::of(config), config.parallel_patients, stop);
        let worker = tokio::spawn(async move {
            worker.run().await;
            drop(takes_the_hub_along);
        });
        Ok(Connector { worker, watch, poller })
    }

    /// Waits until everything has stopped, which `stop` asked for. False when the worker broke off by a fault.
    pub async fn stopped(self) -> bool {
        let ended = self.worker.await;
        let _ = self.watch.await;
        let read = match self.poller {
            Some(poller) => poller.await.is_ok(),
            None => true,
        };
        ended.is_ok() && read
    }
}

/// Keeps knowing whether the EHR is reached while nobody asks it anything.
async fn keep_watch(partner: Arc<Partner>, stop: CancellationToken) {
    let watching = async {
        loop {
            tokio::time::sleep(watch_once(&partner).await).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = watching => {}
    }
}

/// Probes if it is time to; answers how long to wait for the next look.
async fn watch_once(partner: &Partner) -> Duration {
    let idle = Duration::from_millis((now() - partner.asked_ms()).max(0).unsigned_abs());
    match partner.may() {
        May::Go if idle < IDLE_PROBE_EVERY => IDLE_PROBE_EVERY - idle,
        May::Go => {
            partner.probe().await;
            IDLE_PROBE_EVERY
        }
        May::Probe => {
            partner.probe().await;
            Duration::ZERO
        }
        May::NotBefore(at) => Duration::from_millis((at - now()).max(10).unsigned_abs()),
    }
}

#[cfg(test)]
mod tests;
