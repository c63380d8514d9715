//! Who waits for commits: parts that hear of every one, and many that each wait for a few scopes, of which a commit
//! wakes only those that it concerns. A wake-up is a hint to look again, never what there is to see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sync_protocol::ScopeId;
use tokio::sync::{Notify, broadcast};

/// Commits that a listener may be behind before it is told only that it missed some.
const COMMITS_MAX: usize = 256;

/// What a commit touched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Commit {
    Scopes(Arc<BTreeSet<ScopeId>>),
    /// Commits may have been missed: whatever is waited for may have changed.
    Everything,
}

pub(super) struct Wakes {
    commits: broadcast::Sender<Commit>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    by_scope: BTreeMap<ScopeId, BTreeMap<u64, Arc<Notify>>>,
}

impl Wakes {
    pub(super) fn new() -> Wakes {
        Wakes {
            commits: broadcast::channel(COMMITS_MAX).0,
            waiting: Mutex::default(),
        }
    }

    pub(super) fn commits(&self) -> broadcast::Receiver<Commit> {
        self.commits.subscribe()
    }

    pub(super) fn wait_for(self: &Arc<Wakes>, scopes: &[ScopeId]) -> Woken {
        let notify = Arc::new(Notify::new());
        let mut waiting = self.waiting();
        waiting.next += 1;
        let number = waiting.next;
        for scope in scopes {
            let of_scope = waiting.by_scope.entry(*scope).or_default();
            of_scope.insert(number, notify.clone());
        }
        Woken {
            notify,
            number,
            scopes: scopes.to_vec(),
            wakes: self.clone(),
        }
    }

    pub(super) fn wake(&self, commit: Commit) {
        let waiting = self.waiting();
        match &commit {
            Commit::Scopes(scopes) => {
                let concerned = scopes.iter().filter_map(|scope| waiting.by_scope.get(scope));
                concerned
                    .flat_map(BTreeMap::values)
                    .for_each(|notify| notify.notify_one());
            }
            Commit::Everything => {
                let all = waiting.by_scope.values().flat_map(BTreeMap::values);
                all.for_each(|notify| notify.notify_one());
            }
        }
        drop(waiting);
        // Nobody listening is no fault.
        let _ = self.commits.send(commit);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for commits that touch its scopes, from the moment it was made; those of before it was asked count as well.
pub struct Woken {
    notify: Arc<Notify>,
    number: u64,
    scopes: Vec<ScopeId>,
    wakes: Arc<Wakes>,
}

impl Woken {
    /// Returns once there was a commit since this was made, or since it last returned.
    pub async fn again(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        let mut waiting = self.wakes.waiting();
        for scope in &self.scopes {
            if let Some(of_scope) = waiting.by_scope.get_mut(scope) {
                of_scope.remove(&self.number);
                if of_scope.is_empty() {
                    waiting.by_scope.remove(scope);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const ONE: ScopeId = ScopeId([1; 16]);
    const TWO: ScopeId = ScopeId([2; 16]);

    fn touching(scope: ScopeId) -> Commit {
        Commit::Scopes(Arc::new(BTreeSet::from([scope])))
    }

    #[test]
    fn only_those_are_woken_whom_a_commit_concerns() {
        let wakes = Arc::new(Wakes::new());
        let (first, both) = (wakes.wait_for(&[ONE]), wakes.wait_for(&[ONE, TWO]));

        wakes.wake(touching(TWO));

        assert!(first.again().now_or_never().is_none());
        assert!(both.again().now_or_never().is_some());
        assert!(both.again().now_or_never().is_none());
    }

    #[test]
    fn everybody_is_woken_when_commits_may_have_been_missed() {
        let wakes = Arc::new(Wakes::new());
        let waiting = wakes.wait_for(&[ONE]);
        let mut commits = wakes.commits();

        wakes.wake(Commit::Everything);

        assert!(waiting.again().now_or_never().is_some());
        assert_eq!(commits.try_recv().unwrap(), Commit::Everything);
    }

    #[test]
    fn who_no_longer_waits_leaves_nothing_behind() {
        let wakes = Arc::new(Wakes::new());

        drop(wakes.wait_for(&[ONE, TWO]));

        assert!(wakes.waiting().by_scope.is_empty());
    }
}
