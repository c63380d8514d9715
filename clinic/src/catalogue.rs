//! Every record kind and field, once: type, merge rule, owner, whether it is PHI, and the lane of the kind. Validation,
//! merge, index and pages lean on this table; a field that is not in it is kept but never shown.

use std::marker::PhantomData;

use sync_protocol::cbor::Raw;
use sync_protocol::change::{Act, Header, Payload};
use sync_protocol::rules::Rule;
use sync_protocol::{FieldId, KindId, Lane, Phi, RecordId};

use crate::flow::VisitState;
use crate::task::{Answer, Candidates, Delivery, Entered, Intent, TaskKind};
use crate::value::{
    Address, AllergyStatement, BirthDate, BlobDigest, Identifier, PersonName, ReportText, Role, RoomState, Sex, Target,
    Value,
};

/// Who writes a kind or a field first; `Shared` ones are merged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    Hub,
    Site,
    Shared,
}

/// A field holds live values, or immutable elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    Register,
    Elements,
}

#[derive(Debug)]
pub struct Kind {
    pub id: KindId,
    pub name: &'static str,
    pub lane: Lane,
    pub owner: Owner,
    pub fields: &'static [FieldEntry],
}

#[derive(Debug)]
pub struct FieldEntry {
    pub id: FieldId,
    pub name: &'static str,
    pub rule: Rule,
    pub owner: Owner,
    pub phi: bool,
    pub fits: fn(&Raw) -> bool,
}

impl FieldEntry {
    pub fn holds(&self) -> Holds {
        match self.rule {
            Rule::Furthest | Rule::Assert => Holds::Elements,
            Rule::Owner | Rule::Latest | Rule::Earliest | Rule::Worst | Rule::Ask => Holds::Register,
        }
    }
}

/// A field whose type is known to the compiler.
pub struct Field<T> {
    pub kind: KindId,
    pub id: FieldId,
    pub rule: Rule,
    value: PhantomData<fn() -> T>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Field<T> {
        *self
    }
}

impl<T> Copy for Field<T> {}

macro_rules! kinds {
    ($($(#[$doc:meta])* $module:ident = $kind:literal, $lane:ident, $owner:ident {
        $($(#[$fdoc:meta])* $field:ident: $type:ty = $id:literal, $rule:ident, $fowner:ident, $phi:literal;)+
    })+) => {
        $($(#[$doc])* pub mod $module {
            use super::*;

            pub const KIND: KindId = KindId($kind);
            $($(#[$fdoc])* pub const $field: Field<$type> =
                Field { kind: KIND, id: FieldId($id), rule: Rule::$rule, value: PhantomData };)+

            pub(super) static ENTRY: Kind = Kind {
                id: KIND,
                name: stringify!($module),
                lane: Lane::$lane,
                owner: Owner::$owner,
                fields: &[$(FieldEntry {
                    id: FieldId($id),
                    name: stringify!($field),
                    rule: Rule::$rule,
                    owner: Owner::$fowner,
                    phi: $phi,
                    fits: |raw| raw.is_null() || <$type as Value>::from_raw(raw).is_some(),
                }),+],
            };
        })+

        /// Every kind, in order of its number.
        pub static KINDS: &[&Kind] = &[$(&$module::ENTRY),+];
    };
}

kinds! {
    /// A person who comes to be treated.
    patient = 1, Flow, Shared {
        NAME: Phi<PersonName> = 1, Ask, Shared, true;
        BIRTH_DATE: Phi<BirthDate> = 2, Ask, Shared, true;
        SEX: Sex = 3, Ask, Shared, true;
        PHONE: Phi<String> = 4, Latest, Shared, true;
        EMAIL: Phi<String> = 5, Latest, Shared, true;
        ADDRESS: Phi<Address> = 6, Latest, Shared, true;
        /// MRNs, TEMP numbers, partners' ids: an alias stands for ever unless it is refuted.
        IDENTIFIER: Phi<Identifier> = 7, Assert, Shared, true;
    }
    /// Last known insurance.
    coverage = 2, Schedule, Shared {
        PATIENT: RecordId = 1, Latest, Shared, false;
        PAYER: Phi<String> = 2, Latest, Shared, true;
        MEMBER_ID: Phi<String> = 3, Latest, Shared, true;
        PLAN: Phi<String> = 4, Latest, Shared, true;
    }
    /// One allergy, or what was said to be one.
    allergy = 3, Safety, Shared {
        PATIENT: RecordId = 1, Latest, Shared, false;
        STATEMENT: Phi<AllergyStatement> = 2, Assert, Shared, true;
    }
    /// One coming to one site.
    visit = 4, Flow, Site {
        PATIENT: RecordId = 1, Latest, Site, false;
        SITE: RecordId = 2, Latest, Site, false;
        REASON: Phi<String> = 3, Latest, Site, true;
        TRANSITION: VisitState = 4, Furthest, Site, false;
        ROOM: RecordId = 5, Latest, Site, false;
        PROVIDER: RecordId = 6, Latest, Site, false;
        /// The sender's visit number (PV1-19), to find the visit by.
        NUMBER: Phi<Identifier> = 7, Latest, Site, true;
    }
    /// A room of a site.
    room = 5, Reference, Hub {
        SITE: RecordId = 1, Latest, Hub, false;
        NAME: String = 2, Latest, Hub, false;
        STATE: RoomState = 3, Latest, Site, false;
    }
    /// A piece of work for a partner. The site owns the intent, the hub the delivery.
    task = 6, Flow, Site {
        KIND_OF_WORK: TaskKind = 1, Latest, Site, false;
        TARGET: Target = 2, Latest, Site, false;
        PATIENT: RecordId = 3, Latest, Site, false;
        VISIT: RecordId = 4, Latest, Site, false;
        /// For an encounter: the state that the partner is to hear of.
        STATE: VisitState = 5, Latest, Site, false;
        DEADLINE_MS: i64 = 6, Latest, Site, false;
        INTENT: Intent = 7, Latest, Site, false;
        DELIVERY: Delivery = 8, Latest, Hub, false;
        /// The partner's own number for what the task made.
        PARTNER_ID: String = 9, Latest, Hub, true;
        /// Who typed it in, when, and the number the partner gave.
        ENTERED: Phi<Entered> = 10, Latest, Site, true;
        /// People at the partner who may be this patient.
        CANDIDATES: Phi<Candidates> = 11, Latest, Hub, true;
        ANSWER: Answer = 12, Latest, Site, true;
    }
    /// Somebody who works at a site.
    staff = 7, Reference, Hub {
        LOGIN: String = 1, Latest, Hub, false;
        NAME: String = 2, Latest, Hub, false;
        ROLE: Role = 3, Latest, Hub, false;
        /// An Argon2id PHC string, so that sign-in works offline.
        CREDENTIAL: String = 4, Latest, Hub, false;
        SITE: RecordId = 5, Latest, Hub, false;
    }
    /// A clinic site. The record's id is also the id of the site's scope.
    site = 8, Reference, Hub {
        NAME: String = 1, Latest, Hub, false;
        /// IANA time zone.
        ZONE: String = 2, Latest, Hub, false;
        /// How the EHR takes this site's tasks.
        EHR: Target = 3, Latest, Hub, false;
        /// Declared downtime, with its reason; ending it withdraws what was shown.
        DOWNTIME: String = 4, Assert, Site, false;
        /// The line is held by decision, with its reason; releasing it withdraws what was shown.
        HOLD: String = 5, Assert, Site, false;
    }
    /// A result that came from an analyser or laboratory.
    result = 9, Safety, Site {
        /// Absent while the result is not matched to a patient.
        PATIENT: RecordId = 1, Latest, Site, false;
        SITE: RecordId = 2, Latest, Site, false;
        SERVICE: Phi<String> = 3, Latest, Site, true;
        /// Lines "name: value units (flag)".
        OBSERVATIONS: Phi<ReportText> = 4, Latest, Site, true;
        OBSERVED_MS: i64 = 5, Latest, Site, false;
        /// The original message.
        ORIGINAL: BlobDigest = 6, Latest, Site, false;
        /// Whom the message says it is about, for the person who matches it.
        SAID_NAME: Phi<PersonName> = 7, Latest, Site, true;
        SAID_BIRTH_DATE: Phi<BirthDate> = 8, Latest, Site, true;
        SAID_IDENTIFIER: Phi<Identifier> = 9, Latest, Site, true;
        /// Until when somebody should have matched it.
        DEADLINE_MS: i64 = 10, Latest, Site, false;
    }
}

pub fn kind(id: KindId) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.id == id)
}

/// The lane of a kind; one that this version does not know travels last.
pub fn lane(id: KindId) -> Lane {
    kind(id).map_or(Lane::Reference, |kind| kind.lane)
}

/// Raised when a kind, field or type is added: quarantined changes are tried again after an upgrade.
pub const VERSION: u32 = 1;

/// Reasons for quarantine, beside the engine's own.
pub mod reason {
    pub const UNKNOWN_KIND: u16 = 100;
    pub const UNKNOWN_FIELD: u16 = 101;
    pub const WRONG_TYPE: u16 = 102;
    pub const WRONG_ACT: u16 = 103;
    pub const NOT_THE_SITES: u16 = 104;
}

/// Whether a change can be used by this version of the catalogue.
pub fn admit(header: &Header, payload: &Payload) -> Result<(), u16> {
    let kind = kind(header.kind).ok_or(reason::UNKNOWN_KIND)?;
    let entry = |id: FieldId| {
        kind.fields
            .iter()
            .find(|field| field.id == id)
            .ok_or(reason::UNKNOWN_FIELD)
    };
    for write in &payload.fields {
        let field = entry(write.field)?;
        if field.holds() != Holds::Register || !(field.fits)(&write.value) {
            return Err(reason::WRONG_TYPE);
        }
    }
    for element in &payload.elements {
        let field = entry(element.field)?;
        if field.holds() != Holds::Elements {
            return Err(reason::WRONG_ACT);
        }
        if element.act == Act::Assert && !(field.fits)(&element.value) {
            return Err(reason::WRONG_TYPE);
        }
    }
    Ok(())
}

/// Whether it is a site's to write at all: staff, rooms, sites and deliveries are the hub's own words.
pub fn admit_of_site(header: &Header, payload: &Payload) -> Result<(), u16> {
    let kind = kind(header.kind).ok_or(reason::UNKNOWN_KIND)?;
    let registers = payload.fields.iter().map(|write| write.field);
    let mut written = registers.chain(payload.elements.iter().map(|element| element.field));
    let is_the_hubs = |id: FieldId| {
        kind.fields
            .iter()
            .any(|field| field.id == id && field.owner == Owner::Hub)
    };
    if written.any(is_the_hubs) {
        return Err(reason::NOT_THE_SITES);
    }
    Ok(())
}

/// What a reason for quarantine means, for people.
pub fn describe_reason(code: u16) -> &'static str {
    use sync_protocol::hub::reason as engine;
    match code {
        engine::UNREADABLE => "the change cannot be read",
        engine::ID_REUSED => "its id already names another change",
        engine::TOO_LARGE => "it is too large",
        engine::WRONG_DOT => "its number is not its place in the chain",
        engine::OTHER_KIND => "its record is of another kind",
        reason::UNKNOWN_KIND => "its kind of record is newer than the hub",
        reason::UNKNOWN_FIELD => "one of its fields is newer than the hub",
        reason::WRONG_TYPE => "one of its values is not of its field's type",
        reason::WRONG_ACT => "it does to a field what the field does not allow",
        reason::NOT_THE_SITES => "it writes what only the hub may write",
        _ => "a reason that this version does not know",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_fields_have_numbers_of_their_own() {
        for (at, kind) in KINDS.iter().enumerate() {
            assert!(KINDS[at + 1..].iter().all(|other| other.id != kind.id), "{}", kind.name);
            for (at, field) in kind.fields.iter().enumerate() {
                assert!(
                    kind.fields[at + 1..].iter().all(|other| other.id != field.id),
                    "{}",
                    field.name
                );
            }
        }
    }
}
