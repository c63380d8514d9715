//! How much goes up in one request. It knows nothing of what goes up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sync_protocol::CHANGE_MAX_BYTES;

use crate::hub_client::HubError;

/// What the first push carries at most.
const FIRST: usize = 128 * 1024;

/// How much one push, or one return, carries, in bytes before compression. It begins with little, and what is answered well
/// within its time gives twice as much, up to the setting. What was not answered in time, or was too large for the hub or
/// for what stands before it, is tried again with half. So a slow hub or line is given what it takes in within its time,
/// and goes on being given that.
#[derive(Debug)]
pub struct PushBytes(AtomicUsize);

impl Default for PushBytes {
    fn default() -> PushBytes {
        PushBytes(AtomicUsize::new(FIRST))
    }
}

impl PushBytes {
    pub(super) fn now(&self, most: usize) -> usize {
        self.0.load(Ordering::Relaxed).min(most)
    }

    /// One of so many bytes sets out, cut to so many at most.
    pub(super) fn tried_with(&self, bytes: usize, bytes_max: usize) -> Tried<'_> {
        Tried {
            sizes: self,
            bytes: bytes.min(bytes_max),
            bytes_max,
            has_ended: false,
        }
    }

    fn set(&self, bytes: usize) {
        self.0.store(bytes.max(CHANGE_MAX_BYTES), Ordering::Relaxed);
    }
}

/// A push, or a return, that is under way. What is dropped before it ended was given up, and counts as not answered: a line
/// that a probe found again while its push was out would otherwise be given as much again, and fail the next probe too.
#[must_use]
pub(super) struct Tried<'a> {
    sizes: &'a PushBytes,
    bytes: usize,
    bytes_max: usize,
    has_ended: bool,
}

impl Tried<'_> {
    /// It was answered, or failed, after so long; after `limit` it would have counted as lost.
    pub(super) fn ended<T>(mut self, took: Duration, limit: Duration, answer: &Result<T, HubError>) {
        self.has_ended = true;
        match answer {
            // What carried far less than it might have says nothing of more.
            Ok(_) if self.bytes > self.bytes_max / 2 && took <= limit / 4 => {
                self.sizes.set(self.bytes_max.saturating_mul(2));
            }
            Ok(_) => {}
            Err(HubError::NotReached) => self.unanswered(),
            Err(error) if error.is_too_large() => self.sizes.set(self.bytes / 2),
            Err(_) => {}
        }
    }

    fn unanswered(&self) {
        if self.bytes > CHANGE_MAX_BYTES {
            self.sizes.set(self.bytes / 2);
        }
    }
}

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.unanswered();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 512 * 1024;
    const LIMIT: Duration = Duration::from_secs(20);
    const ANSWERED: Result<(), HubError> = Ok(());
    const UNANSWERED: Result<(), HubError> = Err(HubError::NotReached);

    /// A push that carries as much as it may.
    fn full(sizes: &PushBytes) -> Tried<'_> {
        let most = sizes.now(MOST);
        sizes.tried_with(most, most)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn what_is_answered_well_in_time_gives_more_and_what_is_not_answered_is_tried_again_with_less() {
        let sizes = PushBytes::default();
        assert_eq!(sizes.now(MOST), MOST / 4);
        for _ in 0..10 {
            full(&sizes).ended(secs(1), LIMIT, &ANSWERED);
        }
        assert_eq!(sizes.now(MOST), MOST);

        for _ in 0..2 {
            full(&sizes).ended(LIMIT, LIMIT, &UNANSWERED);
        }

        assert_eq!(sizes.now(MOST), MOST / 4);
        for _ in 0..10 {
            full(&sizes).ended(LIMIT, LIMIT, &UNANSWERED);
        }
        assert_eq!(sizes.now(MOST), CHANGE_MAX_BYTES);
    }

    /// A line that takes 16 s for the most would otherwise lose every second push.
    #[test]
    fn a_slow_line_goes_on_being_given_what_it_takes_in_within_its_time() {
        let sizes = PushBytes(AtomicUsize::new(MOST));

        full(&sizes).ended(LIMIT, LIMIT, &UNANSWERED);
        for _ in 0..10 {
            full(&sizes).ended(secs(12), LIMIT, &ANSWERED);
        }

        assert_eq!(sizes.now(MOST), MOST / 2);
    }

    /// Else the same would be sent again for ever.
    #[test]
    fn what_fails_is_tried_again_with_less_however_much_more_there_might_have_been() {
        let sizes = PushBytes(AtomicUsize::new(MOST));

        sizes.tried_with(MOST / 4, MOST).ended(LIMIT, LIMIT, &UNANSWERED);

        assert_eq!(sizes.now(MOST), MOST / 8);
    }

    #[test]
    fn a_push_that_is_given_up_before_it_is_answered_is_tried_again_with_less() {
        let sizes = PushBytes(AtomicUsize::new(MOST));

        drop(full(&sizes));

        assert_eq!(sizes.now(MOST), MOST / 2);
    }

    #[test]
    fn a_push_of_one_small_change_says_nothing_of_large_ones() {
        let sizes = PushBytes::default();

        sizes.tried_with(300, FIRST).ended(secs(1), LIMIT, &ANSWERED);
        sizes.tried_with(300, FIRST).ended(LIMIT, LIMIT, &UNANSWERED);
        drop(sizes.tried_with(300, FIRST));

        assert_eq!(sizes.now(MOST), FIRST);
    }

    #[test]
    fn what_was_too_large_is_tried_again_with_less_and_what_was_refused_otherwise_is_not() {
        let refused = |code: &str| -> Result<(), HubError> {
            Err(HubError::Refused {
                code: code.to_owned(),
                message: String::new(),
            })
        };
        let sizes = PushBytes::default();

        full(&sizes).ended(secs(1), LIMIT, &refused("too_large"));
        assert_eq!(sizes.now(MOST), FIRST / 2);
        full(&sizes).ended(secs(1), LIMIT, &refused("HTTP 413"));
        assert_eq!(sizes.now(MOST), FIRST / 4);
        full(&sizes).ended(secs(1), LIMIT, &refused("revoked"));
        assert_eq!(sizes.now(MOST), FIRST / 4);
    }
}
