//! The few kinds and fields of the catalogue that the simulated clinic writes, one for each way of merging, and the hub's
//! admission.

use clinic::catalogue::{allergy, patient, visit};
use clinic::value::{AllergyStatement, Identifier, Value as _};
use sync_protocol::cbor::Raw;
use sync_protocol::rules::Rule;
use sync_protocol::{FieldId, Header, KindId, Lane, Payload};

use super::rng::Rng;
use super::variant::Variant;

pub(crate) const PATIENT: KindId = patient::KIND;
pub(crate) const ALLERGY: KindId = allergy::KIND;
pub(crate) const VISIT: KindId = visit::KIND;

pub(crate) const PHONE: FieldId = patient::PHONE.id;
pub(crate) const BIRTH_DATE: FieldId = patient::BIRTH_DATE.id;
pub(crate) const EMAIL: FieldId = patient::EMAIL.id;
/// Elements: the numbers that a patient is known by.
pub(crate) const IDENTIFIER: FieldId = patient::IDENTIFIER.id;
/// Elements: assertions and refutations of one allergy.
pub(crate) const ASSERTION: FieldId = allergy::STATEMENT.id;
/// Elements: transitions of one visit and their withdrawals.
pub(crate) const STATUS: FieldId = visit::TRANSITION.id;
pub(crate) const REASON: FieldId = visit::REASON.id;

/// The admission's reason for content of a form that the hub does not know yet.
pub(crate) const NEWER_FORM: u16 = 100;

/// The reason of a hub that refuses data for its time, as ours never does.
const FAR_CLOCK: u16 = 101;
const SKEW_REFUSED_MS: u64 = 5 * 60 * 1_000;

/// A field that the hub writes and no agent of this version knows.
pub(crate) const NEWER_FIELD: FieldId = FieldId(77);

pub(crate) fn registers(kind: KindId) -> &'static [(FieldId, Rule)] {
    match kind {
        PATIENT => &[(PHONE, Rule::Latest), (BIRTH_DATE, Rule::Ask), (EMAIL, Rule::Latest)],
        VISIT => &[(REASON, Rule::Latest)],
        _ => &[],
    }
}

pub(crate) fn asks(field: FieldId) -> bool {
    field == BIRTH_DATE
}

pub(crate) fn lane(kind: KindId) -> Lane {
    match kind {
        ALLERGY => Lane::Safety,
        VISIT => Lane::Flow,
        _ => Lane::Schedule,
    }
}

/// A visit belongs to one site; patients and allergies are shared.
pub(crate) fn shared(kind: KindId) -> bool {
    kind != VISIT
}

/// The visit's graph: waiting, roomed, seen, gone; or left without being seen, from waiting or roomed.
pub(crate) fn passed_by(from: &Raw, to: &Raw) -> bool {
    matches!(
        (from.to_int(), to.to_int()),
        (Some(1), Some(2..=5)) | (Some(2), Some(3..=5)) | (Some(3), Some(4))
    )
}

const PHONES: [&str; 4] = ["555-0100", "555-0101", "555-0102", "555-0103"];
const DATES: [&str; 4] = ["1980-02-03", "1980-03-02", "1979-12-31", "2001-07-14"];
const STATES: u64 = 5;

/// What somebody writes there: what the catalogue takes, so that an agent's own store takes it too.
pub(crate) fn any_value(rng: &mut Rng, kind: KindId, field: FieldId) -> Raw {
    if rng.per_mille(80) {
        return Raw::null();
    }
    match (kind, field) {
        (PATIENT, BIRTH_DATE) => Raw::text(rng.pick(&DATES).copied().unwrap_or_default()),
        (ALLERGY, _) => statement(rng.pick(&PHONES).copied().unwrap_or_default()),
        (VISIT, STATUS) => Raw::int(1 + rng.below(STATES) as i64),
        (_, _) if rng.per_mille(100) => Raw::text(&"long ".repeat(20 + rng.index(100))),
        (_, _) => Raw::text(rng.pick(&PHONES).copied().unwrap_or_default()),
    }
}

/// An allergy to something.
pub(crate) fn statement(substance: &str) -> Raw {
    let statement = AllergyStatement {
        substance: substance.to_owned(),
        ..AllergyStatement::default()
    };
    statement.to_raw()
}

/// A number that a patient is known by.
pub(crate) fn number(value: &str) -> Raw {
    let number = Identifier {
        system: "RIVERSIDE".to_owned(),
        value: value.to_owned(),
        kind: "MR".to_owned(),
    };
    number.to_raw()
}

const NEWER: &str = "newer form ";

/// A value of a form that the hub understands only from schema `level` on: poison until then.
pub(crate) fn of_newer_form(level: u8, salt: u8) -> Raw {
    Raw::text(&format!("{NEWER}{level} {salt}"))
}

pub(crate) fn form_level(value: &Raw) -> u8 {
    let substance = || AllergyStatement::from_raw(value).map(|statement| statement.substance);
    let text = value.to_text().or_else(substance).unwrap_or_default();
    let level = text.strip_prefix(NEWER).and_then(|rest| rest.split(' ').next());
    level.and_then(|level| level.parse().ok()).unwrap_or(0)
}

pub(crate) fn admit(schema: u8, payload: &Payload) -> Result<(), u16> {
    let fields = payload.fields.iter().map(|write| &write.value);
    let elements = payload.elements.iter().map(|write| &write.value);
    if fields.chain(elements).all(|value| form_level(value) <= schema) {
        Ok(())
    } else {
        Err(NEWER_FORM)
    }
}

/// What the hub at this time admits; a wrong one refuses what was written by a clock that is far from its own.
pub(crate) fn admission(
    schema: u8,
    now_ms: u64,
    variant: Option<Variant>,
) -> impl Fn(&Header, &Payload) -> Result<(), u16> {
    move |header, payload| {
        if variant == Some(Variant::SkewRefusal) && header.at.wall_ms.abs_diff(now_ms) > SKEW_REFUSED_MS {
            return Err(FAR_CLOCK);
        }
        admit(schema, payload)
    }
}
