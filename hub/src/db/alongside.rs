//! Work that needs no store, done on other cores while the thread that has the store is at it.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Items that a thread takes at once. For fewer no other thread is begun.
const PART: usize = 16;
/// More threads than these would wait for the one that has the store.
const HELPERS_MAX: usize = 3;

/// Does `work` for each item, on other cores while this thread does `meanwhile`, and on this one too after that.
pub(super) fn alongside<I: Sync, T: Send, M>(
    items: &[I],
    work: impl Fn(&I) -> T + Sync,
    meanwhile: impl FnOnce() -> M,
) -> (Vec<T>, M) {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let first = next.fetch_add(PART, Ordering::Relaxed);
            let Some(rest) = items.get(first..).filter(|rest| !rest.is_empty()) else {
                return done;
            };
            let part: Vec<T> = rest.iter().take(PART).map(&work).collect();
            done.push((first, part));
        }
    };
    let helpers = (items.len() / PART).min(cores() - 1).min(HELPERS_MAX);
    thread::scope(|scope| {
        // One that cannot be begun is done without.
        let helpers: Vec<_> = (0..helpers)
            .filter_map(|_| {
                thread::Builder::new()
                    .name("store helper".to_owned())
                    .spawn_scoped(scope, take)
                    .ok()
            })
            .collect();
        let meanwhile = meanwhile();
        let mut done = take();
        for helper in helpers {
            done.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done.sort_by_key(|(first, _)| *first);
        (done.into_iter().flat_map(|(_, part)| part).collect(), meanwhile)
    })
}

fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Waits until a helper has come to an item, where there is one.
    fn until_helped(helped: &mpsc::Receiver<()>) {
        if cores() > 1 {
            helped.recv_timeout(Duration::from_secs(60)).unwrap();
        }
    }

    #[test]
    fn every_item_is_done_once_and_the_answers_are_in_the_order_of_the_items() {
        for count in [0, 1, PART, 10 * PART + 1] {
            let items: Vec<usize> = (0..count).collect();
            let calls = AtomicUsize::new(0);
            let (tell, helped) = mpsc::channel();

            let (doubled, meanwhile) = alongside(
                &items,
                |item| {
                    calls.fetch_add(1, Ordering::Relaxed);
                    let _ = tell.send(());
                    item * 2
                },
                || {
                    if count >= PART {
                        until_helped(&helped);
                    }
                    "done"
                },
            );

            assert_eq!(doubled, (0..count).map(|item| item * 2).collect::<Vec<_>>());
            assert_eq!((calls.into_inner(), meanwhile), (count, "done"));
        }
    }

    #[test]
    #[should_panic(expected = "the seventieth")]
    fn a_panic_on_another_thread_is_this_ones_too() {
        let items: Vec<usize> = (0..100).collect();
        let (tell, helped) = mpsc::channel();

        alongside(
            &items,
            |item| {
                if *item == 70 {
                    let _ = tell.send(());
                    panic!("the seventieth");
                }
            },
            || until_helped(&helped),
        );
    }
}
