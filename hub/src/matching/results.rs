//! Results that wait at a site for a patient who has left its scope. A number outlives the patient's time there: whoever
//! carries it, and was the site's before, is let in again, and the site finds them by the rule it found them by before.
//!
//! What it refuses: to let somebody in by a number alone, or somebody whom the site never had.

use clinic::hl7::{agreement, carries, wanted_numbers};
use clinic::index::{Wanted, identifier_term};
use clinic::matching::Identity;
use clinic::{patient, result};
use sync_protocol::hub::{HubLedger, RowStanding};
use sync_protocol::{RecordId, RecordState, ScopeId};

use super::{Outcome, cluster_of};
use crate::db::Txn;

/// A number that more people carry with the same name or birth date tells nobody apart.
const BEARERS_MAX: usize = 4;

pub(super) fn let_bearer_in(txn: &mut Txn<'_>, waiting: &RecordState) -> Outcome<()> {
    if result::PATIENT.value(waiting).is_some() {
        return Ok(());
    }
    let bearers = bearers(txn, &Identity::of_result(waiting))?;
    if bearers.len() > BEARERS_MAX {
        return Ok(());
    }
    for site in txn.scopes_of(waiting.record)? {
        for (bearer, records) in &bearers {
            if has_left(txn, site, records)? {
                txn.settle_patient(*bearer, Some(site))?;
                tracing::info!(%site, result = %waiting.record, "a patient is let in again for a result that waits");
            }
        }
    }
    Ok(())
}

/// Those who carry a number of the result and agree with its name or birth date, each with every record that is theirs.
fn bearers(txn: &mut Txn<'_>, said: &Identity) -> Outcome<Vec<(RecordId, Vec<RecordId>)>> {
    let mut bearers: Vec<(RecordId, Vec<RecordId>)> = Vec::new();
    for number in wanted_numbers(&said.identifiers) {
        let term = Wanted::Exactly(identifier_term(&number.value));
        for carrier in txn.search(patient::KIND, &[vec![term]])? {
            let is_known = bearers.iter().any(|(_, records)| records.contains(&carrier.record));
            if is_known || !carries(&carrier, &number) {
                continue;
            }
            let (mut agrees, mut records) = (false, Vec::new());
            for one in cluster_of(txn, carrier.record)? {
                agrees |= txn.state(one)?.is_some_and(|state| agreement(&state, said) > 0);
                records.push(one);
            }
            if agrees {
                bearers.push((carrier.record, records));
            }
        }
    }
    Ok(bearers)
}

/// Whether a record of the person was in the site's scope, and is there no more or is about to leave.
fn has_left(txn: &mut Txn<'_>, site: ScopeId, records: &[RecordId]) -> Outcome<bool> {
    for record in records {
        let rows = txn.rows_of(*record)?;
        if rows
            .iter()
            .any(|(scope, standing)| *scope == site && *standing != RowStanding::Live)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
