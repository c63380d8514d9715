//! FHIR R4 (4.0.1), as narrow as what we exchange: Patient, Encounter, search results and outcomes; and what is only read:
//! Appointment, Coverage, Practitioner, Location, and pages of what changed.
//!
//! What is unknown is ignored on reading, and a code we do not know counts as none: an EHR's own extensions or mistakes never
//! stand in the way of reading the rest. It follows that a resource read here is **not** a copy of the partner's: writing it
//! back would delete what these types leave out. Only [`encode`] writes, and it writes valid R4 JSON: no null, no empty
//! string, array or object, no control characters.

mod appointment;
mod bundle;
mod coverage;
mod datatypes;
mod encounter;
mod feed;
mod json;
mod outcome;
mod patient;
mod place;
mod search;

pub use appointment::{Appointment, AppointmentParticipant, AppointmentStatus};
pub use bundle::{AnyResource, Bundle, BundleEntry, BundleLink, SearchMode};
pub use coverage::{Coverage, CoverageClass};
pub use datatypes::{
    Address, AddressUse, CodeableConcept, Coding, ContactPoint, ContactPointSystem, ContactPointUse, Extension,
    HumanName, Identifier, IdentifierUse, Meta, NameUse, Period, Reference,
};
pub use encounter::{Encounter, EncounterLocation, EncounterLocationStatus, EncounterStatus};
pub use feed::{Content, Feed, FeedEntry};
pub use json::{FhirError, Resource, decode, encode};
pub use outcome::{IssueSeverity, OperationOutcome, OutcomeIssue};
pub use patient::{Gender, Patient, PatientLink};
pub use place::{Location, Practitioner};
pub use search::{DatePrefix, SearchQuery, TextMatch};
