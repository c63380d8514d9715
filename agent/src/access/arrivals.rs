//! Arrival: three fields, an optional fourth, and a TEMP number for whoever is new. Nobody is attached to a look-alike
//! unless a person said so.

use clinic::catalogue::{patient, visit};
use clinic::flow::VisitState;
use clinic::index;
use clinic::matching::{self, Identity, phone_key};
use clinic::numbering::{self, TEMP_SYSTEM};
use clinic::policy::Permission;
use clinic::rules;
use clinic::value::{BirthDate, Identifier, PersonName};
use clinic::write::{Action, Writing};
use sync_protocol::{Phi, RecordId, RecordState, ReplicaId};

use super::site::Site;
use super::visits::cause_tasks;
use super::{ActError, By, known, write};
use crate::store::{ReadTx, Stored, TxError, WriteTx};

/// Look-alikes offered at most.
const LOOK_ALIKES_MAX: u32 = 50;

#[derive(Clone, Debug)]
pub struct Arrival {
    pub name: Phi<PersonName>,
    /// Unknown when nobody can say it.
    pub birth_date: Option<Phi<BirthDate>>,
    pub reason: Phi<String>,
    pub phone: Option<Phi<String>>,
    /// The patient whom a person recognised; otherwise somebody new.
    pub patient: Option<RecordId>,
    pub event_ms: i64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrived {
    pub visit: RecordId,
    pub patient: RecordId,
    /// The TEMP number of somebody new.
    pub temp_number: Option<String>,
}

/// Patients here who may be the one who is arriving, likest first.
pub fn look_alikes(tx: &ReadTx<'_>, who: &Identity) -> Result<Vec<Stored>, TxError> {
    let mut queries = vec![index::search(&format!("{} {}", who.name.family, who.name.given))];
    queries.extend(who.birth_date.map(|date| index::search(&date.iso())));
    queries.extend(
        who.phones
            .iter()
            .filter_map(|phone| phone_key(phone))
            .map(|phone| index::search(&phone)),
    );
    let mut found: Vec<Stored> = Vec::new();
    for query in queries {
        for stored in tx.search(&query, patient::KIND, LOOK_ALIKES_MAX)? {
            let new = !found.iter().any(|known| known.state.record == stored.state.record);
            if new && matching::alike(who, &Identity::of_patient(&stored.state)) {
                found.push(stored);
            }
        }
    }
    Ok(found)
}

/// Starts a visit, for somebody known or somebody new.
pub fn arrive(tx: &mut WriteTx<'_>, by: By<'_>, arrival: &Arrival) -> Result<Arrived, ActError> {
    by.may(Permission::Arrive)?;
    let site = Site::of(tx)?;
    let (patient, temp_number) = match arrival.patient {
        Some(patient) => {
            let state = known(tx, patient, patient::KIND, "patient")?;
            tell_more(tx, by, &state, arrival)?;
            (patient, None)
        }
        None => {
            let (patient, number) = new_patient(tx, by, arrival)?;
            (patient, Some(number))
        }
    };
    let visit = start_visit(tx, by, &site, patient, &arrival.reason, arrival.event_ms)?;
    Ok(Arrived {
        visit,
        patient,
        temp_number,
    })
}

fn new_patient(tx: &mut WriteTx<'_>, by: By<'_>, arrival: &Arrival) -> Result<(RecordId, String), ActError> {
    if arrival.name.expose().is_empty() {
        return Err(ActError::Invalid {
            field: "name",
            remedy: "write the name, or \"Unknown\" and what can be seen",
        });
    }
    let number = mint(tx)?;
    let temp = Identifier {
        system: TEMP_SYSTEM.to_owned(),
        value: number.clone(),
        kind: "TEMP".to_owned(),
    };
    let id = tx.new_record_id()?;
    let draft = Writing::new(patient::KIND, id, Action::Arrive, by.actor(), arrival.event_ms)
        .set(patient::NAME, &arrival.name)
        .set_if(patient::BIRTH_DATE, arrival.birth_date.as_ref())
        .set_if(patient::PHONE, arrival.phone.as_ref())
        .assert(patient::IDENTIFIER, &Phi::new(temp))
        .done();
    write(tx, &draft)?;
    Ok((id, number))
}

/// What was said at the desk and is not known of the patient yet stands beside what is: nothing was shown to replace.
fn tell_more(tx: &mut WriteTx<'_>, by: By<'_>, state: &RecordState, arrival: &Arrival) -> Result<(), ActError> {
    let known_phone = patient::PHONE.value(state).and_then(|phone| phone_key(phone.expose()));
    let phone = arrival
        .phone
        .as_ref()
        .filter(|phone| phone_key(phone.expose()) != known_phone);
    let has_birth_date = state
        .register(patient::BIRTH_DATE.id)
        .is_some_and(|dates| !dates.values.is_empty());
    let birth_date = arrival.birth_date.as_ref().filter(|_| !has_birth_date);
    let writing = Writing::new(
        patient::KIND,
        state.record,
        Action::Arrive,
        by.actor(),
        arrival.event_ms,
    )
    .set_if(patient::PHONE, phone)
    .set_if(patient::BIRTH_DATE, birth_date);
    if !writing.is_empty() {
        write(tx, &writing.done())?;
    }
    Ok(())
}

pub(super) fn start_visit(
    tx: &mut WriteTx<'_>,
    by: By<'_>,
    site: &Site,
    patient: RecordId,
    reason: &Phi<String>,
    event_ms: i64,
) -> Result<RecordId, ActError> {
    let id = tx.new_record_id()?;
    let draft = rules::arrive(id, patient, site.id, by.actor(), event_ms)
        .set(visit::REASON, reason)
        .done();
    if let Some(cause) = write(tx, &draft)? {
        cause_tasks(tx, cause, id, None::<VisitState>, event_ms)?;
    }
    Ok(id)
}

/// The series that the hub gave, and the incarnation it gave it to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Series {
    replica: ReplicaId,
    number: u32,
    next: u32,
}

const SERIES: &str = "temp_series";

fn series(tx: &ReadTx<'_>) -> Result<Option<Series>, TxError> {
    let Some(bytes) = tx.meta(SERIES)? else { return Ok(None) };
    let number = |from: usize| {
        bytes
            .get(from..from + 4)
            .and_then(|b| b.try_into().ok())
            .map(u32::from_be_bytes)
    };
    let replica = bytes.get(..16).and_then(|b| b.try_into().ok()).map(ReplicaId);
    match (replica, number(16), number(20)) {
        (Some(replica), Some(number), Some(next)) => Ok(Some(Series { replica, number, next })),
        _ => Err(TxError::Damaged {
            what: "the series of TEMP numbers",
        }),
    }
}

fn keep_series(tx: &mut WriteTx<'_>, series: Series) -> Result<(), TxError> {
    let mut bytes = series.replica.0.to_vec();
    bytes.extend_from_slice(&series.number.to_be_bytes());
    bytes.extend_from_slice(&series.next.to_be_bytes());
    tx.set_meta(SERIES, &bytes)
}

/// Takes the series that the hub gave an incarnation. Whoever is reborn before it came goes on with a tag.
pub fn take_series(tx: &mut WriteTx<'_>, replica: ReplicaId, number: u32) -> Result<(), TxError> {
    let known = series(tx)?.is_some_and(|series| series.replica == replica && series.number == number);
    if known || tx.head()?.replica != replica {
        return Ok(());
    }
    keep_series(
        tx,
        Series {
            replica,
            number,
            next: 1,
        },
    )
}

fn mint(tx: &mut WriteTx<'_>) -> Result<String, ActError> {
    let replica = tx.head()?.replica;
    let mut series = series(tx)?.unwrap_or(Series {
        replica: ReplicaId::NIL,
        number: 0,
        next: 1,
    });
    let tag = (series.replica != replica).then_some(replica);
    // A series that is used up is begun again with the tag: those numbers are others.
    let again = || {
        numbering::mint(
            series.number,
            series.next.saturating_sub(numbering::COUNTER_MAX),
            Some(replica),
        )
    };
    let number = numbering::mint(series.number, series.next, tag)
        .or_else(again)
        .ok_or(ActError::NoNumbers)?;
    series.next += 1;
    keep_series(tx, series)?;
    Ok(number)
}

/// The TEMP number of a patient, in its shown form, if there is one.
pub fn temp_number_of(state: &RecordState) -> Option<String> {
    let temp = patient::IDENTIFIER
        .standing(state)
        .into_iter()
        .find(|id| id.value.expose().system == TEMP_SYSTEM)?;
    Some(numbering::shown(&temp.value.expose().value))
}
