//! Reference data: who treats, who pays, which rooms, which bookings, which forms, which codes. It comes from files, on
//! command or from a watched folder, and becomes records that every site has; a code set becomes one file, named by its
//! digest, that sites fetch.
//!
//! It refuses a file with any broken row whole, with line, column and reason: what stood before goes on standing. A cell
//! is never quoted. The same content twice writes nothing. What a new list no longer names is ended, never deleted.

mod booked;
mod code_list;
mod code_system;
mod config;
mod finding;
mod icd_ten;
mod publish;
mod refresh;
mod rows;
mod set;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

pub use config::Config;
pub use finding::{Broken, Refused};
pub(crate) use publish::is_named;
pub use publish::{LoadError, Outcome, load, note_refused};
pub use refresh::Refresh;
pub use set::Set;

use code_list::CodeList;
use finding::Findings;

/// Largest file, and largest that a packed one may unfold to.
pub const FILE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Rows of one list that is kept as records.
pub const ROWS_MAX: usize = 20_000;
/// Longest cell, in bytes.
pub const CELL_MAX_BYTES: usize = 500;
/// Broken rows that are told; the rest are counted.
pub const BROKEN_TOLD_MAX: usize = 50;
/// Largest form.
pub const FORM_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Forms of one list.
pub const FORMS_MAX: usize = 500;

/// A file as it was found, with the files that it names.
#[derive(Clone)]
pub struct File {
    /// Without its folder.
    pub name: String,
    pub bytes: Vec<u8>,
    pub named: BTreeMap<String, Vec<u8>>,
}

/// What a file says, read whole and found sound by itself.
#[derive(Clone)]
pub(crate) struct Read {
    /// As the file itself says it.
    version: Option<String>,
    content: Content,
}

#[derive(Clone)]
pub(crate) enum Content {
    Codes(CodeList),
    Providers(Vec<rows::Provider>),
    Payers(Vec<rows::Payer>),
    Forms(Vec<rows::Form>),
    Rooms(Vec<rows::Room>),
    Schedules(Vec<booked::Booking>),
}

impl File {
    /// Reads a file, and for a list of forms the forms beside it.
    pub fn open(set: Set, path: &Path) -> Result<File, String> {
        let bytes = read_at_most(path, FILE_MAX_BYTES)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut named = BTreeMap::new();
        if set == Set::Forms {
            let folder = path.parent().unwrap_or(Path::new("."));
            let mut total = 0;
            for file in rows::files_named(&bytes).into_iter().take(FORMS_MAX) {
                // One that is not there, or too large, is found with its line when the list is read.
                if let Ok(form) = read_at_most(&folder.join(&file), FORM_MAX_BYTES) {
                    total += form.len();
                    named.insert(file, form);
                }
                if total > FILE_MAX_BYTES {
                    return Err(format!("its forms are larger than {FILE_MAX_BYTES} bytes together"));
                }
            }
        }
        Ok(File { name, bytes, named })
    }

    /// The SHA-256 of all that was read.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(&self.bytes);
        for (name, bytes) in &self.named {
            context.update(name.as_bytes());
            context.update(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }

    /// What it says, as a file of this set.
    pub(crate) fn read(&self, set: Set) -> Result<Read, Refused> {
        let mut findings = Findings::default();
        if self.bytes.len() > FILE_MAX_BYTES {
            findings.add(1, "", format!("the file is larger than {FILE_MAX_BYTES} bytes"));
            return Err(findings.refused());
        }
        let mut version = None;
        let content = match set {
            Set::IcdTenCm => Content::Codes(icd_ten::read(&self.bytes, &mut version, &mut findings)),
            Set::Cvx | Set::PlaceOfService => {
                Content::Codes(code_system::read(set, &self.bytes, &mut version, &mut findings))
            }
            Set::Providers => Content::Providers(rows::providers(&self.bytes, &mut findings)),
            Set::Payers => Content::Payers(rows::payers(&self.bytes, &mut findings)),
            Set::Forms => Content::Forms(rows::forms(self, &mut findings)),
            Set::Rooms => Content::Rooms(rows::rooms(&self.bytes, &mut findings)),
            Set::Schedules => Content::Schedules(booked::read(&self.bytes, &mut findings)),
        };
        findings.none()?;
        Ok(Read { version, content })
    }
}

fn read_at_most(path: &Path, max_bytes: usize) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let failed = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(max_bytes as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > max_bytes {
        return Err(format!("{} is larger than {max_bytes} bytes", path.display()));
    }
    Ok(bytes)
}
