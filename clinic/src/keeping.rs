//! What a sender's messages say, kept in a store: patients found or made, bookings, merges. The program at the site and the
//! hub keep it by the same rules, each in a transaction of its own store.
//!
//! It refuses: to put anything on a patient by a number alone, to let a source undo what others have said, to let an old
//! message of a booking undo a newer one of the same. Of a person the message that comes last counts.

mod bookings;
mod merges;
mod patients;

use formats::hl7::Sent;
use sync_protocol::author::Draft;
use sync_protocol::state::RecordState;
use sync_protocol::{ChangeId, FieldId, KindId, RecordId};

pub use bookings::{Booking, book, overtaken};
pub use merges::{Merged, merge};
pub use patients::{Found, Kept, find, keep, keep_allergies, keep_coverages};

use crate::catalogue::Field;
use crate::following::{LastSaid, Noted, follow};
use crate::value::Value;
use crate::write::Writing;

/// A store within one transaction, as one source's words are kept in it.
pub trait SourceLedger {
    type Error;

    /// The record as it is shown.
    fn state(&mut self, record: RecordId) -> Result<Option<RecordState>, Self::Error>;
    /// Records of a kind that are indexed by this very term.
    fn with_term(&mut self, kind: KindId, term: &str) -> Result<Vec<RecordState>, Self::Error>;
    /// Records of a kind that link to this one.
    fn linked(&mut self, target: RecordId, kind: KindId) -> Result<Vec<RecordState>, Self::Error>;
    /// What the source last said of a field.
    fn last_said(&mut self, record: RecordId, field: FieldId) -> Result<Option<LastSaid>, Self::Error>;
    fn remember(&mut self, record: RecordId, field: FieldId, said: LastSaid) -> Result<(), Self::Error>;
    /// Writes a change; `None` when it says nothing new.
    fn author(&mut self, draft: &Draft) -> Result<Option<ChangeId>, Self::Error>;
    /// A random id for a new record.
    fn new_record(&mut self) -> Result<RecordId, Self::Error>;
}

/// One change of one record, as a source has it.
pub struct Following<'a> {
    record: RecordId,
    state: Option<&'a RecordState>,
    writing: Writing,
    noted: Vec<Noted>,
}

impl<'a> Following<'a> {
    /// `state` is the record as shown; `None` when it is new.
    pub fn new(record: RecordId, state: Option<&'a RecordState>, writing: Writing) -> Following<'a> {
        Following {
            record,
            state,
            writing,
            noted: Vec::new(),
        }
    }

    /// Adds what is said of a field, as far as it is new; `same` tells values apart that are only written differently.
    pub fn say<T: Value, L: SourceLedger>(
        mut self,
        ledger: &mut L,
        field: Field<T>,
        sent: &Sent<T>,
        same: fn(&T, &T) -> bool,
    ) -> Result<Following<'a>, L::Error> {
        let last = ledger.last_said(self.record, field.id)?;
        let (writing, noted) = follow(self.writing, field, self.state, sent, last.as_ref(), same);
        self.writing = writing;
        self.noted.extend(noted);
        Ok(self)
    }

    /// Adds what is written whoever says it.
    pub fn with(mut self, add: impl FnOnce(Writing) -> Writing) -> Following<'a> {
        self.writing = add(self.writing);
        self
    }

    /// Writes it, if anything is new, and remembers what was said.
    pub fn write<L: SourceLedger>(self, ledger: &mut L) -> Result<Option<ChangeId>, L::Error> {
        let change = if self.writing.is_empty() {
            None
        } else {
            ledger.author(&self.writing.done())?
        };
        for noted in self.noted {
            ledger.remember(self.record, noted.field, noted.said(change))?;
        }
        Ok(change)
    }
}
