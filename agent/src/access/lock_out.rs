//! Wrong passphrases in a row close a login for a while. A login that nobody has is closed in the same way, so that
//! nothing is told by it. Kept in memory: whoever can restart the service needs no passphrase.

use std::collections::BTreeMap;

use super::sign_in::{LOCK_OUT_MS, TRIES_MAX};

/// Logins that are remembered; the one tried longest ago goes first.
const LOGINS_MAX: usize = 1_000;

#[derive(Default, Debug)]
pub struct LockOut(BTreeMap<String, Tries>);

#[derive(Clone, Copy, Debug)]
struct Tries {
    wrong: u32,
    last_ms: u64,
}

/// What a try may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Try {
    Allowed,
    /// Until this time, milliseconds since 1970.
    Closed(u64),
}

impl LockOut {
    /// Counts a try as wrong before it is looked at, so that tries side by side are all counted.
    pub fn begin(&mut self, login: &str, now_ms: u64) -> Try {
        let login = login.trim().to_lowercase();
        self.0
            .retain(|_, tries| tries.last_ms.saturating_add(LOCK_OUT_MS) > now_ms);
        if let Some(tries) = self.0.get(&login)
            && tries.wrong >= TRIES_MAX
        {
            return Try::Closed(tries.last_ms.saturating_add(LOCK_OUT_MS));
        }
        if !self.0.contains_key(&login) && self.0.len() >= LOGINS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, tries)| tries.last_ms);
            if let Some(oldest) = oldest.map(|(login, _)| login.clone()) {
                self.0.remove(&oldest);
            }
        }
        let tries = self.0.entry(login).or_insert(Tries {
            wrong: 0,
            last_ms: now_ms,
        });
        tries.wrong += 1;
        tries.last_ms = now_ms;
        Try::Allowed
    }

    /// The try was right after all.
    pub fn right(&mut self, login: &str) {
        self.0.remove(&login.trim().to_lowercase());
    }

    /// Until when a login is closed, if it is.
    pub fn closed_until(&self, login: &str, now_ms: u64) -> Option<u64> {
        let tries = self.0.get(&login.trim().to_lowercase())?;
        let until = tries.last_ms.saturating_add(LOCK_OUT_MS);
        (tries.wrong >= TRIES_MAX && until > now_ms).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_try_after_the_last_one_finds_the_login_closed_and_later_open_again() {
        let mut lock_out = LockOut::default();

        for _ in 0..TRIES_MAX {
            assert_eq!(lock_out.begin("ada", 1_000), Try::Allowed);
        }

        assert_eq!(lock_out.begin(" ADA ", 1_500), Try::Closed(1_000 + LOCK_OUT_MS));
        assert_eq!(lock_out.begin("ben", 1_500), Try::Allowed);
        assert_eq!(lock_out.begin("ada", 1_000 + LOCK_OUT_MS), Try::Allowed);
    }

    #[test]
    fn a_right_passphrase_forgets_the_wrong_ones() {
        let mut lock_out = LockOut::default();
        for _ in 1..TRIES_MAX {
            lock_out.begin("ada", 1_000);
        }

        lock_out.right("Ada");

        assert_eq!(lock_out.begin("ada", 1_001), Try::Allowed);
        assert_eq!(lock_out.closed_until("ada", 1_002), None);
    }

    #[test]
    fn many_made_up_logins_take_no_more_room() {
        let mut lock_out = LockOut::default();
        for number in 0..2 * LOGINS_MAX as u64 {
            lock_out.begin(&format!("login{number}"), 1_000 + number);
        }

        assert_eq!(lock_out.0.len(), LOGINS_MAX);
    }
}
