//! Whose push or return is taken in next. So many bytes at a time, and of each agent one: an agent that gave up and pushes again
//! waits here, not in the store, where the push it gave up on is still being written. Many small pushes share one commit; few
//! large ones are written before their agents give up. Refuses whoever would wait for longer than the set time, before anything
//! of what was sent is decoded or written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::refusal::Refusal;

pub(super) struct Turns {
    bytes: Arc<Semaphore>,
    bytes_at_once: u32,
    patience: Duration,
    agents: Mutex<BTreeMap<Uuid, Arc<tokio::sync::Mutex<()>>>>,
}

/// Held until what the push began has ended, whether its agent still listens or not.
pub(super) struct Turn {
    _of_agent: OwnedMutexGuard<()>,
    _of_hub: OwnedSemaphorePermit,
}

impl Turns {
    pub(super) fn new(bytes_at_once: u32, patience: Duration) -> Turns {
        Turns {
            bytes: Arc::new(Semaphore::new(bytes_at_once as usize)),
            bytes_at_once,
            patience,
            agents: Mutex::default(),
        }
    }

    /// The turn of a body of so many bytes. One that is larger than all that is taken in at a time is taken in alone.
    pub(super) async fn take(&self, agent: Uuid, body_bytes: usize) -> Result<Turn, Refusal> {
        let bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX).min(self.bytes_at_once);
        let of_agent = self.of_agent(agent);
        let turn = async {
            let of_agent = of_agent.lock_owned().await;
            let waiting = self.bytes.clone().acquire_many_owned(bytes);
            let of_hub = waiting.await.map_err(|_| Refusal::Stopping)?;
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
        let first = turns.take(AGENT, 1).await.unwrap();

        let again = turns.take(AGENT, 1).await;
        let other = turns.take(OTHER, 1).await;

        assert_eq!(again.err(), Some(Refusal::Crowded));
        assert!(other.is_ok());
        drop(first);
        assert!(turns.take(AGENT, 1).await.is_ok());
    }

    #[tokio::test]
    async fn whoever_would_wait_for_too_long_is_told_and_the_next_in_line_goes_on() {
        let turns = Turns::new(1, PATIENCE);
        let first = turns.take(AGENT, 1).await.unwrap();

        let late = turns.take(OTHER, 1).await;
        let (next, ()) = tokio::join!(turns.take(OTHER, 1), async {
            tokio::task::yield_now().await;
            drop(first);
        });

        assert_eq!(late.err(), Some(Refusal::Crowded));
        assert!(next.is_ok());
    }
    #[tokio::test]
    async fn small_pushes_are_taken_in_together_and_one_above_the_limit_alone() {
        let turns = Turns::new(10, PATIENCE);

        let small = (turns.take(AGENT, 4).await, turns.take(OTHER, 6).await);
        let large = turns.take(Uuid::from_u128(3), 11).await;

        assert!(small.0.is_ok() && small.1.is_ok());
        assert_eq!(large.err(), Some(Refusal::Crowded));
        drop(small);
        let large = turns.take(AGENT, 11).await;
        assert!(large.is_ok());
        assert_eq!(turns.take(OTHER, 1).await.err(), Some(Refusal::Crowded));
    }
}
