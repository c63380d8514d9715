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

    pub(super) fn learn<T>(&self, tried: &Tried, answer: &Result<T, HubError>) {
        let bytes = tried.bytes.min(tried.bytes_max);
        let next = match answer {
            // What carried far less than it might have says nothing of more.
            Ok(_) if bytes > tried.bytes_max / 2 && tried.took <= tried.limit / 4 => tried.bytes_max.saturating_mul(2),
            Ok(_) => return,
            Err(HubError::NotReached) if bytes > CHANGE_MAX_BYTES => bytes / 2,
            Err(error) if error.is_too_large() => bytes / 2,
            Err(_) => return,
        };
        self.0.store(next.max(CHANGE_MAX_BYTES), Ordering::Relaxed);
    }
}

/// How a push, or a return, went.
pub(super) struct Tried {
    pub(super) bytes: usize,
    /// What it was cut to.
    pub(super) bytes_max: usize,
    pub(super) took: Duration,
    /// When it would have counted as lost.
    pub(super) limit: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 512 * 1024;
    const LIMIT: Duration = Duration::from_secs(20);
    const UNANSWERED: Result<(), HubError> = Err(HubError::NotReached);

    /// A push that carried as much as it might.
    fn full(bytes: &PushBytes, took_secs: u64) -> Tried {
        Tried {
            bytes: bytes.now(MOST),
            bytes_max: bytes.now(MOST),
            took: Duration::from_secs(took_secs),
            limit: LIMIT,
        }
    }

    #[test]
    fn what_is_answered_well_in_time_gives_more_and_what_is_not_answered_is_tried_again_with_less() {
        let bytes = PushBytes::default();
        assert_eq!(bytes.now(MOST), MOST / 4);
        for _ in 0..10 {
            bytes.learn(&full(&bytes, 1), &Ok::<(), HubError>(()));
        }
        assert_eq!(bytes.now(MOST), MOST);

        for _ in 0..2 {
            bytes.learn(&full(&bytes, 20), &UNANSWERED);
        }

        assert_eq!(bytes.now(MOST), MOST / 4);
        for _ in 0..10 {
            bytes.learn(&full(&bytes, 20), &UNANSWERED);
        }
        assert_eq!(bytes.now(MOST), CHANGE_MAX_BYTES);
    }

    /// A line that takes 16 s for the most would otherwise lose every second push.
    #[test]
    fn a_slow_line_goes_on_being_given_what_it_takes_in_within_its_time() {
        let bytes = PushBytes(AtomicUsize::new(MOST));

        bytes.learn(&full(&bytes, 20), &UNANSWERED);
        for _ in 0..10 {
            bytes.learn(&full(&bytes, 12), &Ok::<(), HubError>(()));
        }

        assert_eq!(bytes.now(MOST), MOST / 2);
    }

    /// Else the same would be sent again for ever.
    #[test]
    fn what_fails_is_tried_again_with_less_however_much_more_there_might_have_been() {
        let bytes = PushBytes(AtomicUsize::new(MOST));
        let waiting = Tried {
            bytes: MOST / 4,
            ..full(&bytes, 20)
        };

        bytes.learn(&waiting, &UNANSWERED);

        assert_eq!(bytes.now(MOST), MOST / 8);
    }

    #[test]
    fn a_push_of_one_small_change_says_nothing_of_large_ones() {
        let bytes = PushBytes::default();
        let small = |bytes: &PushBytes| Tried {
            bytes: 300,
            ..full(bytes, 1)
        };

        bytes.learn(&small(&bytes), &Ok::<(), HubError>(()));
        bytes.learn(&small(&bytes), &UNANSWERED);

        assert_eq!(bytes.now(MOST), FIRST);
    }

    #[test]
    fn what_was_too_large_is_tried_again_with_less_and_what_was_refused_otherwise_is_not() {
        let refused = |code: &str| -> Result<(), HubError> {
            Err(HubError::Refused {
                code: code.to_owned(),
                message: String::new(),
            })
        };
        let bytes = PushBytes::default();

        bytes.learn(&full(&bytes, 1), &refused("too_large"));
        assert_eq!(bytes.now(MOST), FIRST / 2);
        bytes.learn(&full(&bytes, 1), &refused("HTTP 413"));
        assert_eq!(bytes.now(MOST), FIRST / 4);
        bytes.learn(&full(&bytes, 1), &refused("revoked"));
        assert_eq!(bytes.now(MOST), FIRST / 4);
    }
}
