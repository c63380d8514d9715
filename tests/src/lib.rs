//! What drives Mainstay from outside: the real programs, the peers nobody here wrote, and the lines between them.

pub mod cache;
pub mod ehr;
pub mod hl7_peer;
pub mod line;
pub mod process;

use anyhow::{Context as _, Result};

/// An HTTP client for plain pages on this machine: no proxy, redirects shown rather than followed.
pub fn plain_http() -> Result<reqwest::Client> {
    // Another test of this process may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.build().context("no HTTP client")
}
