//! What is known of the line to the hub, for the banner and for `status`: line, hub and EHR told apart, never guessed.

use std::collections::BTreeSet;

use serde::Serialize;
use sync_protocol::{Lane, ScopeId};
use tokio::sync::watch;

use crate::clock;

/// How the line is, as people are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineState {
    /// Nothing has been tried yet.
    Starting,
    Connected,
    /// The hub answers, but slowly.
    Slow,
    #[serde(rename = "cut off")]
    CutOff,
    /// Disconnected by decision.
    Held,
}

/// Why the line to the hub does not serve.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "trouble", content = "what")]
pub enum Trouble {
    /// Nothing answers: the line, a name that does not resolve, or a hub that is down.
    NotReached,
    /// What answers is not our hub; who issued the certificate that it shows.
    WrongAuthority(Option<String>),
    /// Our hub is behind a proxy that reads the line, which the hub does not allow for this site; whose proxy it is.
    Inspected(Option<String>),
    /// The proxy of the settings does not lead to the hub.
    Proxy(&'static str),
    /// The two ends have no protocol in common; which is older, and what to do.
    Versions(String),
    /// The certificates' dates do not fit this clock.
    Dates,
    /// The hub answers and refuses, with its own code, and its own words with the remedy.
    Refused { code: String, message: String },
    /// The hub answers and asks to come again later; why, in its own words.
    Busy(String),
    /// What answers says something that this version cannot read.
    Unreadable,
    /// What the hub says does not bear its signature.
    NotSigned,
    /// This machine cannot set up a secure channel.
    Setup,
    /// The hub has less of our changes than it acknowledged: it was restored from an older copy.
    HubWentBack,
}

impl Trouble {
    /// The hub wants nothing of this agent any more: it is asked by the rare exchange only, and by no probe.
    pub fn is_revoked(&self) -> bool {
        matches!(self, Trouble::Refused { code, .. } if code == "revoked")
    }

    /// Trouble that a hub which answers a probe may still have with this site.
    pub fn only_an_exchange_ends(&self) -> bool {
        match self {
            Trouble::Refused { .. }
            | Trouble::Busy(_)
            | Trouble::Unreadable
            | Trouble::NotSigned
            | Trouble::Setup
            | Trouble::HubWentBack
            | Trouble::Versions(_) => true,
            Trouble::NotReached
            | Trouble::WrongAuthority(_)
            | Trouble::Inspected(_)
            | Trouble::Proxy(_)
            | Trouble::Dates => false,
        }
    }

    pub fn words(&self) -> String {
        match self {
            Trouble::NotReached => "the hub is not reached".to_owned(),
            Trouble::WrongAuthority(None) => {
                "what answers at the hub's address is not this organisation's hub; a proxy may inspect the line"
                    .to_owned()
            }
            Trouble::WrongAuthority(Some(issuer)) => format!(
                "what answers at the hub's address is not this organisation's hub: it shows a certificate of \"{issuer}\"; \
                 if that is a proxy that inspects the line, have the hub's address exempted from it"
            ),
            Trouble::Inspected(issuer) => format!(
                "a proxy inspects the line to the hub, with certificates of {}, and the hub does not allow that for this \
                 site: have the hub's address exempted from inspection, or ask who runs the hub to allow it \
                 (mainstay-hub site set SITE --inspection allowed)",
                issuer
                    .as_ref()
                    .map_or_else(|| "no name".to_owned(), |name| format!("\"{name}\""))
            ),
            Trouble::Proxy(what) => format!("the proxy of the settings (sync.proxy) does not lead to the hub: {what}"),
            Trouble::Versions(words) => words.clone(),
            Trouble::Dates => "the hub's certificate does not fit this machine's date; set the clock".to_owned(),
            Trouble::Refused { message, .. } => format!("the hub refuses: {message}"),
            Trouble::Busy(message) => format!("the hub asks to come again later: {message}"),
            Trouble::Unreadable => {
                "the hub's answer cannot be read: bring the older end up to date, or look what stands between"
                    .to_owned()
            }
            Trouble::NotSigned => {
                "what the hub says does not bear its signature, so nothing of it is taken: tell who runs the hub"
                    .to_owned()
            }
            Trouble::Setup => {
                "no secure channel can be set up on this machine: look into the agent's log, or enrol again".to_owned()
            }
            Trouble::HubWentBack => {
                "the hub has gone back to an older copy; nothing is taken from it: tell who runs the hub".to_owned()
            }
        }
    }
}

/// An answer that took longer says too little of the hub's clock to correct times by.
const CLOCK_ROUND_TRIP_MAX_MS: u64 = 2_000;

/// When something was asked, by both clocks of this machine.
#[derive(Clone, Copy)]
pub struct Asked {
    wall_ms: i64,
    monotonic_ms: u64,
}

impl Asked {
    pub fn now() -> Asked {
        Asked {
            wall_ms: clock::now_ms(),
            monotonic_ms: clock::monotonic_ms(),
        }
    }
}

/// The hub as it described itself when the session began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HubAbout {
    pub version: String,
    /// The protocol that is spoken with it.
    pub protocol: u64,
    /// The version of its catalogue of kinds and fields.
    pub schema: u64,
    /// What both ends have.
    pub features: BTreeSet<String>,
}

impl HubAbout {
    /// A hub that knows no handshake.
    pub fn of_first_version() -> HubAbout {
        HubAbout {
            version: String::new(),
            protocol: 1,
            schema: 0,
            features: BTreeSet::new(),
        }
    }
}

/// How far a snapshot is that fills a lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Filling {
    pub scope: ScopeId,
    pub lane: Lane,
    pub rows: u64,
    pub of_rows: u64,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    pub state: LineState,
    pub since_ms: i64,
    pub trouble: Option<Trouble>,
    /// What the hub says of the EHR: `None` while the hub is not reached or has no machine to deliver to.
    pub ehr_reached: Option<bool>,
    /// When the hub last had everything from the EHR: the age of the schedule.
    pub ehr_polled_ms: Option<i64>,
    pub round_trip_ms: Option<u64>,
    /// How far this clock is ahead of the hub's.
    pub clock_ahead_ms: Option<i64>,
    /// What the hub's clock showed when this machine's monotonic time was 0, milliseconds since 1970, by the last answer that
    /// came soon enough to tell.
    pub hub_at_zero_ms: Option<i64>,
    /// Records that were still to come at the last page.
    pub behind: u64,
    /// While a lane is filled from a snapshot.
    pub filling: Option<Filling>,
    /// When the last exchange was completed.
    pub exchanged_ms: Option<i64>,
    /// `None` until a session has begun.
    pub hub: Option<HubAbout>,
    /// Who reads the line, while the hub allows that.
    pub inspected_by: Option<String>,
    /// Over how long the hub wants agents to spread themselves when they come back.
    pub reconnect_window_ms: u64,
}

impl Line {
    pub fn starting(now_ms: i64) -> Line {
        Line {
            state: LineState::Starting,
            since_ms: now_ms,
            trouble: None,
            ehr_reached: None,
            ehr_polled_ms: None,
            round_trip_ms: None,
            clock_ahead_ms: None,
            hub_at_zero_ms: None,
            behind: 0,
            filling: None,
            exchanged_ms: None,
            hub: None,
            inspected_by: None,
            reconnect_window_ms: 0,
        }
    }

    /// Takes note of the hub's clock, from an answer to what was asked at this time.
    pub fn note_hub_clock(&mut self, asked: Asked, hub_ms: i64) {
        let took_ms = clock::monotonic_ms().saturating_sub(asked.monotonic_ms);
        self.clock_ahead_ms = Some(asked.wall_ms.midpoint(clock::now_ms()) - hub_ms);
        if took_ms <= CLOCK_ROUND_TRIP_MAX_MS {
            let between = asked.monotonic_ms + took_ms / 2;
            self.hub_at_zero_ms = hub_ms.checked_sub_unsigned(between);
        }
    }

    /// Goes into a state; its beginning is kept while it lasts.
    pub fn enter(&mut self, state: LineState, trouble: Option<Trouble>, now_ms: i64) {
        if self.state != state {
            self.since_ms = now_ms;
        }
        self.state = state;
        if matches!(state, LineState::CutOff | LineState::Held) {
            self.ehr_reached = None;
            self.round_trip_ms = None;
        }
        self.trouble = trouble;
    }
}

/// The one place where the state of the line is kept; whoever shows it watches.
#[derive(Clone)]
pub struct LineWatch(watch::Sender<Line>);

impl LineWatch {
    pub fn new(now_ms: i64) -> LineWatch {
        LineWatch(watch::Sender::new(Line::starting(now_ms)))
    }

    pub fn now(&self) -> Line {
        self.0.borrow().clone()
    }

    pub fn subscribe(&self) -> watch::Receiver<Line> {
        self.0.subscribe()
    }

    /// Watchers are woken only by what differs.
    pub fn update(&self, change: impl FnOnce(&mut Line)) {
        self.0.send_if_modified(|line| {
            let before = line.clone();
            change(line);
            *line != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_the_hubs_own_words_with_their_remedy() {
        let revoked = Trouble::Refused {
            code: "revoked".to_owned(),
            message: "this agent's enrolment was revoked: ask who runs the hub, and enrol again".to_owned(),
        };

        assert!(revoked.words().ends_with("ask who runs the hub, and enrol again"));
        assert!(revoked.only_an_exchange_ends() && revoked.is_revoked());
        for ours in [Trouble::Unreadable, Trouble::NotSigned, Trouble::Setup] {
            let words = ours.words();
            assert!(!words.contains("refuses") && words.contains(':'), "{words}");
        }
    }
}
