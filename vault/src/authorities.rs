//! The authority of today and the one that follows it. While they overlap both are trusted: clients are certified by the new
//! one, servers go on showing certificates of the old one, so that whoever was away learns the new one before it is
//! needed. After the overlap the old one is nobody's any more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustls_pki_types::CertificateDer;

use crate::authority::{Authority, AuthorityError, BACKDATED_DAYS};
use crate::identity;

const DAY_SECS: i64 = 24 * 60 * 60;

/// How long the authority that goes and the one that comes are trusted side by side. Longer than a certificate lives.
pub const OVERLAP_DAYS: i64 = 120;

/// The authorities of a hub. They may change while it runs; whoever made something of them asks whether they have.
pub struct Authorities {
    pair: RwLock<Pair>,
    version: AtomicU64,
}

#[derive(Clone)]
struct Pair {
    first: Arc<Authority>,
    next: Option<Next>,
}

#[derive(Clone)]
struct Next {
    authority: Arc<Authority>,
    made_secs: i64,
}

impl Next {
    fn of(authority: Authority) -> Result<Next, AuthorityError> {
        let dates = identity::validity(authority.certificate()).ok_or(AuthorityError::CertificateUnreadable)?;
        Ok(Next {
            authority: Arc::new(authority),
            made_secs: dates.not_before + BACKDATED_DAYS * DAY_SECS,
        })
    }

    fn alone_from(&self) -> i64 {
        self.made_secs + OVERLAP_DAYS * DAY_SECS
    }
}

impl Authorities {
    pub fn new(first: Authority, next: Option<Authority>) -> Result<Authorities, AuthorityError> {
        Ok(Authorities {
            pair: RwLock::new(Pair {
                first: Arc::new(first),
                next: next.map(Next::of).transpose()?,
            }),
            version: AtomicU64::new(0),
        })
    }

    /// An authority that nothing follows yet.
    pub fn alone(first: Authority) -> Authorities {
        Authorities {
            pair: RwLock::new(Pair {
                first: Arc::new(first),
                next: None,
            }),
            version: AtomicU64::new(0),
        }
    }

    fn pair(&self) -> Pair {
        self.pair.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whose certificates servers show, whom tokens name, and who signs for the hub.
    pub fn serving(&self, now_secs: i64) -> Arc<Authority> {
        let pair = self.pair();
        match pair.next {
            Some(next) if now_secs >= next.alone_from() => next.authority,
            Some(_) | None => pair.first,
        }
    }

    /// Who certifies agents: the one that will be trusted longest.
    pub fn certifying(&self) -> Arc<Authority> {
        let pair = self.pair();
        pair.next.map_or(pair.first, |next| next.authority)
    }

    /// The certificates of those that are trusted.
    pub fn trusted(&self, now_secs: i64) -> Vec<CertificateDer<'static>> {
        let pair = self.pair();
        let mut trusted = Vec::new();
        if pair.next.as_ref().is_none_or(|next| now_secs < next.alone_from()) {
            trusted.push(pair.first.certificate().clone());
        }
        trusted.extend(pair.next.map(|next| next.authority.certificate().clone()));
        trusted
    }

    /// Until when the old authority is trusted beside the new one; `None` when nothing overlaps.
    pub fn overlap_ends(&self, now_secs: i64) -> Option<i64> {
        self.pair()
            .next
            .map(|next| next.alone_from())
            .filter(|end| now_secs < *end)
    }

    /// The authority that would go if another followed now.
    pub fn first(&self) -> Arc<Authority> {
        self.pair().first
    }

    /// Puts others in their place.
    pub fn replace(&self, first: Authority, next: Option<Authority>) -> Result<(), AuthorityError> {
        let pair = Pair {
            first: Arc::new(first),
            next: next.map(Next::of).transpose()?,
        };
        *self.pair.write().unwrap_or_else(PoisonError::into_inner) = pair;
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Differs once they were replaced, and once an overlap has ended.
    pub fn version(&self, now_secs: i64) -> u64 {
        let ended = self.pair().next.is_some_and(|next| now_secs >= next.alone_from());
        self.version.load(Ordering::Acquire) * 2 + u64::from(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    #[test]
    fn both_are_trusted_for_a_hundred_and_twenty_days_and_then_the_new_one_alone() {
        let (old, new) = (
            Authority::create("Northside", NOW - 1000 * DAY_SECS).unwrap(),
            Authority::create("Northside", NOW).unwrap(),
        );
        let (of_old, of_new) = (old.certificate().clone(), new.certificate().clone());

        let authorities = Authorities::new(old, Some(new)).unwrap();

        let last = NOW + 120 * DAY_SECS - 1;
        for moment in [NOW, last] {
            assert_eq!(authorities.trusted(moment), [of_old.clone(), of_new.clone()]);
            assert_eq!(*authorities.serving(moment).certificate(), of_old);
            assert_eq!(authorities.overlap_ends(moment), Some(last + 1));
        }
        assert_eq!(*authorities.certifying().certificate(), of_new);
        assert_eq!(authorities.trusted(last + 1), std::slice::from_ref(&of_new));
        assert_eq!(*authorities.serving(last + 1).certificate(), of_new);
        assert_eq!(authorities.overlap_ends(last + 1), None);
        assert_ne!(authorities.version(last), authorities.version(last + 1));
    }

    #[test]
    fn whoever_made_something_of_them_sees_that_they_were_replaced() {
        let authorities = Authorities::alone(Authority::create("Northside", NOW).unwrap());
        let before = authorities.version(NOW);

        let (first, next) = (
            Authority::create("Northside", NOW).unwrap(),
            Authority::create("Northside", NOW).unwrap(),
        );
        authorities.replace(first, Some(next)).unwrap();

        assert_ne!(authorities.version(NOW), before);
        assert_eq!(authorities.trusted(NOW).len(), 2);
    }
}
