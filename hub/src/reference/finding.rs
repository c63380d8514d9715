//! What is wrong with a file: line, column, reason. All broken rows are looked for, so that a list is corrected in one go.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::BROKEN_TOLD_MAX;

/// One broken row. It quotes nothing of the row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Broken {
    /// Counted from 1, as an editor does.
    pub line: u64,
    /// The column's name; empty where the row as a whole is broken.
    pub column: String,
    pub reason: String,
}

/// Why a file was not taken; nothing of it was.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Refused {
    /// The first [`BROKEN_TOLD_MAX`], by line.
    pub broken: Vec<Broken>,
    /// Further ones.
    pub more: usize,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if !self.column.is_empty() {
            write!(f, ", column {}", self.column)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.broken.iter().map(Broken::to_string).collect();
        f.write_str(&lines.join("; "))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// The broken rows of a file, as they are found.
#[derive(Clone, Default)]
pub(super) struct Findings(Refused);

impl Findings {
    pub(super) fn add(&mut self, line: u64, column: &str, reason: impl Into<String>) {
        if self.0.broken.len() >= BROKEN_TOLD_MAX {
            self.0.more += 1;
            return;
        }
        self.0.broken.push(Broken {
            line,
            column: column.to_owned(),
            reason: reason.into(),
        });
    }

    /// Holds a key against those of the rows before; the same one twice is an error that names both lines.
    pub(super) fn unique(&mut self, seen: &mut BTreeMap<String, u64>, key: String, line: u64, column: &str) {
        if key.is_empty() {
            return;
        }
        if let Some(first) = seen.insert(key, line) {
            self.add(
                line,
                column,
                format!("is the same as on line {first}: keep one of them"),
            );
        }
    }

    pub(super) fn none(self) -> Result<(), Refused> {
        if self.0.broken.is_empty() {
            Ok(())
        } else {
            Err(self.refused())
        }
    }

    pub(super) fn refused(mut self) -> Refused {
        self.0.broken.sort_by_key(|broken| broken.line);
        self.0
    }
}
