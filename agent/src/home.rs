//! The folder that everything of one installation is in. The key is never inside the folder of the data it opens.

use std::path::{Path, PathBuf};

pub const DEFAULT_HOME: &str = "/var/lib/mainstay-agent";

#[derive(Clone, Debug)]
pub struct Home(PathBuf);

impl Home {
    pub fn new(path: PathBuf) -> Home {
        Home(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn config(&self) -> PathBuf {
        self.0.join("agent.toml")
    }

    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    pub fn key(&self) -> PathBuf {
        self.0.join("keys").join("store.key")
    }

    /// What is known of the store outside of it.
    pub fn mark(&self) -> PathBuf {
        self.0.join("mark").join("store")
    }

    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub fn socket(&self) -> PathBuf {
        self.data().join("agent.sock")
    }
}
