//! How much goes up in one request. It knows nothing of what goes up.

use std::sync::atomic::{AtomicUsize, Ordering};

use sync_protocol::CHANGE_MAX_BYTES;

use crate::hub_client::HubError;

/// How much one push, or one return, carries: what was not answered in time is tried again with half as much, so that a hub or a line that is
/// slow gets pushes that it can take in before they run out of time; every answer doubles it again, up to the setting.
#[derive(Debug)]
pub struct PushBytes(AtomicUsize);

impl Default for PushBytes {
    fn default() -> PushBytes {
        PushBytes(AtomicUsize::new(usize::MAX))
    }
}

impl PushBytes {
    pub(super) fn now(&self, most: usize) -> usize {
        self.0.load(Ordering::Relaxed).min(most)
    }

    pub(super) fn learn<T>(&self, carried: usize, answer: &Result<T, HubError>) {
        if answer.is_ok() {
            self.0.store(carried.saturating_mul(2), Ordering::Relaxed);
        } else if let Err(HubError::NotReached) = answer {
            self.0.store((carried / 2).max(CHANGE_MAX_BYTES), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_answered_in_time_is_tried_again_with_less_and_every_answer_gives_more() {
        let bytes = PushBytes::default();
        let most = 128 * 1024;
        let unanswered: Result<(), HubError> = Err(HubError::NotReached);
        assert_eq!(bytes.now(most), most);

        for _ in 0..2 {
            bytes.learn(bytes.now(most), &unanswered);
        }
        assert_eq!(bytes.now(most), most / 4);
        for _ in 0..10 {
            bytes.learn(bytes.now(most), &unanswered);
        }
        assert_eq!(bytes.now(most), CHANGE_MAX_BYTES);
        for _ in 0..10 {
            bytes.learn(bytes.now(most), &Ok(()));
        }
        assert_eq!(bytes.now(most), most);
    }
}
