//! Whose push or return is taken in next. So many at a time, and of each agent one: an agent that gave up and pushes again
//! waits here, not in the store, where the push it gave up on is still being written. Refuses whoever would wait for longer than
//! the set time, before anything of what was sent is decoded or written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::refusal::Refusal;

pub(super) struct Turns {
    at_once: Arc<Semaphore>,
    patience: Duration,
    agents: Mutex<BTreeMap<Uuid, Arc<tokio::sync::Mutex<()>>>>,
}

/// Held until what the push began has ended, whether its agent still listens or not.
pub(super) struct Turn {
    _of_agent: OwnedMutexGuard<()>,
    _of_hub: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) fn new(at_once: usize, patience: Duration) -> Turns {
        Turns {
            at_once: Arc::new(Semaphore::new(at_once)),
            patience,
            agents: Mutex::default(),
        }
    }

    pub(super) async fn take(&self, agent: Uuid) -> Result<Turn, Refusal> {
        let of_agent = self.of_agent(agent);
        let turn = async {
            let of_agent = of_agent.lock_owned().await;
            let of_hub = self
                .at_once
                .clone()
                .acquire_owned()
                .await
                .map_err(|_| Refusal::Stopping)?;
            Ok(Turn {
                _of_agent: of_agent,
                _of_hub: of_hub,
            })
        };
        let turn = tokio::time::timeout(self.patience, turn).await;
        turn.unwrap_or(Err(Refusal::Crowded))
    }

    fn of_agent(&self, agent: Uuid) -> Arc<tokio::sync::Mutex<()>> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents.entry(agent).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);
    const PATIENCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn an_agent_that_pushes_again_while_its_push_is_written_takes_no_place_from_others() {
        let turns = Turns::new(2, PATIENCE);
        let first = turns.take(AGENT).await.unwrap();

        let again = turns.take(AGENT).await;
        let other = turns.take(OTHER).await;

        assert_eq!(again.err(), Some(Refusal::Crowded));
        assert!(other.is_ok());
        drop(first);
        assert!(turns.take(AGENT).await.is_ok());
    }

    #[tokio::test]
    async fn whoever_would_wait_for_too_long_is_told_and_the_next_in_line_goes_on() {
        let turns = Turns::new(1, PATIENCE);
        let first = turns.take(AGENT).await.unwrap();

        let late = turns.take(OTHER).await;
        let (next, ()) = tokio::join!(turns.take(OTHER), async {
            tokio::task::yield_now().await;
            drop(first);
        });

        assert_eq!(late.err(), Some(Refusal::Crowded));
        assert!(next.is_ok());
    }
}
