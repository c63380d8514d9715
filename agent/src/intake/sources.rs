//! One sender's words in this site's store.

use clinic::following::LastSaid;
use clinic::index::Wanted;
use clinic::keeping::SourceLedger;
use sync_protocol::author::Draft;
use sync_protocol::state::RecordState;
use sync_protocol::{ChangeId, FieldId, KindId, RecordId};

use crate::access::ActError;
use crate::store::{SourceValue, WriteTx};

/// More records than this do not carry one number.
const WITH_TERM_MAX: u32 = 10;

/// A write, as what one sender says is kept in it.
pub(super) struct Words<'a, 'tx> {
    pub(super) tx: &'a mut WriteTx<'tx>,
    pub(super) source: &'a str,
}

impl SourceLedger for Words<'_, '_> {
    type Error = ActError;

    fn state(&mut self, record: RecordId) -> Result<Option<RecordState>, ActError> {
        Ok(self.tx.state(record)?)
    }

    fn with_term(&mut self, kind: KindId, term: &str) -> Result<Vec<RecordState>, ActError> {
        let exactly = Wanted::Exactly(term.to_owned());
        let found = self.tx.search(&[vec![exactly]], kind, WITH_TERM_MAX)?;
        Ok(found.into_iter().map(|stored| stored.state).collect())
    }

    fn linked(&mut self, target: RecordId, kind: KindId) -> Result<Vec<RecordState>, ActError> {
        let found = self.tx.linked(target, kind)?;
        Ok(found.into_iter().map(|stored| stored.state).collect())
    }

    fn last_said(&mut self, record: RecordId, field: FieldId) -> Result<Option<LastSaid>, ActError> {
        let said = self.tx.source_value(self.source, record, field)?;
        Ok(said.map(|said| LastSaid {
            change: said.change,
            value: said.value,
        }))
    }

    fn remember(&mut self, record: RecordId, field: FieldId, said: LastSaid) -> Result<(), ActError> {
        let value = SourceValue {
            change: said.change,
            value: said.value,
        };
        Ok(self.tx.set_source_value(self.source, record, field, &value)?)
    }

    fn author(&mut self, draft: &Draft) -> Result<Option<ChangeId>, ActError> {
        Ok(self.tx.author(draft)?.map(|written| written.change))
    }

    fn new_record(&mut self) -> Result<RecordId, ActError> {
        Ok(self.tx.new_record_id()?)
    }
}
