//! What the banner needs to know of the line beyond its present state: since when it is back, how much waited then, since
//! when the EHR is as it is.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use super::{Web, locked};
use crate::clock;
use crate::line::{Line, LineState};

pub(super) struct LineStory {
    away: bool,
    /// Since when the line is back, until everything that waited then has left.
    back_ms: Option<i64>,
    /// How much waited when it was first looked at after the line came back.
    waited: u64,
    /// Whether the EHR is reached, and since when that is so.
    ehr: Option<(bool, i64)>,
}

impl Default for LineStory {
    fn default() -> LineStory {
        LineStory {
            away: true,
            back_ms: None,
            waited: 0,
            ehr: None,
        }
    }
}

/// Of the tasks that were captured while the line was away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CatchingUp {
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) back_ms: i64,
}

impl LineStory {
    pub(super) fn see(&mut self, line: &Line, now_ms: i64) {
        match line.state {
            LineState::Starting | LineState::CutOff | LineState::Held => {
                *self = LineStory {
                    ehr: self.ehr,
                    ..LineStory::default()
                };
            }
            LineState::Connected | LineState::Slow if self.away => {
                self.away = false;
                self.back_ms = Some(line.since_ms);
            }
            LineState::Connected | LineState::Slow => {}
        }
        self.ehr = match (line.ehr_reached, self.ehr) {
            (None, _) => None,
            (Some(reached), Some((before, since_ms))) if reached == before => Some((reached, since_ms)),
            (Some(reached), _) => Some((reached, now_ms)),
        };
    }

    /// Since when the line is back, while what waited then is still leaving.
    pub(super) fn back_ms(&self) -> Option<i64> {
        self.back_ms
    }

    /// `left` of the tasks that were there when the line came back still wait.
    pub(super) fn catching_up(&mut self, left: u64) -> Option<CatchingUp> {
        let back_ms = self.back_ms?;
        if left == 0 {
            self.back_ms = None;
            return None;
        }
        self.waited = self.waited.max(left);
        Some(CatchingUp {
            done: self.waited - left,
            total: self.waited,
            back_ms,
        })
    }

    /// Since when the EHR is not reached, as the hub sees it.
    pub(super) fn ehr_away_since(&self) -> Option<i64> {
        self.ehr.filter(|(reached, _)| !reached).map(|(_, since_ms)| since_ms)
    }
}

/// Sees every change of the line, whether or not anybody looks at a page.
pub(super) async fn follow(web: Arc<Web>) {
    let mut line = web.app.line.subscribe();
    loop {
        let now = line.borrow_and_update().clone();
        locked(&web.line_story).see(&now, clock::now_ms());
        tokio::select! {
            () = web.stop.cancelled() => return,
            changed = line.changed() => if changed.is_err() { return },
        }
    }
}

/// Whatever is committed, by whomever, shows that the store takes writes again.
pub(super) async fn follow_commits(web: Arc<Web>) {
    let mut committed = web.app.store.committed();
    loop {
        tokio::select! {
            () = web.stop.cancelled() => return,
            heard = committed.recv() => match heard {
                Ok(_) | Err(RecvError::Lagged(_)) => *locked(&web.store_trouble) = None,
                Err(RecvError::Closed) => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(state: LineState, since_ms: i64) -> Line {
        Line {
            state,
            ..Line::starting(since_ms)
        }
    }

    #[test]
    fn only_what_waited_when_the_line_came_back_is_caught_up_with() {
        let mut story = LineStory::default();
        story.see(&line(LineState::CutOff, 1_000), 1_000);
        story.see(&line(LineState::Connected, 5_000), 5_000);

        assert_eq!(
            story.catching_up(10),
            Some(CatchingUp {
                done: 0,
                total: 10,
                back_ms: 5_000
            })
        );
        assert_eq!(story.catching_up(4).map(|all| (all.done, all.total)), Some((6, 10)));
        assert_eq!(story.catching_up(0), None);

        story.see(&line(LineState::Slow, 9_000), 9_000);
        assert_eq!(story.catching_up(3), None, "a slow line was never away");
    }

    #[test]
    fn the_ehr_is_away_since_it_was_first_missed() {
        let mut story = LineStory::default();
        let mut seen = line(LineState::Connected, 1_000);
        for (at_ms, reached, since) in [
            (1_000, true, None),
            (2_000, false, Some(2_000)),
            (3_000, false, Some(2_000)),
        ] {
            seen.ehr_reached = Some(reached);
            story.see(&seen, at_ms);
            assert_eq!(story.ehr_away_since(), since);
        }
    }
}
