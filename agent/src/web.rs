//! The site's local page: server-rendered, live by one stream of events per browser, whole without a script.
//!
//! It reads the store and hands acts to `access`, which decides and writes. It refuses: a name of this machine other than
//! a loopback one, a form whose token is not the sign-in's, and to put anything about a person into an address.

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::App;

pub mod views;

/// Serves the page until told to stop.
pub async fn serve(listener: TcpListener, app: App, stop: CancellationToken) -> std::io::Result<()> {
    axum::serve(listener, router(app))
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}

pub fn router(app: App) -> Router {
    Router::new().with_state(app)
}
