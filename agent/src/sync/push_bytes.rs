//! How much goes up in one request. It knows nothing of what goes up.

use std::sync::atomic::{AtomicUsize, Ordering};

use sync_protocol::CHANGE_MAX_BYTES;

use crate::hub_client::HubError;

/// How much one push, or one return, carries: what was not answered in time, or was too large for the hub or for what stands
/// before it, is tried again with half as much, so that a slow hub or line gets pushes that it can take in before they run out of
/// time; every answer doubles it again, up to the setting.
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
        let next = match answer {
            Ok(_) => carried.saturating_mul(2),
            Err(HubError::NotReached) => carried / 2,
            Err(error) if error.is_too_large() => carried / 2,
            Err(_) => return,
        };
        self.0.store(next.max(CHANGE_MAX_BYTES), Ordering::Relaxed);
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
            bytes.learn(bytes.now(most), &Ok::<(), HubError>(()));
        }
        assert_eq!(bytes.now(most), most);
    }

    #[test]
    fn what_was_too_large_is_tried_again_with_less_and_what_was_refused_otherwise_is_not() {
        let refused = |code: &str| -> Result<(), HubError> {
            Err(HubError::Refused {
                code: code.to_owned(),
                message: String::new(),
            })
        };
        let (bytes, most) = (PushBytes::default(), 128 * 1024);

        bytes.learn(most, &refused("too_large"));
        assert_eq!(bytes.now(most), most / 2);
        bytes.learn(most / 2, &refused("HTTP 413"));
        assert_eq!(bytes.now(most), most / 4);
        bytes.learn(most / 4, &refused("revoked"));
        assert_eq!(bytes.now(most), most / 4);
    }
}
