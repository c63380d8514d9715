//! A region of several sites and hub processes in a temporary folder, for tests that run on either store.

use std::ops::{Deref, DerefMut};

use anyhow::Result;
use tests::process::Binaries;
use tests::region::{Region, Store};

pub(crate) struct Several {
    // Ended before its folder goes.
    region: Region,
    folder: Option<tempfile::TempDir>,
}

impl Several {
    pub(crate) async fn open(store: &Store, hubs: usize, sites: &[(&str, usize)]) -> Result<Several> {
        Several::open_with(&store.table(), hubs, sites).await
    }

    /// With tables of hub.toml of the test's own.
    pub(crate) async fn open_with(tables: &str, hubs: usize, sites: &[(&str, usize)]) -> Result<Several> {
        let folder = tempfile::Builder::new().prefix("mainstay-test-").tempdir()?;
        let region = Region::open_with(folder.path(), Binaries::find()?, tables, hubs, sites).await?;
        Ok(Several {
            region,
            folder: Some(folder),
        })
    }
}

impl Deref for Several {
    type Target = Region;

    fn deref(&self) -> &Region {
        &self.region
    }
}

impl DerefMut for Several {
    fn deref_mut(&mut self) -> &mut Region {
        &mut self.region
    }
}

impl Drop for Several {
    /// Says what the programs said, which a runner shows when the test failed. `MAINSTAY_KEEP=1` keeps the folder.
    #[expect(clippy::print_stdout, reason = "a test's output is shown only when it fails")]
    fn drop(&mut self) {
        let agents = self.region.clinics.iter().map(|clinic| &clinic.agent);
        let hubs = self.region.hubs.iter().map(|hub| &hub.service);
        for service in agents.chain(hubs) {
            let said = service.running().map(|running| running.said()).unwrap_or_default();
            println!("{} said: {said}", service.program.home().display());
        }
        if std::env::var_os("MAINSTAY_KEEP").is_some()
            && let Some(folder) = self.folder.take()
        {
            println!("kept: {}", folder.keep().display());
        }
    }
}
