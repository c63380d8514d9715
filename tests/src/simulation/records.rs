//! The few kinds and fields that the simulated clinic writes, one for each way of merging, and the hub's admission.

use sync_protocol::cbor::Raw;
use sync_protocol::rules::Rule;
use sync_protocol::{FieldId, Header, KindId, Lane, Payload};

use super::variant::Variant;

pub(crate) const PATIENT: KindId = KindId(1);
pub(crate) const ALLERGY: KindId = KindId(2);
pub(crate) const VISIT: KindId = KindId(3);

pub(crate) const PHONE: FieldId = FieldId(1);
pub(crate) const BIRTH_DATE: FieldId = FieldId(2);
pub(crate) const EMAIL: FieldId = FieldId(3);
/// Elements: assertions and refutations of one allergy.
pub(crate) const ASSERTION: FieldId = FieldId(11);
/// Elements: transitions of one visit and their withdrawals.
pub(crate) const STATUS: FieldId = FieldId(21);
pub(crate) const REASON: FieldId = FieldId(22);

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

/// A value of a form that the hub understands only from schema `level` on: poison until then.
pub(crate) fn of_newer_form(level: u8, salt: u8) -> Raw {
    Raw::bytes(&[level, salt])
}

pub(crate) fn form_level(value: &Raw) -> u8 {
    value.to_bytes().and_then(|bytes| bytes.first().copied()).unwrap_or(0)
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
