//! Arrival in three fields. Whoever looks alike is offered and never chosen; a TEMP number is shown once it exists.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use clinic::catalogue::{patient, task, visit};
use clinic::flow;
use clinic::matching::Identity;
use clinic::task::state_of;
use clinic::value::{BirthDate, PersonName, Target};
use sync_protocol::{Phi, RecordId, RecordState};

use super::desk::{Acted, Desk};
use super::frame::shell;
use super::last_act::{About, LastAct};
use super::names::{further_numbers, is_temporary, listed_name, typed_name};
use super::patients::{typed_birth_date, typed_phone};
use super::reading::Reading;
use super::refusal::{Built, Refusal};
use super::sent::{Fields, Sent};
use super::task_rows::kind_word;
use super::views::{ArrivalFields, ArrivalView, ArrivalWrong, Arrived, LookAlike, Mark, Marked, Tab};
use super::visits::record_id;
use crate::access::arrivals::{Arrival, arrive as arrive_person, look_alikes, temp_number_of};
use crate::store::{Stored, TxError};

/// Look-alikes that are offered: more than anybody can compare.
const OFFERED_MAX: usize = 9;

pub(super) async fn ask(desk: Desk) -> Response {
    let built = desk.page(StatusCode::OK, |reading| Ok(empty(reading)?)).await;
    desk.answer(built).await
}

fn empty(reading: &Reading<'_, '_>) -> Result<ArrivalView, TxError> {
    Ok(ArrivalView {
        shell: shell(reading, Some(Tab::Arrive))?,
        typed: ArrivalFields::default(),
        wrong: ArrivalWrong::default(),
        read_as: String::new(),
        look_alikes: Vec::new(),
        as_of: format!("patients on this PC as of {}", reading.clock.now()),
        arrived: None,
    })
}

pub(super) async fn arrive(sent: Sent) -> Response {
    let done = arrival(&sent).await;
    sent.desk.answer(done).await
}

async fn arrival(sent: &Sent) -> Built<Response> {
    let typed = Typed::read(&sent.fields);
    if typed.is_wrong() {
        return ask_again(sent, typed, Vec::new()).await;
    }
    let person = sent.fields.text("person");
    let offered = sent.fields.records("offered");
    let identity = typed.identity();
    let request = sent.request;
    let alike = sent.desk.read(move |reading| {
        // A form that has had its effect is not asked again.
        let is_repeat = reading.tx.answered(request)?.is_some();
        Ok(if is_repeat {
            Vec::new()
        } else {
            look_alikes(reading.tx, &identity)?
        })
    });
    let alike: Vec<RecordId> = alike
        .await?
        .into_iter()
        .take(OFFERED_MAX)
        .map(|stored| stored.state.record)
        .collect();
    let somebody_new = alike.iter().any(|one| !offered.contains(one));
    if !alike.is_empty() && (person.is_empty() || somebody_new) {
        return ask_again(sent, typed, alike).await;
    }
    let patient = match person.as_str() {
        "" | "new" => None,
        chosen => Some(record_id(chosen)?),
    };
    let wanted = typed.arrival(patient);
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            let wanted = Arrival {
                event_ms: now_ms,
                ..wanted.clone()
            };
            let arrived = arrive_person(tx, by, &wanted)?;
            Ok(Acted {
                to: Some(format!("/arrivals/{}", arrived.visit)),
                said: Some(LastAct {
                    about: About::Patient(arrived.patient),
                    what: "arrived".to_owned(),
                    at_ms: now_ms,
                    undo: None,
                }),
            })
        })
        .await
}

/// What was typed, and what is wrong with it.
struct Typed {
    fields: ArrivalFields,
    wrong: ArrivalWrong,
    birth_date: Option<Phi<BirthDate>>,
}

impl Typed {
    fn read(fields: &Fields) -> Typed {
        let typed = ArrivalFields {
            name: fields.text("name"),
            birth_date: fields.text("birth_date"),
            reason: fields.text("reason"),
            phone: fields.text("phone"),
        };
        let (birth_date, wrong_date) = match typed.birth_date.as_str() {
            "" => (
                None,
                Some("Write the birth date; the year alone will do: 1990.".to_owned()),
            ),
            date => match typed_birth_date(date) {
                Ok(date) => (Some(date), None),
                Err(why) => (None, Some(why)),
            },
        };
        let missing = |text: &str, why: &str| text.is_empty().then(|| why.to_owned());
        let wrong = ArrivalWrong {
            name: missing(&typed.name, "Write the name, or “Unknown” and what can be seen."),
            birth_date: wrong_date,
            reason: missing(&typed.reason, "Write why they came, in their words."),
            phone: match typed.phone.as_str() {
                "" => None,
                phone => typed_phone(phone).err(),
            },
        };
        Typed {
            fields: typed,
            wrong,
            birth_date,
        }
    }

    fn is_wrong(&self) -> bool {
        let ArrivalWrong {
            name,
            birth_date,
            reason,
            phone,
        } = &self.wrong;
        [name, birth_date, reason, phone].into_iter().any(Option::is_some)
    }

    fn identity(&self) -> Identity {
        Identity {
            name: PersonName::parse(&self.fields.name),
            birth_date: self.birth_date.as_ref().map(|date| *date.expose()),
            phones: Vec::from_iter(Some(self.fields.phone.clone()).filter(|phone| !phone.is_empty())),
            ..Identity::default()
        }
    }

    fn arrival(&self, patient: Option<RecordId>) -> Arrival {
        let phone = Some(self.fields.phone.clone()).filter(|phone| !phone.is_empty());
        Arrival {
            name: typed_name(&self.fields.name),
            birth_date: self.birth_date.clone(),
            reason: Phi::new(self.fields.reason.clone()),
            phone: phone.map(Phi::new),
            patient,
            event_ms: 0,
        }
    }
}

/// The form again: with what is wrong (422), or with whom it may be (200).
async fn ask_again(sent: &Sent, typed: Typed, alike: Vec<RecordId>) -> Built<Response> {
    let status = if typed.is_wrong() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    sent.desk
        .page(status, move |reading| {
            let names: Vec<String> = {
                let mut names = vec![PersonName::parse(&typed.fields.name).listed()];
                for id in &alike {
                    names.push(reading.state(*id)?.map(|state| listed_name(&state)).unwrap_or_default());
                }
                names
            };
            let marked = Marked::compare(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let mut look_alikes = Vec::new();
            for (id, name) in alike.iter().zip(marked.into_iter().skip(1)) {
                if let Some(state) = reading.state(*id)? {
                    look_alikes.push(look_alike(reading, &state, name, &typed)?);
                }
            }
            Ok(ArrivalView {
                read_as: read_as(reading, typed.birth_date.as_ref()),
                look_alikes,
                typed: typed.fields,
                wrong: typed.wrong,
                ..empty(reading)?
            })
        })
        .await
}

/// "Read as 19 Aug 1990 · 35 years": so that nobody's month is taken for the day.
fn read_as(reading: &Reading<'_, '_>, date: Option<&Phi<BirthDate>>) -> String {
    let Some(date) = date.map(|date| *date.expose()) else {
        return String::new();
    };
    match date.age_on(reading.clock.today()) {
        Some(1) => format!("Read as {} · 1 year", date.shown()),
        Some(years) => format!("Read as {} · {years} years", date.shown()),
        None => format!("Read as {}", date.shown()),
    }
}

fn look_alike(
    reading: &Reading<'_, '_>,
    state: &RecordState,
    name: Marked,
    typed: &Typed,
) -> Result<LookAlike, TxError> {
    let visits = reading.tx.linked(state.record, visit::KIND)?;
    let mut marks = Vec::new();
    if is_here(&visits) {
        marks.push(Mark::new("clock", "On the board now", super::views::Tone::Watch));
    }
    if is_temporary(state) {
        marks.push(Mark::temp());
    }
    Ok(LookAlike {
        patient: state.record.to_string(),
        name,
        second: reading.second(state),
        numbers: further_numbers(state, &reading.second(state)),
        why: why_alike(reading, state, typed, &visits),
        marks,
    })
}

pub(super) fn is_here(visits: &[Stored]) -> bool {
    let open = |state: &RecordState| flow::standing(state).is_some_and(|standing| !standing.state.is_end());
    visits.iter().any(|stored| open(&stored.state))
}

/// "Last visit 02 Nov 2025", by when it began.
pub(super) fn last_visit(reading: &Reading<'_, '_>, visits: &[Stored]) -> String {
    let began = visits.first().and_then(|stored| flow::standing(&stored.state));
    match began.and_then(|standing| standing.steps.first().copied()) {
        Some(step) if reading.clock.is_today(step.event_ms) => {
            format!("Last visit today, {}", reading.clock.at(step.event_ms))
        }
        Some(step) => format!("Last visit {}", reading.clock.day(step.event_ms)),
        None => "No visit is known here".to_owned(),
    }
}

fn why_alike(reading: &Reading<'_, '_>, state: &RecordState, typed: &Typed, visits: &[Stored]) -> String {
    let (ours, theirs) = (typed.identity(), Identity::of_patient(state));
    let mut same = Vec::new();
    let fold = clinic::matching::fold;
    if fold(&ours.name.family) == fold(&theirs.name.family) && fold(&ours.name.given) == fold(&theirs.name.given) {
        same.push("name");
    }
    if ours.birth_date.is_some() && ours.birth_date == theirs.birth_date {
        same.push("birth date");
    }
    let key = |who: &Identity| who.phones.first().and_then(|phone| clinic::matching::phone_key(phone));
    if key(&ours).is_some() && key(&ours) == key(&theirs) {
        same.push("phone");
    }
    format!("Same {}. {}", same.join(" and "), last_visit(reading, visits))
}

pub(super) async fn arrived(Path(id): Path<String>, desk: Desk) -> Response {
    let built = arrived_page(&desk, &id).await;
    desk.answer(built).await
}

async fn arrived_page(desk: &Desk, id: &str) -> Built<Response> {
    let id = record_id(id)?;
    desk.page(StatusCode::OK, move |reading| {
        let state = reading.state(id)?.filter(|state| state.kind == visit::KIND);
        let state = state.ok_or(Refusal::NotFound)?;
        let patient_id = visit::PATIENT.value(&state).ok_or(Refusal::NotFound)?;
        let patient = reading.state(patient_id)?.filter(|state| state.kind == patient::KIND);
        let standing = flow::standing(&state).ok_or(Refusal::NotFound)?;
        let began_ms = standing.steps.first().map_or(standing.since_ms, |step| step.event_ms);
        let mut tasks = Vec::new();
        for stored in reading.tx.linked(patient_id, task::KIND)? {
            if !state_of(&stored.state).is_final() {
                let then = match task::TARGET.value(&stored.state) {
                    Some(Target::Person) => "to be entered by hand, on the work list",
                    Some(Target::Machine) | None => "leaves by itself; matched first",
                };
                tasks.push((format!("{} to the EHR", kind_word(&stored.state)), then.to_owned()));
            }
        }
        Ok(ArrivalView {
            arrived: Some(Arrived {
                patient: reading.patient(patient_id)?,
                visit: id.to_string(),
                temp_number: patient.and_then(|patient| temp_number_of(&patient)),
                at: reading.clock.at(began_ms),
                tasks,
            }),
            ..empty(reading)?
        })
    })
    .await
}
