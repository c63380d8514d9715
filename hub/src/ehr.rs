//! Whether the EHR is reached, for the parts of the hub that tell others. Finding it out is the connectors'.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the EHR is reached, as the connector last found: `None` while there is no machine to reach, or none was
/// tried yet. Clones share it.
#[derive(Clone)]
pub struct Reach(Arc<watch::Sender<Option<bool>>>);

impl Default for Reach {
    fn default() -> Reach {
        Reach(Arc::new(watch::Sender::new(None)))
    }
}

impl Reach {
    pub fn now(&self) -> Option<bool> {
        *self.0.borrow()
    }

    pub fn found(&self, reached: bool) {
        self.0.send_if_modified(|known| {
            let news = *known != Some(reached);
            *known = Some(reached);
            news
        });
    }
}
