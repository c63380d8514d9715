//! What a person says of two records: one person, two people, or not known after all.

use std::sync::Arc;

use clinic::linking::{link_id, sides, standing};
use clinic::matching::{Traits, judge_own};
use clinic::value::{LinkStanding, ReportText};
use clinic::write::Action;
use clinic::{Writing, link, patient};
use sync_protocol::hub::{HubError, HubLedger};
use sync_protocol::{Actor, Phi, RecordId, RecordState};

use super::{Matcher, cluster_of, identity};
use crate::db::{DbError, Txn};

/// More records than this are not one person's; something is wrong with the links.
const CLUSTER_MAX: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decided {
    Written,
    /// It was said before.
    AsBefore,
}

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("a record is not linked with itself: name two patients")]
    Same,
    #[error("there is no patient {0}: see mainstay-hub patient find")]
    NoSuchPatient(RecordId),
    #[error("these two are not linked: see mainstay-hub match show")]
    NotLinked,
    #[error("more than {CLUSTER_MAX} records would be one person's: look at their links first")]
    TooMany,
    #[error(transparent)]
    Store(#[from] HubError<DbError>),
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Refusal {
        Refusal::Store(HubError::Ledger(error))
    }
}

/// Writes what a person says of two records, and what follows from it. `Proposed` takes a link away and leaves the
/// question open.
pub fn decide(
    matcher: &Matcher,
    txn: &mut Txn<'_>,
    (a, b): (RecordId, RecordId),
    to: LinkStanding,
    actor: Actor,
) -> Result<Decided, Refusal> {
    if a == b {
        return Err(Refusal::Same);
    }
    let (left, right) = sides(a, b);
    txn.lock(&[left.0, right.0, link_id(left, right).0])?;
    let (one, other) = (patient_record(txn, left)?, patient_record(txn, right)?);
    let known = txn.state(link_id(left, right))?;
    let link = known.unwrap_or_else(|| Arc::new(RecordState::new(link::KIND, link_id(left, right))));
    let said = standing(&link);
    if to == LinkStanding::Proposed && said.standing() != Some(&LinkStanding::Linked) {
        return Err(Refusal::NotLinked);
    }
    if !said.is_open() && said.standing() == Some(&to) {
        return Ok(Decided::AsBefore);
    }
    if to == LinkStanding::Linked {
        let mut together = cluster_of(txn, left)?;
        together.extend(cluster_of(txn, right)?);
        if together.len() > CLUSTER_MAX {
            return Err(Refusal::TooMany);
        }
    }
    let (left_identity, right_identity) = (identity(txn, &one)?, identity(txn, &other)?);
    let (_, score) = judge_own(
        &Traits::of(&left_identity),
        &Traits::of(&right_identity),
        matcher.weights(),
    );
    let action = match to {
        LinkStanding::Linked => Action::Link,
        LinkStanding::Proposed => Action::Unlink,
        LinkStanding::Distinct => Action::Decide,
    };
    let now_ms = i64::try_from(txn.now_ms()).unwrap_or(i64::MAX);
    let mut draft = Writing::new(link::KIND, link.record, action, actor, now_ms).replace(
        link::STANDING,
        &to,
        &link.shown(link::STANDING.id),
    );
    if clinic::linking::ends(&link).is_none() {
        draft = draft
            .replace(link::LEFT, &left, &link.shown(link::LEFT.id))
            .replace(link::RIGHT, &right, &link.shown(link::RIGHT.id))
            .replace(link::SCORE, &score.total, &link.shown(link::SCORE.id))
            .replace(
                link::WHY,
                &Phi::new(ReportText(score.explained())),
                &link.shown(link::WHY.id),
            );
    }
    txn.author(&draft.done(), None)?;
    if let Some(link) = txn.state(link.record)? {
        super::following::follow(txn, &link)?;
    }
    Ok(Decided::Written)
}

fn patient_record(txn: &mut Txn<'_>, id: RecordId) -> Result<Arc<RecordState>, Refusal> {
    txn.state(id)?
        .filter(|state| state.kind == patient::KIND)
        .ok_or(Refusal::NoSuchPatient(id))
}
