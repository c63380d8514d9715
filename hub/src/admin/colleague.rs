//! What every site may know of the staff of each: said when somebody is added, when their site is renamed, and once for
//! those who were there before this was kept. No credential is ever in it.

use clinic::catalogue::{colleague, site, staff};
use clinic::colleagues::colleague_id;
use clinic::{Action, Writing};
use sync_protocol::change::Actor;
use sync_protocol::hub::HubLedger;
use sync_protocol::{RecordId, ScopeId};

use crate::db::{Db, Txn};
use crate::exit::Failure;

/// Says who somebody is, where that differs from what was said before.
pub(super) fn say(
    txn: &mut Txn<'_>,
    actor: Actor,
    person: RecordId,
    name: &String,
    (site, site_name): (ScopeId, &String),
) -> Result<(), Failure> {
    let record = colleague_id(person);
    txn.lock(&[record.0])?;
    let before = txn.state(record)?;
    let shown = |field| before.as_ref().map(|state| state.shown(field)).unwrap_or_default();
    let draft = Writing::new(colleague::KIND, record, Action::Administer, actor, txn.now_ms() as i64)
        .replace(colleague::NAME, name, &shown(colleague::NAME.id))
        .replace(colleague::SITE, &RecordId(site.0), &shown(colleague::SITE.id))
        .replace(colleague::SITE_NAME, site_name, &shown(colleague::SITE_NAME.id));
    txn.author(&draft.done(), None)?;
    Ok(())
}

/// Says anew where everybody of a site works.
pub(super) fn say_site(txn: &mut Txn<'_>, actor: Actor, scope: ScopeId, site_name: &String) -> Result<(), Failure> {
    for person in txn.linked_to(RecordId(scope.0), staff::KIND)? {
        let name = staff::NAME.value(&person).unwrap_or_default();
        say(txn, actor, person.record, &name, (scope, site_name))?;
    }
    Ok(())
}

/// Says who everybody is of whom that was never said: stores from before it was kept.
pub(super) async fn say_missing(db: &Db) -> Result<(), Failure> {
    let missing = db
        .read(|txn| {
            let mut missing = Vec::new();
            for known in txn.sites()? {
                for person in txn.linked_to(RecordId(known.scope.0), staff::KIND)? {
                    if txn.state(colleague_id(person.record))?.is_none() {
                        missing.push(known.scope);
                        break;
                    }
                }
            }
            Ok::<_, Failure>(missing)
        })
        .await?;
    for scope in missing {
        db.write(move |txn| {
            let state = txn.state(RecordId(scope.0))?;
            let name = state.and_then(|state| site::NAME.value(&state)).unwrap_or_default();
            say_site(txn, clinic::Channel::Hub.program(), scope, &name)
        })
        .await?;
    }
    Ok(())
}
