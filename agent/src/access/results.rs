//! Results: putting one that found no patient on the right one.

use clinic::catalogue::{patient, result};
use clinic::index;
use clinic::policy::Permission;
use clinic::write::{Action, Writing};
use sync_protocol::{ChangeId, RecordId};

use super::{ActError, By, known, write};
use crate::store::{ReadTx, TxError, WriteTx};

/// A person puts a result on a patient.
pub fn put_on_patient(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    id: RecordId,
    patient_id: RecordId,
    shown: &[ChangeId],
    event_ms: i64,
) -> Result<(), ActError> {
    by.may(Permission::MatchResult)?;
    let state = known(tx, id, result::KIND, "result")?;
    known(tx, patient_id, patient::KIND, "patient")?;
    if result::PATIENT.value(&state).is_some() && shown.is_empty() {
        return Err(ActError::Conflict(
            "somebody has put this result on a patient meanwhile; look at it again",
        ));
    }
    let draft = Writing::new(result::KIND, id, Action::MatchResult, by.actor(), event_ms)
        .replace(result::PATIENT, &patient_id, shown)
        .done();
    write(tx, &draft).map(|_| ())
}

/// The patients who carry a number: a TEMP number as scanned or typed, or anybody's MRN.
pub fn patients_by_number(tx: &ReadTx<'_>, number: &str) -> Result<Vec<RecordId>, TxError> {
    let bare = clinic::numbering::parse(number).unwrap_or_else(|| number.trim().to_owned());
    let exactly = index::Wanted::Exactly(index::identifier_term(&bare));
    let found = tx.search(&[vec![exactly]], patient::KIND, 10)?;
    Ok(found.into_iter().map(|stored| stored.state.record).collect())
}
