//! What can end the program, each with an exit code of its own and a remedy in its text.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::enrol::EnrolError;
use crate::local::LocalError;
use crate::store::{ReadError, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] vault::key_file::KeyFileError),
    #[error("the store's folder: {0}")]
    Folder(#[from] vault::private_file::PrivateFileError),
    #[error("{what} cannot listen on {address}: {reason}; stop what uses the port, or change `{setting}` in {}", .config.display())]
    PortTaken {
        what: &'static str,
        setting: &'static str,
        address: SocketAddr,
        reason: String,
        config: PathBuf,
    },
    #[error("this agent is not enrolled: get a token with `mainstay-hub token --site SITE` and run `mainstay-agent enrol --home {}`", .home.display())]
    NotEnrolled { home: PathBuf },
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("{0}")]
    Other(String),
}

/// Exit codes, as README lists them.
pub mod exit {
    pub const FAILED: u8 = 1;
    pub const CONFIG: u8 = 3;
    pub const ALREADY_RUNNING: u8 = 4;
    pub const PORT_TAKEN: u8 = 5;
    pub const STORE: u8 = 6;
    pub const NO_SPACE: u8 = 7;
    pub const TOKEN: u8 = 8;
    pub const HUB_NOT_REACHED: u8 = 9;
    pub const HUB_NOT_PINNED: u8 = 10;
    pub const NOT_ENROLLED: u8 = 11;
    pub const NOT_RUNNING: u8 = 12;
}

impl Fault {
    pub fn exit_code(&self) -> u8 {
        match self {
            Fault::Config(_) => exit::CONFIG,
            Fault::Store(StoreError::AlreadyRunning { .. }) => exit::ALREADY_RUNNING,
            Fault::Store(StoreError::NoSpace { .. }) => exit::NO_SPACE,
            Fault::Store(
                StoreError::Newer { .. }
                | StoreError::Open(_)
                | StoreError::Migration { .. }
                | StoreError::NoIdentity
                | StoreError::Folder { .. }
                | StoreError::Tx(_),
            )
            | Fault::Key(_)
            | Fault::Folder(_) => exit::STORE,
            Fault::PortTaken { .. } => exit::PORT_TAKEN,
            Fault::NotEnrolled { .. } => exit::NOT_ENROLLED,
            Fault::Enrol(error) => error.exit_code(),
            Fault::Local(LocalError::NotRunning { .. }) => exit::NOT_RUNNING,
            Fault::Local(LocalError::Refused(_)) | Fault::Read(_) | Fault::Other(_) => exit::FAILED,
        }
    }
}
