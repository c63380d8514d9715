//! Patient records that are, may be or are not of one person, as this site has them.

use std::collections::BTreeSet;

use clinic::catalogue::{link, patient};
use clinic::linking::{cluster_in, ends, link_id, sides};
use clinic::policy::Permission;
use clinic::value::LinkStanding;
use clinic::write::{Action, Writing};
use sync_protocol::{ChangeId, RecordId, RecordState};

use super::{ActError, By, known, write};
use crate::store::{ReadTx, TxError, WriteTx};

/// Every record that is one person's with this one, also those that this site does not have.
pub fn cluster(tx: &ReadTx<'_>, patient: RecordId) -> Result<BTreeSet<RecordId>, TxError> {
    cluster_in(patient, |record| {
        let links = tx.linked(record, link::KIND)?;
        Ok(links.into_iter().map(|stored| stored.state).collect())
    })
}

/// The records of this person that this site has, this one first.
pub fn records(tx: &ReadTx<'_>, patient: RecordId) -> Result<Vec<RecordState>, TxError> {
    let mut members = Vec::new();
    let others = cluster(tx, patient)?.into_iter().filter(|other| *other != patient);
    for record in std::iter::once(patient).chain(others) {
        members.extend(tx.state(record)?.filter(|state| state.kind == patient::KIND));
    }
    Ok(members)
}

/// Says whether two records are one person's. The decision names what the person was shown and nothing else.
pub fn decide(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    (one, other): (RecordId, RecordId),
    same: bool,
    shown: &[ChangeId],
    event_ms: i64,
) -> Result<(), ActError> {
    by.may(Permission::DecideConflict)?;
    known(tx, one, patient::KIND, "patient")?;
    known(tx, other, patient::KIND, "patient")?;
    let (left, right) = sides(one, other);
    let state = known(tx, link_id(one, other), link::KIND, "question")?;
    if ends(&state) != Some((left, right)) {
        return Err(ActError::NotFound("question"));
    }
    let standing = match same {
        true => LinkStanding::Linked,
        false => LinkStanding::Distinct,
    };
    let action = match same {
        true => Action::Link,
        false => Action::Decide,
    };
    let writing =
        Writing::new(link::KIND, state.record, action, by.actor(), event_ms).replace(link::STANDING, &standing, shown);
    write(tx, &writing.done()).map(|_| ())
}
