//! Word of commits between processes: told in the transaction that commits, heard by a thread of each process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use sync_protocol::ScopeId;

use super::Server;
use crate::db::wakes::Commit;

/// Word of commits goes over this channel.
pub(super) const CHANNEL: &str = "mainstay_hub";
/// The server takes payloads of less than 8,000 bytes; a commit that touched more says "everything".
const SCOPES_TOLD_MAX: usize = 240;
/// How soon the listener sees that it is to stop.
const LISTEN_POLL: Duration = Duration::from_millis(200);
/// How often it is made sure that a silent listener is still connected.
const LISTEN_CHECK_POLLS: u32 = 25;
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// What a commit says to other processes: who speaks, of which organisation, and the scopes it touched.
pub(in crate::db) fn told(speaker: [u8; 16], org: [u8; 16], scopes: &BTreeSet<ScopeId>) -> Option<String> {
    if scopes.is_empty() {
        return None;
    }
    let hex = |id: &[u8; 16]| data_encoding::HEXLOWER.encode(id);
    let mut payload = hex(&speaker) + &hex(&org);
    if scopes.len() > SCOPES_TOLD_MAX {
        payload.push('*');
    } else {
        scopes.iter().for_each(|scope| payload.push_str(&hex(&scope.0)));
    }
    Some(payload)
}

/// A heard payload: who spoke, of which organisation, and what. What cannot be read may be anything.
fn heard(payload: &str) -> Option<([u8; 16], [u8; 16], Commit)> {
    let id = |text: &str| -> Option<[u8; 16]> { data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok() };
    let (speaker, org, scopes) = (payload.get(..32)?, payload.get(32..64)?, payload.get(64..)?);
    let commit = if scopes == "*" {
        Commit::Everything
    } else {
        let ids = scopes
            .as_bytes()
            .chunks(32)
            .map(|chunk| std::str::from_utf8(chunk).ok().and_then(id).map(ScopeId));
        Commit::Scopes(Arc::new(ids.collect::<Option<_>>()?))
    };
    Some((id(speaker)?, id(org)?, commit))
}

/// Hears of other processes' commits until told to stop; whoever missed some is told that everything may have changed.
pub(in crate::db) fn listen(server: &Server, me: [u8; 16], stop: &AtomicBool, wake: &dyn Fn(Option<[u8; 16]>, Commit)) {
    while !stop.load(Ordering::Relaxed) {
        if let Ok(mut session) = server.connect()
            && session.plain(&format!("LISTEN {CHANNEL}")).is_ok()
        {
            wake(None, Commit::Everything);
            hear(&mut session.client, me, stop, wake);
        }
        if !stop.load(Ordering::Relaxed) {
            std::thread::sleep(RECONNECT_PAUSE);
        }
    }
}

fn hear(client: &mut Client, me: [u8; 16], stop: &AtomicBool, wake: &dyn Fn(Option<[u8; 16]>, Commit)) {
    let mut silent = 0;
    while !stop.load(Ordering::Relaxed) {
        let next = client.notifications().timeout_iter(LISTEN_POLL).next();
        match next {
            Ok(Some(said)) => match heard(said.payload()) {
                Some((speaker, ..)) if speaker == me => {}
                Some((_, org, commit)) => wake(Some(org), commit),
                None => wake(None, Commit::Everything),
            },
            Ok(None) => {
                silent += 1;
                if client.is_closed() || (silent % LISTEN_CHECK_POLLS == 0 && client.is_valid(RECONNECT_PAUSE).is_err())
                {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard() {
        let scopes = BTreeSet::from([ScopeId([3; 16]), ScopeId([4; 16])]);
        let many: BTreeSet<ScopeId> = (0..=240u8).map(|n| ScopeId([n; 16])).collect();

        let payload = told([1; 16], [2; 16], &scopes).unwrap();
        let everything = told([1; 16], [2; 16], &many).unwrap();

        assert_eq!(
            heard(&payload),
            Some(([1; 16], [2; 16], Commit::Scopes(Arc::new(scopes))))
        );
        assert_eq!(heard(&everything), Some(([1; 16], [2; 16], Commit::Everything)));
        assert!(
            told([1; 16], [2; 16], &(0..240u8).map(|n| ScopeId([n; 16])).collect())
                .unwrap()
                .len()
                < 8_000
        );
        assert_eq!(told([1; 16], [2; 16], &BTreeSet::new()), None);
        for wrong in [
            "",
            "rubbish",
            &payload[1..],
            &payload[..payload.len() - 1],
            "é".repeat(40).as_str(),
        ] {
            assert_eq!(heard(wrong), None, "{wrong}");
        }
    }
}
