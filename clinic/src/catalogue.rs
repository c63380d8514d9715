//! Every record kind and field, once: type, merge rule, owner, whether it is PHI, and the lane of the kind. Validation,
//! merge, index and pages lean on this table; a field that is not in it is kept but never shown.

use std::marker::PhantomData;

use sync_protocol::cbor::Raw;
use sync_protocol::change::{Act, Header, Payload};
use sync_protocol::rules::Rule;
use sync_protocol::{FieldId, KindId, Lane, Phi, RecordId, RecordState};

use crate::flow::VisitState;
use crate::task::{Answer, Candidates, Delivery, Entered, Intent, TaskKind};
use crate::value::{
    Address, AllergyStatement, AppointmentStatus, BirthDate, BlobDigest, Identifier, LinkStanding, PersonName,
    ReportText, Role, RoomState, Sex, Signature, Target, Value,
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

/// Whose scopes a kind's records are in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// The site's that wrote it or that it was written for.
    Site,
    /// Wherever its patient is: every site that the patient concerns has it.
    Patient,
    /// Every site's: there is one scope of it for the whole organisation, and its records are in no other.
    Organisation,
}

#[derive(Debug)]
pub struct Kind {
    pub id: KindId,
    pub name: &'static str,
    pub lane: Lane,
    pub owner: Owner,
    pub home: Home,
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
    ($($(#[$doc:meta])* $module:ident = $kind:literal, $lane:ident, $owner:ident, $home:ident {
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
                home: Home::$home,
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
    patient = 1, Flow, Shared, Patient {
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
    coverage = 2, Schedule, Shared, Patient {
        PATIENT: RecordId = 1, Latest, Shared, false;
        PAYER: Phi<String> = 2, Latest, Shared, true;
        MEMBER_ID: Phi<String> = 3, Latest, Shared, true;
        PLAN: Phi<String> = 4, Latest, Shared, true;
    }
    /// One allergy, or what was said to be one.
    allergy = 3, Safety, Shared, Patient {
        PATIENT: RecordId = 1, Latest, Shared, false;
        STATEMENT: Phi<AllergyStatement> = 2, Assert, Shared, true;
    }
    /// One coming to one site.
    visit = 4, Flow, Site, Site {
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
    room = 5, Reference, Hub, Site {
        SITE: RecordId = 1, Latest, Hub, false;
        NAME: String = 2, Latest, Hub, false;
        STATE: RoomState = 3, Latest, Site, false;
    }
    /// A piece of work for a partner. The site owns the intent, the hub the delivery.
    task = 6, Flow, Site, Site {
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
    staff = 7, Reference, Hub, Site {
        LOGIN: String = 1, Latest, Hub, false;
        NAME: String = 2, Latest, Hub, false;
        ROLE: Role = 3, Latest, Hub, false;
        /// An Argon2id PHC string, so that sign-in works offline.
        CREDENTIAL: String = 4, Latest, Hub, false;
        SITE: RecordId = 5, Latest, Hub, false;
    }
    /// A clinic site. The record's id is also the id of the site's scope.
    site = 8, Reference, Hub, Site {
        NAME: String = 1, Latest, Hub, false;
        /// IANA time zone.
        ZONE: String = 2, Latest, Hub, false;
        /// How the EHR takes this site's tasks.
        EHR: Target = 3, Latest, Hub, false;
        /// Declared downtime, with its reason; ending it withdraws what was shown.
        DOWNTIME: String = 4, Assert, Site, false;
        /// The line is held by decision, with its reason; releasing it withdraws what was shown.
        HOLD: String = 5, Assert, Site, false;
        /// Sites of one region may share a thin index of their patients.
        REGION: String = 6, Latest, Hub, false;
        /// The EHR's id of the location that this site is.
        EHR_LOCATION: String = 7, Latest, Hub, false;
        /// What of the policy could not be kept for this site, and by which rule; absent while all is well.
        NOTICE: String = 8, Latest, Hub, false;
    }
    /// A result that came from an analyser or laboratory.
    result = 9, Safety, Site, Site {
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
    /// A booked time at a site. Its id is derived from the assigner and the number of the booking, so that every feed that
    /// tells of it writes the same record.
    appointment = 10, Schedule, Shared, Site {
        PATIENT: RecordId = 1, Latest, Shared, false;
        SITE: RecordId = 2, Latest, Shared, false;
        PROVIDER: RecordId = 3, Latest, Shared, false;
        STARTS_MS: i64 = 4, Latest, Shared, false;
        ENDS_MS: i64 = 5, Latest, Shared, false;
        REASON: Phi<String> = 6, Latest, Shared, true;
        STATUS: AppointmentStatus = 7, Latest, Shared, false;
        /// The number of the booking (SCH-1, SCH-2; Appointment.identifier).
        NUMBER: Phi<Identifier> = 8, Latest, Shared, true;
    }
    /// Somebody who treats patients, as the organisation lists them.
    provider = 11, Reference, Hub, Organisation {
        NAME: String = 1, Latest, Hub, false;
        /// National Provider Identifier, ten digits.
        NPI: String = 2, Latest, Hub, false;
        SPECIALTY: String = 3, Latest, Hub, false;
        /// The EHR's id of the practitioner.
        EHR_ID: String = 4, Latest, Hub, false;
        /// When the list last named them, if it no longer does.
        ENDED_MS: i64 = 5, Latest, Hub, false;
    }
    /// Somebody who pays for treatment.
    payer = 12, Reference, Hub, Organisation {
        NAME: String = 1, Latest, Hub, false;
        /// The id by which a clearing house knows the payer (X12 NM109).
        PAYER_ID: String = 2, Latest, Hub, false;
        PHONE: String = 3, Latest, Hub, false;
        ENDED_MS: i64 = 4, Latest, Hub, false;
    }
    /// A paper form.
    form = 13, Reference, Hub, Organisation {
        NAME: String = 1, Latest, Hub, false;
        TITLE: String = 2, Latest, Hub, false;
        VERSION: String = 3, Latest, Hub, false;
        MEDIA: String = 4, Latest, Hub, false;
        CONTENT: BlobDigest = 5, Latest, Hub, false;
        BYTES: i64 = 6, Latest, Hub, false;
        ENDED_MS: i64 = 7, Latest, Hub, false;
    }
    /// A set of reference data: what it is called, which version stands, and since when. A code set is one file, named
    /// by its digest; the other sets are the records of their kind.
    reference_set = 14, Reference, Hub, Organisation {
        /// "icd-10-cm", "cvx", "place-of-service", "providers", "payers", "forms", "locations".
        NAME: String = 1, Latest, Hub, false;
        TITLE: String = 2, Latest, Hub, false;
        VERSION: String = 3, Latest, Hub, false;
        ENTRIES: i64 = 4, Latest, Hub, false;
        /// Where it came from: a file's name, or the EHR.
        SOURCE: String = 5, Latest, Hub, false;
        LOADED_MS: i64 = 6, Latest, Hub, false;
        /// Of a code set: the file's digest.
        CONTENT: BlobDigest = 7, Latest, Hub, false;
        BYTES: i64 = 8, Latest, Hub, false;
        /// When what it came from was last found to say the same; renewed now and then.
        CHECKED_MS: i64 = 9, Latest, Hub, false;
    }
    /// What the organisation has decided; the hub signs it, sites obey and show it.
    policy = 15, Reference, Hub, Organisation {
        NAME: String = 1, Latest, Hub, false;
        VERSION: i64 = 2, Latest, Hub, false;
        /// TOML.
        BODY: ReportText = 3, Latest, Hub, false;
        SIGNED_MS: i64 = 4, Latest, Hub, false;
        /// Over organisation, name, version, time and body.
        SIGNATURE: Signature = 5, Latest, Hub, false;
    }
    /// Two patient records that are, may be or are not of one person. Its id is derived from theirs. Linking moves
    /// nothing: both records go on, and are shown and delivered as one while the link stands.
    link = 16, Safety, Shared, Patient {
        LEFT: RecordId = 1, Latest, Shared, false;
        RIGHT: RecordId = 2, Latest, Shared, false;
        STANDING: LinkStanding = 3, Ask, Shared, false;
        /// The sum of the weights, in hundredths of a bit.
        SCORE: i64 = 4, Latest, Hub, false;
        /// One line for every comparison: what was compared, how it agreed, its weight.
        WHY: Phi<ReportText> = 5, Latest, Hub, true;
    }
    /// The organisation whose sites these are. The record's id is also the id of the scope that every site has.
    organisation = 17, Reference, Hub, Organisation {
        NAME: String = 1, Latest, Hub, false;
    }
    /// A place as the EHR lists it.
    location = 18, Reference, Hub, Organisation {
        NAME: String = 1, Latest, Hub, false;
        EHR_ID: String = 2, Latest, Hub, false;
        /// The site that it is, or is part of.
        SITE: RecordId = 3, Latest, Hub, false;
        ENDED_MS: i64 = 4, Latest, Hub, false;
    }
    /// What every site may know of somebody who works at one of them, so that it can say who wrote what: a name and a
    /// place, nothing to sign in with. Its id is derived from that of the staff record.
    colleague = 19, Reference, Hub, Organisation {
        NAME: String = 1, Latest, Hub, false;
        SITE: RecordId = 2, Latest, Hub, false;
        /// The name of the site, whose own record stays there.
        SITE_NAME: String = 3, Latest, Hub, false;
    }
}

pub fn kind(id: KindId) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.id == id)
}

/// The lane of a kind; one that this version does not know travels last.
pub fn lane(id: KindId) -> Lane {
    kind(id).map_or(Lane::Reference, |kind| kind.lane)
}

/// Whose scopes a kind's records are in; one that this version does not know stays with the site that wrote it.
pub fn home(id: KindId) -> Home {
    kind(id).map_or(Home::Site, |kind| kind.home)
}

/// Raised when a kind, field or type is added, and when the index says something else of a record: after an upgrade quarantined
/// changes are tried again and all records are indexed anew.
pub const VERSION: u32 = 5;

/// The source of a reference set that is made of what the EHR lists.
pub const EHR_SOURCE: &str = "EHR";

/// That a reference set was found unchanged is written down no oftener than this, since every site is told.
pub const CHECKED_EVERY_MS: i64 = 4 * 60 * 60 * 1000;

/// When a reference set was last known to be as its source has it.
pub fn reference_checked_ms(set: &RecordState) -> Option<i64> {
    reference_set::LOADED_MS
        .value(set)
        .max(reference_set::CHECKED_MS.value(set))
}

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
        engine::RECORD_FULL => "its record holds as much as a record may",
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
