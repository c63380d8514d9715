//! How this site is, in figures: for `status`, for the page about the connection, for whoever watches the machine. It
//! carries no PHI.

use std::collections::BTreeMap;

use clinic::index::Facet;
use clinic::task::TaskState;
use serde::Serialize;
use sync_protocol::replica::{self, ReplicaError};
use sync_protocol::wire::Cursor;
use sync_protocol::{Lane, ScopeId};
use vault::Custody;

use crate::access::site::Site;
use crate::app::App;
use crate::clock;
use crate::enrolment::{self, Enrolment};
use crate::line::{HubAbout, Line, LineState};
use crate::policies::{self, Policy};
use crate::reference::{self, SetStanding};
use crate::store::{Outcome, ReadError, ReadTx, TxError, WriteTx};
use crate::verified::{self, lane_word};

#[derive(Debug, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub site: String,
    pub name: String,
    pub zone: String,
    pub hub: String,
    pub line: LineState,
    pub since_ms: i64,
    /// What is wrong with the line, in words.
    pub trouble: Option<String>,
    /// `reached`, `not reached`, `unknown`, or `entered by hand` where a person is the target.
    pub ehr: &'static str,
    pub behind: u64,
    /// The lane that is being filled from a snapshot.
    pub filling: Option<FillingStatus>,
    pub exchanged_ms: Option<i64>,
    pub clock_offset_ms: Option<i64>,
    pub channel: ChannelStatus,
    pub downtime: bool,
    pub held: bool,
    pub incarnation: String,
    pub incarnations: u64,
    pub counter: u64,
    pub accepted: u64,
    pub pending: u64,
    pub quarantined: u64,
    pub unmatched: u64,
    pub conflicts: u64,
    pub rejected_messages: u64,
    /// Messages that were taken and moved nothing: no patient, no visit, or one that had ended.
    pub messages_without_effect: u64,
    pub queue: BTreeMap<&'static str, u64>,
    pub roots: BTreeMap<&'static str, Root>,
    pub rebirths: Vec<Rebirth>,
    /// Lanes that are held back until a person accepts what waits.
    pub frozen: Vec<Frozen>,
    /// What was found to differ from the hub, and set right.
    pub repairs: Vec<RepairDone>,
    /// The organisation's policies that hold here, with their versions.
    pub policies: BTreeMap<String, i64>,
    /// The sets of reference data with their versions.
    pub references: Vec<SetStanding>,
    pub warnings: Vec<Warning>,
}

/// How the line to the hub is secured, and what is spoken on it.
#[derive(Debug, Serialize)]
pub struct ChannelStatus {
    /// Less than 0 once the certificate has run out.
    pub certificate_days: i64,
    /// Whether the hub expects this agent's requests to be signed.
    pub signs: bool,
    pub proxy: Option<String>,
    /// Who reads the line; what travels on it is then sealed.
    pub inspected_by: Option<String>,
    /// The hub as it described itself when the session began.
    pub hub: Option<HubAbout>,
}

/// How far the snapshot is that fills a lane.
#[derive(Debug, Serialize)]
pub struct FillingStatus {
    pub lane: &'static str,
    pub rows: u64,
    pub of_rows: u64,
}

/// The proof of one lane: our root now, the hub's at the last completed pull.
#[derive(Debug, Serialize)]
pub struct Root {
    pub agent: String,
    pub hub: Option<String>,
    pub equal: bool,
    pub verified_ms: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct Rebirth {
    pub at_ms: i64,
    pub cause: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Frozen {
    pub lane: &'static str,
    pub altered: u64,
    pub removed: u64,
    /// Records that the lane held when it was weighed.
    pub held: u64,
}

#[derive(Debug, Serialize)]
pub struct RepairDone {
    pub at_ms: i64,
    pub lane: &'static str,
    /// Buckets here whose rows and whose sum had come apart.
    pub rotted: u64,
    pub mended: u64,
    /// Records that hold what the hub lacks.
    pub ahead: u64,
}

/// How much a warning matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nobody has to do anything.
    Notice,
    Warning,
    /// Data or their protection are at risk.
    Critical,
}

/// What a warning is about, where a page says it in words of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WarningKind {
    /// The store's key lies in a file.
    KeyInFile,
    Other,
}

#[derive(Debug, Serialize)]
pub struct Warning {
    pub severity: Severity,
    #[serde(skip)]
    pub kind: WarningKind,
    pub text: String,
}

/// The lane of the scope that every site of the organisation has.
const ORGANISATION: &str = "organisation";

/// A clock that differs by more is worth a warning.
const CLOCK_WARNING_MS: i64 = 60_000;

pub async fn gather(app: &App) -> Result<Status, ReadError> {
    let line = app.line.now();
    let custody = app.custody.clone();
    let enrolment = app.enrolment.clone();
    let proxy = Some(app.config.borrow().sync.proxy.clone()).filter(|proxy| !proxy.is_empty());
    app.store
        .read(move |tx| read(tx, &line, &custody, &enrolment, proxy))
        .await
}

fn read(
    tx: &ReadTx<'_>,
    line: &Line,
    custody: &Custody,
    enrolment: &Enrolment,
    proxy: Option<String>,
) -> Result<Status, TxError> {
    let scope = enrolment.scope;
    let site = Site::of(tx)?;
    let head = tx.head()?;
    let counts = tx.counts()?;
    let mut roots = BTreeMap::new();
    for Cursor { scope: of, lane, .. } in tx.cursors()? {
        let ours = tx.root(of, lane)?;
        let last = verified::of(tx, of, lane)?;
        let root = Root {
            agent: ours.to_string(),
            hub: last.map(|last| last.hub.to_string()),
            equal: last.is_some_and(|last| last.hub == ours),
            verified_ms: last.filter(|last| last.equal).map(|last| last.at_ms),
        };
        roots.insert(word_of(scope, of, lane), root);
    }
    let rebirths: Vec<Rebirth> = verified::rebirths(tx)?.iter().map(rebirth).collect();
    let repairs: Vec<RepairDone> = verified::repairs(tx)?
        .iter()
        .map(|repair| RepairDone {
            at_ms: repair.at_ms,
            lane: word_of(scope, repair.scope, repair.lane),
            rotted: repair.rotted,
            mended: repair.mended,
            ahead: repair.ahead,
        })
        .collect();
    let policies = policies::all(tx, enrolment)?;
    let notice = site.notice.as_deref();
    let mut warnings = warnings(line, custody, counts.quarantined, &roots, &rebirths, notice, &policies);
    let channel = channel(tx, line, proxy)?;
    warnings.extend(channel_warnings(tx, &channel)?);
    warnings.extend(of_repairs(&repairs, &roots));
    let frozen = frozen(tx, scope)?;
    warnings.extend(frozen.iter().map(Warning::of_frozen));
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        site: site.id.to_string(),
        name: site.name.clone(),
        zone: site.zone.clone(),
        hub: enrolment.hub_url.clone(),
        line: line.state,
        since_ms: line.since_ms,
        trouble: line.trouble.as_ref().map(|trouble| trouble.words()),
        ehr: match (site.ehr, line.ehr_reached) {
            (clinic::value::Target::Person, _) => "entered by hand",
            (clinic::value::Target::Machine, Some(true)) => "reached",
            (clinic::value::Target::Machine, Some(false)) => "not reached",
            (clinic::value::Target::Machine, None) => "unknown",
        },
        behind: line.behind,
        filling: line.filling.map(|filling| FillingStatus {
            lane: word_of(scope, filling.scope, filling.lane),
            rows: filling.rows,
            of_rows: filling.of_rows,
        }),
        exchanged_ms: line.exchanged_ms,
        clock_offset_ms: line.clock_ahead_ms,
        channel,
        downtime: !site.downtime.is_empty(),
        held: !site.held.is_empty(),
        incarnation: head.replica.to_string(),
        incarnations: tx.incarnation()?,
        counter: head.counter,
        accepted: head.accepted,
        pending: counts.pending,
        quarantined: counts.quarantined,
        unmatched: tx.count_facet(Facet::RESULT_UNMATCHED)?,
        conflicts: tx.count_facet(Facet::CONFLICT)?,
        rejected_messages: tx.count_messages(Outcome::Rejected)? + tx.count_messages(Outcome::Error)?,
        messages_without_effect: tx.count_messages_without_effect()?,
        queue: queue(tx)?,
        roots,
        rebirths,
        frozen,
        repairs,
        policies: policies
            .iter()
            .filter(|policy| policy.is_genuine)
            .map(|policy| (policy.name.clone(), policy.version))
            .collect(),
        references: reference::standing(tx)?,
        warnings,
    })
}

fn channel(tx: &ReadTx<'_>, line: &Line, proxy: Option<String>) -> Result<ChannelStatus, TxError> {
    // The newest certificate, which may be another than at the start.
    let certificate = Enrolment::read(tx)?.map(|enrolment| enrolment.certificate);
    let dates = certificate.and_then(|certificate| vault::identity::validity(&certificate));
    let left_secs = dates.map_or(0, |dates| {
        dates.not_after - (clock::now_ms() - line.clock_ahead_ms.unwrap_or(0)) / 1_000
    });
    Ok(ChannelStatus {
        certificate_days: left_secs.div_euclid(24 * 60 * 60),
        signs: enrolment::signs(tx)?,
        proxy,
        inspected_by: line.inspected_by.clone(),
        hub: line.hub.clone(),
    })
}

/// A certificate is renewed with 60 days left; one that has fewer than this was not for a long time.
const CERTIFICATE_WARNING_DAYS: i64 = 30;

fn channel_warnings(tx: &ReadTx<'_>, channel: &ChannelStatus) -> Result<Vec<Warning>, TxError> {
    let mut warnings = Vec::new();
    let mut warn = |severity, text| warnings.push(Warning::new(severity, text));
    if let Some(issuer) = &channel.inspected_by {
        warn(
            Severity::Notice,
            format!("a proxy (\"{issuer}\") reads the line to the hub, as the hub allows; what is sent is sealed"),
        );
    }
    if channel.certificate_days < CERTIFICATE_WARNING_DAYS {
        warn(
            Severity::Warning,
            format!(
                "this agent's certificate has {} days left and is renewed when the hub is reached",
                channel.certificate_days.max(0)
            ),
        );
    }
    if let Some(ms) = enrolment::key_used_elsewhere_ms(tx)? {
        let day = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
        warn(
            Severity::Critical,
            format!(
                "on {} the hub had taken requests with this agent's key that this store knows nothing of: the store was \
                 restored from an older copy, or a second machine uses its keys; if nobody restored it, revoke this \
                 agent at the hub and enrol it again",
                day.strftime("%Y-%m-%d")
            ),
        );
    }
    Ok(warnings)
}

/// Tasks by state; states without a task are zero.
pub fn queue(tx: &ReadTx<'_>) -> Result<BTreeMap<&'static str, u64>, TxError> {
    TaskState::ALL
        .iter()
        .map(|state| Ok((state.word(), tx.count_facet(Facet::task(*state))?)))
        .collect()
}

fn rebirth(rebirth: &verified::Rebirth) -> Rebirth {
    Rebirth {
        at_ms: rebirth.at_ms,
        cause: rebirth.why.words(),
    }
}

fn warnings(
    line: &Line,
    custody: &Custody,
    quarantined: u64,
    roots: &BTreeMap<&'static str, Root>,
    rebirths: &[Rebirth],
    notice: Option<&str>,
    policies: &[Policy],
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(text) = custody.warning() {
        warnings.push(Warning {
            severity: Severity::Critical,
            kind: match custody {
                Custody::File => WarningKind::KeyInFile,
            },
            text: text.to_owned(),
        });
    }
    let mut warn = |severity, text| warnings.push(Warning::new(severity, text));
    if let Some(ahead) = line.clock_ahead_ms.filter(|ahead| ahead.abs() >= CLOCK_WARNING_MS) {
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        warn(
            Severity::Warning,
            format!(
                "this machine's clock is {} {direction} the hub's; set it",
                clock::span(ahead.saturating_abs())
            ),
        );
    }
    if let Some(notice) = notice {
        warn(Severity::Warning, notice.to_owned());
    }
    for policy in policies.iter().filter(|policy| !policy.is_genuine) {
        warn(
            Severity::Critical,
            format!(
                "policy \"{}\" is not signed by this organisation's hub: it is not obeyed",
                policy.name
            ),
        );
    }
    let aside = match quarantined {
        0 => None,
        1 => Some("1 change could not be used by the hub and is set aside there".to_owned()),
        many => Some(format!(
            "{many} changes could not be used by the hub and are set aside there"
        )),
    };
    if let Some(aside) = aside {
        warn(Severity::Warning, aside + "; tell who runs the hub");
    }
    for (lane, _) in roots
        .iter()
        .filter(|(_, root)| root.hub.is_some() && !root.equal && line.behind == 0)
    {
        warn(
            Severity::Warning,
            format!(
                "not proven to hold the same facts as the hub in the {lane} lane since the last exchange; it is compared \
                 again by itself"
            ),
        );
    }
    if let Some(last) = rebirths.last() {
        warn(
            Severity::Notice,
            format!(
                "took a new identity: {}; nothing to do if somebody meant that, else find out who did it",
                last.cause
            ),
        );
    }
    warnings
}

/// The word by which a person names a lane of the site's, or of the organisation's.
fn word_of(own: ScopeId, scope: ScopeId, lane: Lane) -> &'static str {
    if scope == own { lane_word(lane) } else { ORGANISATION }
}

fn frozen(tx: &ReadTx<'_>, own: ScopeId) -> Result<Vec<Frozen>, TxError> {
    let mut frozen = Vec::new();
    for Cursor { scope, lane, .. } in tx.cursors()? {
        let weighing = tx.lane_watch(scope, lane)?.and_then(|watch| watch.weighing);
        if let Some(weighing) = weighing.filter(|weighing| weighing.is_frozen) {
            frozen.push(Frozen {
                lane: word_of(own, scope, lane),
                altered: weighing.altered,
                removed: weighing.removed,
                held: weighing.held,
            });
        }
    }
    Ok(frozen)
}

/// A person accepts what waits in a lane, by its word. False when no such lane is held back.
pub fn accept_lane(tx: &mut WriteTx<'_>, own: ScopeId, word: &str) -> Result<bool, ReplicaError<TxError>> {
    let mut accepted = false;
    for Cursor { scope, lane, .. } in ReadTx::cursors(tx)? {
        if word_of(own, scope, lane) == word {
            accepted |= replica::thaw(tx, scope, lane)?;
        }
    }
    Ok(accepted)
}

impl Warning {
    fn new(severity: Severity, text: String) -> Warning {
        Warning {
            severity,
            kind: WarningKind::Other,
            text,
        }
    }

    fn of_frozen(frozen: &Frozen) -> Warning {
        let Frozen {
            lane,
            altered,
            removed,
            held,
        } = frozen;
        Warning::new(
            Severity::Critical,
            format!(
                "the {lane} lane is held back: what waits at the hub would alter {altered} and remove {removed} of the {held} \
                 records that it holds here; new allergies still come in. Ask who runs the hub whether that is meant; if it \
                 is: mainstay-agent accept-lane {lane}"
            ),
        )
    }
}

/// The last repair of each lane, and what no later proof has answered.
fn of_repairs(repairs: &[RepairDone], roots: &BTreeMap<&'static str, Root>) -> Vec<Warning> {
    let last: BTreeMap<&str, &RepairDone> = repairs.iter().map(|repair| (repair.lane, repair)).collect();
    let of = |repair: &&RepairDone| {
        let proven_ms = roots.get(repair.lane).and_then(|root| root.verified_ms);
        let (lane, ahead) = (repair.lane, repair.ahead);
        if ahead > 0 && proven_ms.is_none_or(|proven| proven < repair.at_ms) {
            return Some(Warning::new(
                Severity::Critical,
                format!("{ahead} records of the {lane} lane hold what the hub lacks: tell who runs the hub"),
            ));
        }
        let what = match (repair.mended, repair.rotted) {
            (0, 0) => return None,
            (0, sums) => format!("{sums} sums of the {lane} lane had rotted here"),
            (records, _) => format!("{records} records of the {lane} lane differed from the hub's"),
        };
        Some(Warning::new(
            Severity::Notice,
            format!("{what} and were set right; if that comes again, check this machine's disk"),
        ))
    };
    last.values().filter_map(of).collect()
}
