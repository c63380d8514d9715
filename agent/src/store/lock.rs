//! One process per folder: a lock on a file beside the store, held by the operating system for as long as the store is
//! open, so that a killed agent leaves nothing to clean up. The file says whose it is, for the message only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use super::fault::StoreError;

const FILE: &str = "agent.lock";

#[derive(Debug)]
pub(super) struct FolderLock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl FolderLock {
    pub(super) fn take(folder: &Path) -> Result<FolderLock, StoreError> {
        let path = folder.join(FILE);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = opened.map_err(|error| folder_error(folder, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::AlreadyRunning {
                    folder: folder.to_owned(),
                    pid: read_pid(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(folder_error(folder, &error)),
        }
        // A full disk must not keep the agent from starting: reading goes on there.
        let _ = write_pid(&mut file);
        Ok(FolderLock(file))
    }
}

/// Where locks are mandatory the holder's file cannot be read, so the process stays unnamed.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

pub(super) fn folder_error(folder: &Path, error: &io::Error) -> StoreError {
    let folder = folder.to_owned();
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return StoreError::NoSpace { folder };
    }
    StoreError::Folder {
        folder,
        reason: error.to_string(),
    }
}
