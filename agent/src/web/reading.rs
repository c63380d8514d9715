//! One page being read: a snapshot of the store, the moment, and who asks. Records that several parts of a page name are
//! read once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use clinic::policy::{Permission, allows};
use sync_protocol::{RecordId, RecordState};
use uuid::Uuid;

use super::Web;
use super::last_act::LastAct;
use super::refusal::Built;
use super::site_clock::SiteClock;
use super::views::{FormKeys, Theme};
use crate::access::Person;
use crate::access::site::Site;
use crate::clock;
use crate::line::Line;
use crate::store::{ReadTx, TxError};

/// Who asks, and from where.
pub(super) struct Asked {
    pub(super) web: Arc<Web>,
    /// `None` at the door.
    pub(super) person: Option<Person>,
    pub(super) theme: Theme,
    pub(super) csrf: String,
    pub(super) back: String,
    pub(super) last_act: Option<LastAct>,
}

impl Asked {
    pub(super) async fn read<T, F>(self, read: F) -> Built<T>
    where
        F: FnOnce(&Reading<'_, '_>) -> Built<T> + Send + 'static,
        T: Send + 'static,
    {
        let store = self.web.app.store.clone();
        store.read(move |tx| Ok(read(&Reading::new(tx, self)?))).await?
    }
}

pub(super) struct Reading<'r, 'c> {
    pub(super) tx: &'r ReadTx<'c>,
    pub(super) asked: Asked,
    pub(super) site: Site,
    pub(super) clock: SiteClock,
    pub(super) line: Line,
    pub(super) keys: FormKeys,
    states: RefCell<BTreeMap<RecordId, Option<Rc<RecordState>>>>,
}

impl<'r, 'c> Reading<'r, 'c> {
    fn new(tx: &'r ReadTx<'c>, asked: Asked) -> Result<Reading<'r, 'c>, TxError> {
        let site = Site::of(tx)?;
        Ok(Reading {
            clock: SiteClock::new(&site.zone, clock::now_ms()),
            line: asked.web.app.line.now(),
            keys: FormKeys::new(&asked.csrf, &asked.back, Uuid::new_v4()),
            states: RefCell::default(),
            tx,
            asked,
            site,
        })
    }

    /// What is shown of a record, read once for the whole page.
    pub(super) fn state(&self, id: RecordId) -> Result<Option<Rc<RecordState>>, TxError> {
        if let Some(known) = self.states.borrow().get(&id) {
            return Ok(known.clone());
        }
        let read = self.tx.state(id)?.map(Rc::new);
        self.states.borrow_mut().insert(id, read.clone());
        Ok(read)
    }

    pub(super) fn may(&self, permission: Permission) -> bool {
        self.asked
            .person
            .as_ref()
            .is_some_and(|person| allows(person.role, permission))
    }
}

/// Ids of what is shown, as forms carry them.
pub(super) fn ids<'i>(ids: impl IntoIterator<Item = &'i sync_protocol::ChangeId>) -> String {
    let ids: Vec<String> = ids.into_iter().map(ToString::to_string).collect();
    ids.join(" ")
}
