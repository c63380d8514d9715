//! A disk beneath SQLite that counts its syncs, and that is full or broken when a test says so.
#![expect(
    unsafe_code,
    reason = "a disk beneath SQLite can only be put there through its C interface"
)]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once};

use rusqlite::ffi;

#[derive(Default)]
pub(super) struct Disk {
    syncs: AtomicU64,
    /// So many writes from now on find the disk full.
    full_for: AtomicU64,
    broken: AtomicBool,
}

impl Disk {
    /// The disk of one folder, for the files that are opened from now on.
    pub(super) fn beneath(folder: &Path) -> Arc<Disk> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        let disk = Arc::new(Disk::default());
        DISKS.lock().unwrap().insert(folder.to_owned(), disk.clone());
        disk
    }

    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    pub(super) fn fill(&self) {
        self.fill_for(u64::MAX);
    }

    pub(super) fn fill_for(&self, writes: u64) {
        self.full_for.store(writes, Ordering::SeqCst);
    }

    pub(super) fn free(&self) {
        self.fill_for(0);
    }

    pub(super) fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }
}

/// A file on one of our disks: SQLite's own methods, and the ones that stand before them.
struct Beneath {
    real: *const ffi::sqlite3_io_methods,
    ours: *mut ffi::sqlite3_io_methods,
    disk: Arc<Disk>,
}

// Both pointers are to memory that lives until the file is closed, and is not written to.
unsafe impl Send for Beneath {}

static DISKS: Mutex<BTreeMap<PathBuf, Arc<Disk>>> = Mutex::new(BTreeMap::new());
static FILES: Mutex<BTreeMap<usize, Beneath>> = Mutex::new(BTreeMap::new());

fn install() {
    // SAFETY: the default VFS is SQLite's own and lives for ever; the copy is leaked and registered once.
    unsafe {
        let real = ffi::sqlite3_vfs_find(std::ptr::null());
        let mut vfs = *real;
        vfs.zName = c"counted".as_ptr();
        vfs.pNext = std::ptr::null_mut();
        vfs.xOpen = Some(open);
        assert_eq!(ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 1), ffi::SQLITE_OK);
    }
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over its own pointers; "unix" is the VFS that ours was copied from.
    unsafe {
        let real = ffi::sqlite3_vfs_find(c"unix".as_ptr());
        let real = if real.is_null() { vfs } else { real };
        let code = (*real).xOpen.unwrap()(real, name, file, flags, out);
        if code != ffi::SQLITE_OK || name.is_null() {
            return code;
        }
        let path = PathBuf::from(CStr::from_ptr(name).to_str().unwrap());
        let disk = path
            .parent()
            .and_then(|folder| DISKS.lock().unwrap().get(folder).cloned());
        if let Some(disk) = disk {
            let methods = (*file).pMethods;
            let ours = ffi::sqlite3_io_methods {
                xClose: Some(close),
                xWrite: Some(write),
                xSync: Some(sync),
                ..*methods
            };
            let ours = Box::into_raw(Box::new(ours));
            (*file).pMethods = ours;
            FILES.lock().unwrap().insert(
                file as usize,
                Beneath {
                    real: methods,
                    ours,
                    disk,
                },
            );
        }
        code
    }
}

/// The real methods of a file and its disk.
fn beneath(file: *mut ffi::sqlite3_file) -> (*const ffi::sqlite3_io_methods, Arc<Disk>) {
    let files = FILES.lock().unwrap();
    let beneath = &files[&(file as usize)];
    (beneath.real, beneath.disk.clone())
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, bytes: c_int, at: i64) -> c_int {
    let (real, disk) = beneath(file);
    let full = disk
        .full_for
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if full.is_ok() {
        return ffi::SQLITE_FULL;
    }
    // SAFETY: the arguments are SQLite's own, for the file whose methods these are.
    unsafe { (*real).xWrite.unwrap()(file, from, bytes, at) }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let (real, disk) = beneath(file);
    if disk.broken.load(Ordering::SeqCst) {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    disk.syncs.fetch_add(1, Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { (*real).xSync.unwrap()(file, flags) }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let beneath = FILES.lock().unwrap().remove(&(file as usize)).unwrap();
    // SAFETY: as above; nobody uses our methods of this file any more.
    unsafe {
        (*file).pMethods = beneath.real;
        drop(Box::from_raw(beneath.ours));
        (*beneath.real).xClose.unwrap()(file)
    }
}
