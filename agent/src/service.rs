//! Starting and stopping: opens what is there, binds every port before anything is promised, runs the parts, and ends them
//! in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use notify_debouncer_full::notify::RecursiveMode;
use notify_debouncer_full::{DebounceEventResult, new_debouncer};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vault::{Custody, private_file};

use crate::app::App;
use crate::config::{self, Config};
use crate::enrolment::{self, Enrolment};
use crate::fault::Fault;
use crate::home::Home;
use crate::hub_client::HubClient;
use crate::line::LineWatch;
use crate::log::Log;
use crate::pages::PagesOpen;
use crate::reference::References;
use crate::store::{Priority, Store};
use crate::sync::{Exchange, PushBytes, Repairs, Snapshots};
use crate::witness::Mark;
use crate::{clock, intake, jobs, local, log, open, session, web};

/// Where the running agent is reached.
pub struct Ready {
    pub page: SocketAddr,
    pub mllp: SocketAddr,
}

/// Runs the agent until `stop`. `ready` is called once everything listens.
pub async fn run(home: &Home, stop: CancellationToken, ready: impl FnOnce(&Ready)) -> Result<(), Fault> {
    let settings = config::load(&home.config())?;
    if !Store::exists(&home.data()) && !home.key().exists() {
        return Err(Fault::NotEnrolled {
            home: home.path().to_owned(),
        });
    }
    private_file::create_private_dir(&home.logs())?;
    let log = log::begin(&home.logs(), &settings.log).map_err(Fault::Other)?;
    let store = open::open(home)?;
    let outcome = run_on(home, settings, &store, log, stop, ready).await;
    store.shutdown().await;
    tracing::info!("stopped");
    outcome
}

async fn run_on(
    home: &Home,
    settings: Config,
    store: &Store,
    log: Log,
    stop: CancellationToken,
    ready: impl FnOnce(&Ready),
) -> Result<(), Fault> {
    let enrolment = store.read(Enrolment::read).await?;
    let credentials = store.read(enrolment::credentials).await?;
    let (Some(enrolment), Some(credentials)) = (enrolment, credentials) else {
        return Err(Fault::NotEnrolled {
            home: home.path().to_owned(),
        });
    };
    // Ports first: a start that is refused has written nothing.
    let page = bind("the page", "page.listen", settings.page.listen, home).await?;
    let mllp = bind("HL7 intake", "mllp.listen", settings.mllp.listen, home).await?;
    let mark = Mark::prove(home, store).await?;
    let first_number = store
        .write(Priority::Sync, enrolment::begin_request_range)
        .await
        .map_err(|error| Fault::Other(error.to_string()))?;
    let proxy = settings.sync.proxy_way().map_err(Fault::Other)?;
    let socket = local::bind(home)?;
    let addresses = Ready {
        page: address(&page)?,
        mllp: address(&mllp)?,
    };

    let (config_sender, config) = watch::channel(Arc::new(settings));
    let line = LineWatch::new(clock::now_ms());
    let pages = PagesOpen::default();
    let hub = HubClient::new(&enrolment.hub_url, proxy, credentials, first_number)
        .map_err(|error| Fault::Other(error.to_string()))?;
    let references = References::new(store.clone(), hub.clone(), line.clone(), config.clone());
    let exchange = Arc::new(Exchange {
        store: store.clone(),
        hub: hub.clone(),
        key: enrolment.key(),
        enrolment: enrolment.clone(),
        line: line.clone(),
        config: config.clone(),
        pages: pages.clone(),
        nudge: Notify::new(),
        greets: AtomicBool::new(true),
        repairs: Repairs::default(),
        push_bytes: PushBytes::default(),
        snapshots: Snapshots::default(),
    });
    let app = App {
        store: store.clone(),
        enrolment: Arc::new(enrolment),
        custody: Arc::new(Custody::File),
        line: line.clone(),
        pages,
        config: config.clone(),
    };
    if let Some(warning) = app.custody.warning() {
        tracing::error!("critical: {warning}");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), page = %addresses.page, mllp = %addresses.mllp, "started");

    let mut parts: JoinSet<(&str, Result<(), String>)> = JoinSet::new();
    let (kept, token) = (store.clone(), stop.clone());
    parts.spawn(async move {
        ("witness", {
            mark.follow(kept, token).await;
            Ok(())
        })
    });
    let (probe, token) = (exchange.clone(), stop.clone());
    parts.spawn(async move {
        ("probe", {
            probe.probe(token).await;
            Ok(())
        })
    });
    let token = stop.clone();
    parts.spawn(async move {
        ("exchange", {
            exchange.run(token).await;
            Ok(())
        })
    });
    let (certified, token) = (store.clone(), stop.clone());
    parts.spawn(async move {
        ("certificate", {
            session::keep_certified(certified, hub, line, token).await;
            Ok(())
        })
    });
    let token = stop.clone();
    parts.spawn(async move {
        ("reference data", {
            references.run(token).await;
            Ok(())
        })
    });
    let (part, token) = (app.clone(), stop.clone());
    parts.spawn(async move { ("page", web::serve(page, part, token).await.map_err(|e| e.to_string())) });
    let (part, token) = (app.clone(), stop.clone());
    let mllp_config = config.borrow().mllp.clone();
    parts.spawn(async move {
        ("intake", {
            intake::serve(part.store, mllp_config, mllp, token).await;
            Ok(())
        })
    });
    let (part, token, place) = (app.clone(), stop.clone(), home.clone());
    parts.spawn(async move {
        (
            "local socket",
            local::serve(&place, socket, part, token)
                .await
                .map_err(|e| e.to_string()),
        )
    });
    let (part, token) = (app.clone(), stop.clone());
    parts.spawn(async move { ("jobs", jobs::run(part, token).await.map_err(|e| e.to_string())) });
    let (place, token) = (home.clone(), stop.clone());
    parts.spawn(async move { ("settings", follow_config(&place, config_sender, log, token).await) });

    ready(&addresses);
    join(parts, stop).await
}

async fn bind(what: &'static str, setting: &'static str, at: SocketAddr, home: &Home) -> Result<TcpListener, Fault> {
    TcpListener::bind(at).await.map_err(|error| Fault::PortTaken {
        what,
        setting,
        address: at,
        reason: error.to_string(),
        config: home.config(),
    })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Fault> {
    listener.local_addr().map_err(|error| Fault::Other(error.to_string()))
}

/// How long the parts have to end what they are at.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// Waits for the parts; one that ends by itself ends the agent, since a half agent is worse than one that is started anew.
async fn join(mut parts: JoinSet<(&'static str, Result<(), String>)>, stop: CancellationToken) -> Result<(), Fault> {
    let mut outcome = Ok(());
    while let Some(ended) = parts.join_next().await {
        let fault = match ended {
            Ok((_, Ok(()))) if stop.is_cancelled() => None,
            Ok((part, Ok(()))) => Some(format!("{part} ended by itself")),
            Ok((part, Err(error))) => Some(format!("{part}: {error}")),
            Err(error) => Some(format!("a part of the agent broke off: {error}")),
        };
        if let Some(fault) = fault {
            tracing::error!(fault, "the agent stops");
            outcome = outcome.and(Err(Fault::Other(fault)));
            stop.cancel();
        }
        if stop.is_cancelled() {
            let rest = tokio::time::timeout(STOP_WITHIN, async { while parts.join_next().await.is_some() {} });
            if rest.await.is_err() {
                tracing::warn!("a part of the agent did not end in time");
                parts.abort_all();
            }
            break;
        }
    }
    outcome
}

/// Takes up what can be taken up while running, and says aloud what cannot.
async fn follow_config(
    home: &Home,
    sender: watch::Sender<Arc<Config>>,
    log: Log,
    stop: CancellationToken,
) -> Result<(), String> {
    let changed = Arc::new(Notify::new());
    let notify = changed.clone();
    let tell = move |events: DebounceEventResult| {
        if events.is_ok() {
            notify.notify_one();
        }
    };
    let mut watcher = new_debouncer(Duration::from_millis(300), None, tell).map_err(|error| error.to_string())?;
    watcher
        .watch(home.path(), RecursiveMode::NonRecursive)
        .map_err(|error| error.to_string())?;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = changed.notified() => {}
        }
        let old = sender.borrow().clone();
        match config::load(&home.config()) {
            Ok(new) if new == *old => {}
            Ok(new) => {
                for setting in old.needs_restart(&new) {
                    tracing::warn!(setting, "this setting has changed and holds from the next start");
                }
                log.set_level(new.log.level);
                tracing::info!("the settings were read again");
                sender.send_replace(Arc::new(new));
            }
            Err(error) => tracing::error!(%error, "the settings have changed and cannot be used; the old ones hold"),
        }
    }
}
