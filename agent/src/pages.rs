//! How many pages are open: the line is probed more often while somebody looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

#[derive(Clone, Default)]
pub struct PagesOpen(Arc<Open>);

#[derive(Default)]
struct Open {
    count: AtomicUsize,
    opened: Notify,
}

/// One open page; it counts until it is dropped.
pub struct PageOpen(Arc<Open>);

impl PagesOpen {
    pub fn open(&self) -> PageOpen {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.0.opened.notify_waiters();
        PageOpen(self.0.clone())
    }

    pub fn any(&self) -> bool {
        self.count() > 0
    }

    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Waits until the next page is opened.
    pub async fn opened(&self) {
        self.0.opened.notified().await;
    }
}

impl Drop for PageOpen {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}
