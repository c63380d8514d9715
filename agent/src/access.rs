//! The door: everything that people and interfaces do at this site. Who may do what is decided by `clinic::policy` and
//! enforced here, on the server; each act is one transaction that also makes the tasks it causes.
//!
//! Acts take a [`WriteTx`], so that "keep the message, register the patient, answer the sender" is one write.

use clinic::policy::{Permission, allows};
use clinic::value::Role;
use clinic::write::Channel;
use sync_protocol::author::FieldDraft;
use sync_protocol::replica::ReplicaError;
use sync_protocol::{Actor, Draft, KindId, RecordId, RecordState};

use crate::store::{ReadTx, Stored, TxError, WriteTx};

pub mod arrivals;
pub mod bookings;
pub mod links;
pub mod lock_out;
pub mod patients;
pub mod results;
pub mod sign_in;
pub mod site;
pub mod tasks;
pub mod visits;

/// Somebody who is signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Person {
    pub staff: RecordId,
    pub login: String,
    pub name: String,
    pub role: Role,
}

/// Who acts: a person, by a way; or an interface, which acts for its sender.
#[derive(Clone, Copy, Debug)]
pub enum By<'a> {
    Person(&'a Person, Channel),
    Interface(Channel),
}

impl By<'_> {
    pub fn actor(&self) -> Actor {
        match self {
            By::Person(person, channel) => channel.by(person.staff),
            By::Interface(channel) => channel.program(),
        }
    }

    /// Interfaces are trusted by how they are connected, people by their role.
    pub fn may(&self, permission: Permission) -> Result<(), ActError> {
        match self {
            By::Person(person, _) if !allows(person.role, permission) => Err(ActError::NotPermitted),
            By::Person(..) | By::Interface(_) => Ok(()),
        }
    }
}

/// Why an act was not done. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    #[error("your role does not allow this; ask a lead")]
    NotPermitted,
    #[error("this {0} is not known at this site")]
    NotFound(&'static str),
    /// A field of the form, and what to do about it.
    #[error("{field}: {remedy}")]
    Invalid { field: &'static str, remedy: &'static str },
    #[error("{0}")]
    Conflict(&'static str),
    #[error(
        "the site has used up its series of TEMP numbers and has no new one from the hub yet; write the number by hand"
    )]
    NoNumbers,
    #[error(transparent)]
    Store(#[from] TxError),
    #[error(transparent)]
    Engine(#[from] ReplicaError<TxError>),
}

/// Writes a draft; `None` when it says nothing new.
fn write(tx: &mut WriteTx<'_>, draft: &Draft) -> Result<Option<sync_protocol::ChangeId>, ActError> {
    refuse_newer(tx, draft)?;
    Ok(tx.author(draft)?.map(|written| written.change))
}

/// A value that a newer version wrote, in a form that this one cannot read, is kept and not edited here: nobody who could
/// not see it can have meant to replace it.
fn refuse_newer(tx: &ReadTx<'_>, draft: &Draft) -> Result<(), ActError> {
    let names_something = draft.fields.iter().any(|write| !write.shown.is_empty());
    let (true, Some(kind)) = (names_something, clinic::catalogue::kind(draft.kind)) else {
        return Ok(());
    };
    let Some(state) = tx.state(draft.record)? else {
        return Ok(());
    };
    let is_newer = |write: &FieldDraft| {
        let entry = kind.fields.iter().find(|entry| entry.id == write.field);
        let (Some(entry), Some(register)) = (entry, state.register(write.field)) else {
            return false;
        };
        let mut named = write.shown.iter().filter_map(|id| register.values.get(id));
        named.any(|live| !(entry.fits)(&live.value))
    };
    if draft.fields.iter().any(is_newer) {
        return Err(ActError::Conflict(
            "this was written by a newer version than this one, which cannot read it; bring this program up to date, then \
             change it",
        ));
    }
    Ok(())
}

/// The record as it is shown, which must be of the kind.
fn known(tx: &ReadTx<'_>, id: RecordId, kind: KindId, what: &'static str) -> Result<RecordState, ActError> {
    tx.state(id)?
        .filter(|state| state.kind == kind)
        .ok_or(ActError::NotFound(what))
}

fn states(stored: Vec<Stored>) -> Vec<RecordState> {
    stored.into_iter().map(|stored| stored.state).collect()
}
