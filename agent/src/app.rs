//! What page and command line look at: the open store and what is known beside it.

use std::sync::Arc;

use tokio::sync::watch;
use vault::Custody;

use crate::config::Config;
use crate::enrolment::Enrolment;
use crate::line::LineWatch;
use crate::pages::PagesOpen;
use crate::store::Store;

#[derive(Clone)]
pub struct App {
    pub store: Store,
    pub enrolment: Arc<Enrolment>,
    pub custody: Arc<Custody>,
    pub line: LineWatch,
    pub pages: PagesOpen,
    pub config: watch::Receiver<Arc<Config>>,
}
