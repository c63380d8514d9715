//! One sender's words in the hub's store.

use std::sync::Arc;

use clinic::appointment;
use clinic::following::LastSaid;
use clinic::index::Wanted;
use clinic::keeping::SourceLedger;
use sync_protocol::author::Draft;
use sync_protocol::hub::{HubError, HubLedger};
use sync_protocol::state::RecordState;
use sync_protocol::{ChangeId, FieldId, KindId, RecordId, ScopeId};

use crate::db::{DbError, Txn, random};

/// A transaction, as what one sender says is kept in it.
pub(super) struct Words<'a, 'txn> {
    pub(super) txn: &'a mut Txn<'txn>,
    pub(super) source: &'a str,
    /// The site that the message is for. A booking is in its scope; whose it is follows by the scope policy.
    pub(super) site: Option<ScopeId>,
    pub(super) touched: &'a mut Vec<RecordId>,
}

impl SourceLedger for Words<'_, '_> {
    type Error = HubError<DbError>;

    fn state(&mut self, record: RecordId) -> Result<Option<RecordState>, Self::Error> {
        Ok(self.txn.state(record)?.map(Arc::unwrap_or_clone))
    }

    fn with_term(&mut self, kind: KindId, term: &str) -> Result<Vec<RecordState>, Self::Error> {
        let exactly = Wanted::Exactly(term.to_owned());
        Ok(self.txn.search(kind, &[vec![exactly]])?)
    }

    fn linked(&mut self, target: RecordId, kind: KindId) -> Result<Vec<RecordState>, Self::Error> {
        let linked = self.txn.linked_to(target, kind)?.into_iter();
        Ok(linked.map(Arc::unwrap_or_clone).collect())
    }

    fn last_said(&mut self, record: RecordId, field: FieldId) -> Result<Option<LastSaid>, Self::Error> {
        Ok(self.txn.last_words(self.source, record)?.remove(&field))
    }

    fn remember(&mut self, record: RecordId, field: FieldId, said: LastSaid) -> Result<(), Self::Error> {
        Ok(self.txn.set_last_word(self.source, record, field, &said)?)
    }

    fn author(&mut self, draft: &Draft) -> Result<Option<ChangeId>, Self::Error> {
        let scope = self.site.filter(|_| draft.kind == appointment::KIND);
        let written = self.txn.author(draft, scope)?;
        self.touched.extend(written.as_ref().map(|_| draft.record));
        Ok(written.map(|written| written.change))
    }

    fn new_record(&mut self) -> Result<RecordId, Self::Error> {
        Ok(RecordId(random()?))
    }
}
