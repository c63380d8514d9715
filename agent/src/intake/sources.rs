//! What a sender last said of a record's fields: read before a change is composed, kept when it is written.

use clinic::catalogue::Field;
use clinic::hl7::{self, LastSaid, Noted};
use clinic::value::Value;
use clinic::write::Writing;
use formats::hl7::Sent;
use sync_protocol::state::RecordState;
use sync_protocol::{ChangeId, FieldId, RecordId};

use crate::access::ActError;
use crate::store::{ReadTx, SourceValue, TxError, WriteTx};

/// One change of one record, as a sender's message has it.
pub(super) struct Following<'a> {
    source: &'a str,
    record: RecordId,
    state: Option<&'a RecordState>,
    writing: Writing,
    noted: Vec<Noted>,
}

impl<'a> Following<'a> {
    /// `state` is the record as shown; `None` when it is new.
    pub(super) fn new(
        source: &'a str,
        record: RecordId,
        state: Option<&'a RecordState>,
        writing: Writing,
    ) -> Following<'a> {
        Following {
            source,
            record,
            state,
            writing,
            noted: Vec::new(),
        }
    }

    /// Adds what is said of a field, as far as it is new; `same` tells values apart that are only written differently.
    pub(super) fn say<T: Value>(
        mut self,
        tx: &ReadTx<'_>,
        field: Field<T>,
        sent: &Sent<T>,
        same: fn(&T, &T) -> bool,
    ) -> Result<Following<'a>, TxError> {
        let last = last_said(tx, self.source, self.record, field.id)?;
        let (writing, noted) = hl7::follow(self.writing, field, self.state, sent, last.as_ref(), same);
        self.writing = writing;
        self.noted.extend(noted);
        Ok(self)
    }

    /// Adds what is written whoever says it.
    pub(super) fn with(mut self, add: impl FnOnce(Writing) -> Writing) -> Following<'a> {
        self.writing = add(self.writing);
        self
    }

    /// Writes it, if anything is new, and remembers what was said.
    pub(super) fn write(self, tx: &mut WriteTx<'_>) -> Result<Option<ChangeId>, ActError> {
        let change = if self.writing.is_empty() {
            None
        } else {
            tx.author(&self.writing.done())?.map(|written| written.change)
        };
        for noted in self.noted {
            let by = change.filter(|_| noted.written).unwrap_or(ChangeId::NIL);
            remember(tx, self.source, self.record, noted.field, by, noted.value)?;
        }
        Ok(change)
    }
}

pub(super) fn last_said(
    tx: &ReadTx<'_>,
    source: &str,
    record: RecordId,
    field: FieldId,
) -> Result<Option<LastSaid>, TxError> {
    let said = tx.source_value(source, record, field)?;
    Ok(said.map(|said| LastSaid {
        change: said.change,
        value: said.value,
    }))
}

pub(super) fn remember(
    tx: &mut WriteTx<'_>,
    source: &str,
    record: RecordId,
    field: FieldId,
    change: ChangeId,
    value: sync_protocol::cbor::Raw,
) -> Result<(), TxError> {
    tx.set_source_value(source, record, field, &SourceValue { change, value })
}
