//! What the command line prints. The only place of the hub's where PHI goes to a terminal: what `patient find` and its
//! like were asked.

use zeroize::Zeroizing;

use super::{
    admin, authority, backup, conflict, matching, message, organisation, patient, policy, reference, site, staff,
    status,
};
use crate::admin::Reply;
use crate::exit::Failure;

/// One line of JSON, without the tags by which replies are told apart on the local socket.
pub(super) fn json(reply: &Reply) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: serde_json::Error| Failure::failed(format!("the answer cannot be shown: {error}"));
    let mut value = serde_json::to_value(reply).map_err(failed)?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("about");
        fields.remove("reply");
    }
    Ok(Zeroizing::new(value.to_string()))
}

pub(super) fn failure(failure: &Failure) -> String {
    serde_json::json!({ "error": failure.message, "exit": failure.exit as u8 }).to_string()
}

pub(super) fn text(reply: &Reply) -> Zeroizing<String> {
    Zeroizing::new(match reply {
        Reply::Organisation(reply) => organisation::text(reply),
        Reply::Site(reply) => site::text(reply),
        Reply::Staff(reply) => staff::text(reply),
        Reply::Patient(reply) => patient::text(reply),
        Reply::Policy(reply) => policy::text(reply),
        Reply::Reference(reply) => reference::text(reply),
        Reply::Conflict(reply) => conflict::text(reply),
        Reply::Quarantine(reply) => conflict::text_of_quarantine(reply),
        Reply::Account(reply) => admin::text(reply),
        Reply::Message(reply) => message::text(reply),
        Reply::Match(reply) => matching::text(reply),
        Reply::Authority(reply) => authority::text(reply),
        Reply::Backup(reply) => backup::text(reply),
        Reply::Status(status) => status::text(status),
    })
}
