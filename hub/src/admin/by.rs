//! Who asks for something to be done at the hub, and what they may.

use clinic::Channel;
use serde::{Deserialize, Serialize};
use sync_protocol::RecordId;
use sync_protocol::change::Actor;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// Somebody who may use this machine as the hub's own user.
    CommandLine,
    /// Somebody who is signed in at the console.
    Console { admin: RecordId, role: AdminRole },
}

/// What an administrator may do at the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminRole {
    /// May change everything.
    Admin,
    /// Looks only.
    Viewer,
}

impl AdminRole {
    pub const ALL: &'static [AdminRole] = &[AdminRole::Admin, AdminRole::Viewer];

    pub fn word(self) -> &'static str {
        match self {
            AdminRole::Admin => "admin",
            AdminRole::Viewer => "viewer",
        }
    }

    pub fn parse(word: &str) -> Option<AdminRole> {
        AdminRole::ALL.iter().copied().find(|role| role.word() == word)
    }
}

/// For the log: who, by id, nothing more.
impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            By::CommandLine => f.write_str("command line"),
            By::Console { admin, .. } => write!(f, "{admin}"),
        }
    }
}

impl By {
    /// The author of what is written.
    pub fn actor(self) -> Actor {
        match self {
            By::CommandLine => Channel::Cli.program(),
            By::Console { admin, .. } => Channel::Console.by(admin),
        }
    }

    pub fn may_change(self) -> bool {
        match self {
            By::CommandLine => true,
            By::Console { role, .. } => role == AdminRole::Admin,
        }
    }
}
