//! What people do about one patient: look, edit, add and refute allergies. An edit names what its writer was shown, field
//! by field; what nobody touched is not written.

use std::collections::BTreeMap;

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use clinic::catalogue::{allergy, patient};
use clinic::matching::phone_key;
use clinic::value::{AllergyStatement, BirthDate, PersonName, Sex};
use serde::Deserialize;
use sync_protocol::{Phi, RecordId};

use super::desk::{Acted, Desk};
use super::last_act::{About, LastAct};
use super::names::{typed_name, typed_over};
use super::patient_page::{patient_body, patient_head, patient_view};
use super::refusal::{Built, Refusal, sentence};
use super::sent::{Fields, Sent};
use super::views::{Notice, Tone};
use super::visits::record_id;
use crate::access::ActError;
use crate::access::patients::{self, Edited, PatientEdit};
use crate::clock;
use crate::store::{ReadTx, TxError};

#[derive(Deserialize)]
pub(super) struct PatientQuery {
    fragment: Option<String>,
}

pub(super) async fn show(Path(id): Path<String>, desk: Desk, Query(asked): Query<PatientQuery>) -> Response {
    let built = page(&desk, &id, asked.fragment.as_deref()).await;
    desk.answer(built).await
}

async fn page(desk: &Desk, id: &str, fragment: Option<&str>) -> Built<Response> {
    let id = record_id(id)?;
    match fragment {
        Some("head") => {
            desk.page(StatusCode::OK, move |reading| patient_head(reading, id))
                .await
        }
        Some(_) => {
            desk.page(StatusCode::OK, move |reading| patient_body(reading, id))
                .await
        }
        None => {
            desk.page(StatusCode::OK, move |reading| patient_view(reading, id))
                .await
        }
    }
}

pub(super) async fn edit(Path(id): Path<String>, sent: Sent) -> Response {
    let done = edited(&id, &sent).await;
    sent.desk.answer(done).await
}

async fn edited(id: &str, sent: &Sent) -> Built<Response> {
    let patient = record_id(id)?;
    let typed = match TypedEdit::read(&sent.fields) {
        Ok(edit) => edit,
        Err(wrong) => return ask_again(id, sent, wrong).await,
    };
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            let mut typed = typed.clone();
            if let Some(name) = typed.name.as_mut().and_then(|edited| edited.value.as_mut()) {
                *name = typed_over_shown(tx, patient, name)?;
            }
            let changed = patients::edit(tx, by, patient, &typed, now_ms)?;
            Ok(Acted {
                to: None,
                said: changed.then(|| LastAct {
                    about: About::Patient(patient),
                    what: "saved".to_owned(),
                    at_ms: now_ms,
                    undo: None,
                }),
            })
        })
        .await
}

/// The typed name, its parts as in the one that stands now.
fn typed_over_shown(tx: &ReadTx<'_>, id: RecordId, typed: &Phi<PersonName>) -> Result<Phi<PersonName>, TxError> {
    let state = tx.state(id)?;
    let stands = state.and_then(|state| patient::NAME.ask(&state).standing().cloned());
    Ok(match stands {
        Some(shown) => typed.clone().map(|name| typed_over(&name.listed(), shown.expose())),
        None => typed.clone(),
    })
}

/// What is wrong, by field.
type Wrong = BTreeMap<&'static str, String>;

struct TypedEdit;

impl TypedEdit {
    fn read(fields: &Fields) -> Result<PatientEdit, Wrong> {
        let mut wrong = Wrong::new();
        let mut note = |name: &'static str, why: String| {
            wrong.insert(name, why);
        };
        let edit = PatientEdit {
            name: touched(fields, "name", &mut note, |typed| Ok(typed_name(typed))),
            birth_date: touched(fields, "birth_date", &mut note, typed_birth_date),
            sex: touched(fields, "sex", &mut note, |typed| {
                Sex::parse(typed).ok_or_else(|| "Choose one of the list.".to_owned())
            }),
            phone: touched(fields, "phone", &mut note, typed_phone),
            email: touched(fields, "email", &mut note, typed_email),
        };
        if edit.name.as_ref().is_some_and(|name| name.value.is_none()) {
            note(
                "name",
                "A patient needs a name; write “Unknown” and what can be seen.".to_owned(),
            );
        }
        if wrong.is_empty() { Ok(edit) } else { Err(wrong) }
    }
}

/// A field whose text differs from what stood there when the page was shown.
fn touched<T>(
    fields: &Fields,
    name: &'static str,
    note: &mut impl FnMut(&'static str, String),
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Edited<T>> {
    fields.raw(name)?;
    let typed = fields.text(name);
    if fields
        .raw(&format!("was_{name}"))
        .is_some_and(|was| was.trim() == typed)
    {
        return None;
    }
    let shown = fields.changes(&format!("shown_{name}"));
    if typed.is_empty() {
        return Some(Edited { value: None, shown });
    }
    match parse(&typed) {
        Ok(value) => Some(Edited {
            value: Some(value),
            shown,
        }),
        Err(why) => {
            note(name, why);
            None
        }
    }
}

/// Oldest age that is taken for true.
const AGE_MAX_YEARS: i16 = 130;

pub(super) fn typed_birth_date(typed: &str) -> Result<Phi<BirthDate>, String> {
    let date = BirthDate::parse(typed)
        .ok_or_else(|| "This is not a day. Check the card, and write month, day, year: 08 19 1990.".to_owned())?;
    let now = jiff::Timestamp::from_millisecond(clock::now_ms()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    // Somewhere it is tomorrow already.
    let latest = now.to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow();
    let latest = latest.map(|date| date.to_string()).unwrap_or_default();
    if date.iso() > latest {
        return Err("This day has not come yet. Check the year.".to_owned());
    }
    let oldest = now.to_zoned(jiff::tz::TimeZone::UTC).year() - AGE_MAX_YEARS;
    if date.iso() < oldest.to_string() {
        return Err("Nobody is that old. Check the year.".to_owned());
    }
    Ok(Phi::new(date))
}

pub(super) fn typed_phone(typed: &str) -> Result<Phi<String>, String> {
    match phone_key(typed) {
        Some(_) => Ok(Phi::new(typed.to_owned())),
        None => Err("A phone number has at least seven digits. Check it, or leave it empty.".to_owned()),
    }
}

fn typed_email(typed: &str) -> Result<Phi<String>, String> {
    let whole = typed
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    if whole && !typed.contains(char::is_whitespace) {
        Ok(Phi::new(typed.to_owned()))
    } else {
        Err("An e-mail address has an @ and no blanks. Check it, or leave it empty.".to_owned())
    }
}

/// The page again, with what was typed and what is wrong with it.
async fn ask_again(id: &str, sent: &Sent, mut wrong: Wrong) -> Built<Response> {
    let id = record_id(id)?;
    let names = ["name", "birth_date", "sex", "phone", "email"];
    let typed: BTreeMap<&str, String> = names
        .into_iter()
        .filter(|name| sent.fields.raw(name).is_some())
        .map(|name| (name, sent.fields.text(name)))
        .collect();
    sent.desk
        .page(StatusCode::UNPROCESSABLE_ENTITY, move |reading| {
            let mut view = patient_view(reading, id)?;
            for field in &mut view.body.fields {
                if let Some(typed) = typed.get(field.name.as_str()) {
                    field.input.clone_from(typed);
                }
                field.wrong = wrong.remove(field.name.as_str());
            }
            view.body.notice = Some(Notice {
                tone: Tone::Watch,
                happened: "Not saved yet.".to_owned(),
                todo: "Look at the marked field; what you typed is still there.".to_owned(),
            });
            Ok(view)
        })
        .await
}

pub(super) async fn add_allergy(Path(id): Path<String>, sent: Sent) -> Response {
    let done = allergy_added(&id, &sent).await;
    sent.desk.answer(done).await
}

async fn allergy_added(id: &str, sent: &Sent) -> Built<Response> {
    let patient = record_id(id)?;
    let statement = Phi::new(AllergyStatement {
        substance: sent.fields.text("substance"),
        reaction: sent.fields.text("reaction"),
        ..AllergyStatement::default()
    });
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            patients::add_allergy(tx, by, patient, &statement, now_ms)?;
            Ok(Acted::saying(LastAct {
                about: About::Patient(patient),
                what: "allergy added".to_owned(),
                at_ms: now_ms,
                undo: None,
            }))
        })
        .await
}

pub(super) async fn refute_allergy(Path(id): Path<String>, sent: Sent) -> Response {
    let done = allergy_refuted(&id, &sent).await;
    sent.desk.answer(done).await
}

async fn allergy_refuted(id: &str, sent: &Sent) -> Built<Response> {
    let id = record_id(id)?;
    let (shown, why) = (sent.fields.changes("shown"), sent.fields.text("why"));
    if shown.is_empty() {
        return Err(Refusal::NotNow(sentence(
            "the page did not say which statements you saw",
        )));
    }
    sent.desk
        .act(sent, move |tx, by, now_ms| {
            patients::refute_allergy(tx, by, id, &shown, &why, now_ms)?;
            let state = tx.state(id)?.ok_or(ActError::NotFound("allergy"))?;
            let patient = allergy::PATIENT.value(&state).ok_or(ActError::NotFound("patient"))?;
            Ok(Acted::saying(LastAct {
                about: About::Patient(patient),
                what: "allergy refuted".to_owned(),
                at_ms: now_ms,
                undo: None,
            }))
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_birth_date_is_a_day_that_has_been() {
        assert!(typed_birth_date("08 19 1990").is_ok());
        for wrong in ["02 31 1990", "01 01 2199", "1860", "soon"] {
            assert!(typed_birth_date(wrong).is_err(), "{wrong}");
        }
    }
}
