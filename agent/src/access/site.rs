//! This site: its name, zone and EHR, declared downtime, and the line that is held by decision.

use clinic::catalogue::site;
use clinic::policy::Permission;
use clinic::read::Said;
use clinic::value::Target;
use clinic::write::{Action, Writing};
use sync_protocol::{ChangeId, RecordId};

use super::{ActError, By, write};
use crate::store::{ReadTx, TxError, WriteTx};

/// Where the store keeps which site this is.
pub const SITE: &str = "site";

#[derive(Clone, Debug)]
pub struct Site {
    pub id: RecordId,
    pub name: String,
    /// IANA.
    pub zone: String,
    pub ehr: Target,
    /// Declarations of downtime that stand: the reason, who and when.
    pub downtime: Vec<Said<String>>,
    pub held: Vec<Said<String>>,
    /// What of the scope policy could not be kept for this site.
    pub notice: Option<String>,
}

impl Site {
    /// What is known of this site. Right after enrolment the hub's record has yet to come.
    pub fn of(tx: &ReadTx<'_>) -> Result<Site, TxError> {
        let id = Site::id(tx)?.ok_or(TxError::Damaged {
            what: "which site this is",
        })?;
        let state = tx.state(id)?;
        let state = state.as_ref();
        Ok(Site {
            id,
            name: state.and_then(|state| site::NAME.value(state)).unwrap_or_default(),
            zone: state
                .and_then(|state| site::ZONE.value(state))
                .unwrap_or_else(|| "UTC".to_owned()),
            ehr: state
                .and_then(|state| site::EHR.value(state))
                .unwrap_or(Target::Machine),
            downtime: state.map(|state| site::DOWNTIME.standing(state)).unwrap_or_default(),
            held: state.map(|state| site::HOLD.standing(state)).unwrap_or_default(),
            notice: state.and_then(|state| site::NOTICE.value(state)),
        })
    }

    pub fn id(tx: &ReadTx<'_>) -> Result<Option<RecordId>, TxError> {
        Ok(tx.meta(SITE)?.and_then(|bytes| bytes.try_into().ok()).map(RecordId))
    }
}

/// What a declaration is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    Downtime,
    Hold,
}

impl Standing {
    fn permission(self) -> Permission {
        match self {
            Standing::Downtime => Permission::DeclareDowntime,
            Standing::Hold => Permission::HoldLine,
        }
    }
}

/// Declares downtime, or holds the line, with a reason.
pub fn declare(tx: &mut WriteTx<'_>, by: By<'_>, what: Standing, reason: &str, event_ms: i64) -> Result<(), ActError> {
    by.may(what.permission())?;
    if reason.trim().is_empty() {
        return Err(ActError::Invalid {
            field: "reason",
            remedy: "write why",
        });
    }
    let here = Site::of(tx)?;
    let reason = reason.trim().to_owned();
    let (stands, action, field) = match what {
        Standing::Downtime => (!here.downtime.is_empty(), Action::DeclareDowntime, site::DOWNTIME),
        Standing::Hold => (!here.held.is_empty(), Action::HoldLine, site::HOLD),
    };
    if stands {
        return Ok(());
    }
    let draft = Writing::new(site::KIND, here.id, action, by.actor(), event_ms)
        .assert(field, &reason)
        .done();
    write(tx, &draft).map(|_| ())
}

/// Ends what was declared and was shown.
pub fn end(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    what: Standing,
    shown: &[ChangeId],
    event_ms: i64,
) -> Result<(), ActError> {
    by.may(what.permission())?;
    let here = Site::of(tx)?;
    let (standing, action, field) = match what {
        Standing::Downtime => (here.downtime, Action::EndDowntime, site::DOWNTIME),
        Standing::Hold => (here.held, Action::ReleaseLine, site::HOLD),
    };
    let names: Vec<ChangeId> = standing
        .iter()
        .map(|said| said.change)
        .filter(|id| shown.contains(id))
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    let draft = Writing::new(site::KIND, here.id, action, by.actor(), event_ms)
        .withdraw(field, &names)
        .done();
    write(tx, &draft).map(|_| ())
}
