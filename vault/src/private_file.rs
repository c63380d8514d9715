//! Files that only the service's own user may read: keys and sealed things. Each is there whole or not at all, and on
//! the disk once the call has returned. A file that others may read is refused, not repaired: whoever could read it may
//! already have, and only a person can say whether that matters.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::random::{self, RandomFailed};

/// Keys, certificates and tokens are far below this; a file beyond it is something else.
const FILE_MAX_BYTES: u64 = 64 * 1024;

/// Why a private file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    #[error("{} is missing", .path.display())]
    Missing { path: PathBuf },
    #[error("{} already exists and is never overwritten: move it away first", .path.display())]
    Exists { path: PathBuf },
    #[error("{} can be read by other users (mode {mode:04o}): chmod 600 {}", .path.display(), .path.display())]
    ReadableByOthers { path: PathBuf, mode: u32 },
    #[error("{} belongs to user id {owner}, this program runs as {ours}: run it as that user, or chown the file", .path.display())]
    WrongOwner { path: PathBuf, owner: u32, ours: u32 },
    #[error("the folder {} can be written by other users (mode {mode:04o}), who could replace its files: chmod 700 {}", .path.display(), .path.display())]
    FolderWritableByOthers { path: PathBuf, mode: u32 },
    #[error("{} is larger than {FILE_MAX_BYTES} bytes and cannot be what is looked for there", .path.display())]
    TooLarge { path: PathBuf },
    #[error("no permission for {}: check the owner of the file and of its folder, and that the disk is not read-only", .path.display())]
    NotPermitted { path: PathBuf },
    #[error("no space left for {}: free some on that disk", .path.display())]
    NoSpace { path: PathBuf },
    #[error("{}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

impl PrivateFileError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the standard library's error kinds are open-ended"
    )]
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::NotPermitted { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io { path, source },
        }
    }
}

/// Makes the folder for this user alone if it is missing; one that is there already must not be writable by others.
pub fn create_private_dir(path: &Path) -> Result<(), PrivateFileError> {
    if path.is_dir() {
        return refuse_folder_writable_by_others(path);
    }
    make_private_dir(path).map_err(|source| PrivateFileError::io(path, source))
}

/// Writes the file, replacing one that is there: the old bytes or the new ones, never a mixture, also after a power cut.
/// Its folder must exist.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let staged = Staged::write(path, bytes)?;
    fs::rename(&staged.path, path).map_err(|source| PrivateFileError::io(path, source))?;
    staged.placed();
    sync_folder_of(path)
}

/// Writes the file, replacing one that is there, without waiting for the disk: after a power cut it may be the old one, or
/// none. For what may be lost and must not be slow.
pub fn replace_unsynced(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let staged = Staged::write_unsynced(path, bytes)?;
    fs::rename(&staged.path, path).map_err(|source| PrivateFileError::io(path, source))?;
    staged.placed();
    Ok(())
}

/// Writes the file only if none is there, with the same all-or-nothing promise as [`write_private`].
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), PrivateFileError> {
    let staged = Staged::write(path, bytes)?;
    place_new(&staged.path, path)
}

/// Reads the file, refusing one that others may read, that another user owns, or that lies in a folder others may write.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, PrivateFileError> {
    let io = |source| PrivateFileError::io(path, source);
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    refuse_others(path, &metadata)?;
    refuse_folder_writable_by_others(folder_of(path))?;
    if metadata.len() > FILE_MAX_BYTES {
        return Err(PrivateFileError::TooLarge { path: path.to_owned() });
    }

    // Reserved at once, so that growing leaves no copy of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_MAX_BYTES as usize + 1));
    file.take(FILE_MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// A finished file under a name of its own, removed again unless it is put in its place.
struct Staged {
    path: PathBuf,
    placed: bool,
}

impl Staged {
    fn write(target: &Path, bytes: &[u8]) -> Result<Self, PrivateFileError> {
        let (staged, file) = Self::begin(target, bytes)?;
        file.sync_all().map_err(|source| PrivateFileError::io(target, source))?;
        Ok(staged)
    }

    fn write_unsynced(target: &Path, bytes: &[u8]) -> Result<Self, PrivateFileError> {
        Ok(Self::begin(target, bytes)?.0)
    }

    fn begin(target: &Path, bytes: &[u8]) -> Result<(Self, File), PrivateFileError> {
        let path = staging_path(target)?;
        let io = |source| PrivateFileError::io(target, source);
        let mut file = new_private_file(&path).map_err(io)?;
        let staged = Self { path, placed: false };
        file.write_all(bytes).map_err(io)?;
        Ok((staged, file))
    }

    fn placed(mut self) {
        self.placed = true;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            // What is left behind on failure is private and under a name nobody reads.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A name in the same folder that no other file has.
pub(crate) fn staging_path(target: &Path) -> Result<PathBuf, PrivateFileError> {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}.new", random::suffix()?));
    Ok(target.with_file_name(name))
}

/// Gives a finished file its name only if that name is free, and removes the old one. A hard link, since a rename
/// would silently replace.
pub(crate) fn place_new(finished: &Path, target: &Path) -> Result<(), PrivateFileError> {
    fs::hard_link(finished, target).map_err(|source| PrivateFileError::io(target, source))?;
    fs::remove_file(finished).map_err(|source| PrivateFileError::io(finished, source))?;
    sync_folder_of(target)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(unix)]
pub(crate) fn new_private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(unix)]
fn make_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(unix)]
fn refuse_others(path: &Path, metadata: &fs::Metadata) -> Result<(), PrivateFileError> {
    use std::os::unix::fs::MetadataExt;
    let ours = rustix::process::geteuid().as_raw();
    refuse_mode_and_owner(path, metadata.mode() & 0o7777, metadata.uid(), ours)
}

#[cfg(unix)]
fn refuse_mode_and_owner(path: &Path, mode: u32, owner: u32, ours: u32) -> Result<(), PrivateFileError> {
    let path = path.to_owned();
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::ReadableByOthers { path, mode });
    }
    if owner != ours {
        return Err(PrivateFileError::WrongOwner { path, owner, ours });
    }
    Ok(())
}

#[cfg(unix)]
fn refuse_folder_writable_by_others(folder: &Path) -> Result<(), PrivateFileError> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(folder).map_err(|source| PrivateFileError::io(folder, source))?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(PrivateFileError::FolderWritableByOthers {
            path: folder.to_owned(),
            mode,
        });
    }
    Ok(())
}

/// The new name itself must survive a power cut, and that is kept in the folder.
#[cfg(unix)]
pub(crate) fn sync_folder_of(path: &Path) -> Result<(), PrivateFileError> {
    let folder = folder_of(path);
    File::open(folder)
        .and_then(|handle| handle.sync_all())
        .map_err(|source| PrivateFileError::io(folder, source))
}

// Windows has no modes: there the folder's access list is what keeps others out, and new files inherit it. Nothing here
// sets or checks that list, so on Windows the refusals above do not happen.

#[cfg(not(unix))]
pub(crate) fn new_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(not(unix))]
fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(not(unix))]
fn refuse_others(_path: &Path, _metadata: &fs::Metadata) -> Result<(), PrivateFileError> {
    Ok(())
}

#[cfg(not(unix))]
fn refuse_folder_writable_by_others(_folder: &Path) -> Result<(), PrivateFileError> {
    Ok(())
}

/// Windows has no call that flushes a folder; NTFS keeps names in its own log.
#[cfg(not(unix))]
pub(crate) fn sync_folder_of(_path: &Path) -> Result<(), PrivateFileError> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_written_file_is_for_its_owner_alone_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealed");

        write_private(&path, b"first").unwrap();
        write_private(&path, b"second").unwrap();

        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_private(&path).unwrap().as_slice(), b"second");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_replaced_file_loses_the_wide_mode_it_had() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sealed");
        fs::write(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

        write_private(&path, b"new").unwrap();

        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn creating_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_private(&path, b"first").unwrap();

        let again = create_private(&path, b"second");

        assert!(matches!(again, Err(PrivateFileError::Exists { .. })));
        assert_eq!(read_private(&path).unwrap().as_slice(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_others_may_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_private(&path, b"bytes").unwrap();

        for wide in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(wide)).unwrap();
            let refused = read_private(&path).unwrap_err();
            assert!(matches!(refused, PrivateFileError::ReadableByOthers { .. }));
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
        }
    }

    #[test]
    fn a_folder_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("open");
        create_private_dir(&inner).unwrap();
        assert_eq!(mode(&inner), 0o700);
        let path = inner.join("key");
        write_private(&path, b"bytes").unwrap();

        fs::set_permissions(&inner, fs::Permissions::from_mode(0o777)).unwrap();

        assert!(matches!(
            read_private(&path),
            Err(PrivateFileError::FolderWritableByOthers { .. })
        ));
        assert!(matches!(
            create_private_dir(&inner),
            Err(PrivateFileError::FolderWritableByOthers { .. })
        ));
    }

    #[test]
    fn another_users_file_is_refused_even_to_root() {
        let path = Path::new("data.key");

        assert!(refuse_mode_and_owner(path, 0o600, 998, 998).is_ok());
        for (owner, ours) in [(998, 0), (0, 998)] {
            assert!(matches!(
                refuse_mode_and_owner(path, 0o600, owner, ours),
                Err(PrivateFileError::WrongOwner { .. })
            ));
        }
    }

    #[test]
    fn a_missing_and_an_oversized_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(read_private(&path), Err(PrivateFileError::Missing { .. })));

        write_private(&path, &vec![0; FILE_MAX_BYTES as usize + 1]).unwrap();

        assert!(matches!(read_private(&path), Err(PrivateFileError::TooLarge { .. })));
    }
}
