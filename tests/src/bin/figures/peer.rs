//! The peer in the same run: PouchDB and express-pouchdb, by `tests/comparisons/pouch.mjs`.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::process::workspace_root;
use tokio::process::Command;

/// Records a second in one of the script's races, or nothing when the run goes without.
pub(crate) async fn pouchdb(race: &str, records: usize) -> Result<f64> {
    let folder = workspace_root()?.join("tests/comparisons");
    let installed = Command::new(folder.join("install")).output().await;
    let installed = installed.context("tests/comparisons/install")?;
    ensure!(
        installed.status.success(),
        "tests/comparisons/install: {}",
        String::from_utf8_lossy(&installed.stderr)
    );
    let libraries = String::from_utf8(installed.stdout)?;
    let mut node = Command::new("node");
    node.arg(folder.join("pouch.mjs")).arg(race);
    node.args(["--libraries", libraries.trim(), "--records", &records.to_string()]);
    let raced = node.kill_on_drop(true).output().await.context("node did not start")?;
    ensure!(
        raced.status.success(),
        "PouchDB's part failed: {}",
        String::from_utf8_lossy(&raced.stderr)
    );
    let told: Value = serde_json::from_slice(&raced.stdout)?;
    told["per_second"].as_f64().context("PouchDB's part told no rate")
}
