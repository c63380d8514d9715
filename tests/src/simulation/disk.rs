//! A disk beneath SQLite that keeps, beside every file, what of it would survive a power cut: what was synced, and of the
//! writes since then none, some or all, one of them torn. It fills up, loses syncs and flips bits when it is told to.
//!
//! The files themselves are real ones, in memory where the machine has such a folder; SQLite reads them as they are.
#![expect(
    unsafe_code,
    reason = "a disk beneath SQLite can only be put there through its C interface"
)]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::{fs, io};

use rusqlite::ffi;

use super::rng::Rng;

/// The smallest piece that a disk writes whole.
const SECTOR: usize = 512;

/// All files of a disk by name, as they are read.
pub(super) type Image = BTreeMap<String, Vec<u8>>;

#[derive(Clone)]
pub(super) struct Disk {
    folder: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Kept>,
    /// Writes, truncations and syncs until the power goes.
    power_for: Option<u64>,
    dead: bool,
    full_for: u64,
    loses_syncs: bool,
    lost_syncs: u64,
}

/// What is certain of a file, and what is on its way.
#[derive(Default)]
struct Kept {
    durable: Vec<u8>,
    on_its_way: Vec<Step>,
}

enum Step {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

impl Step {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Step::Write { at, bytes } => {
                let end = at + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*at..end].copy_from_slice(bytes);
            }
            Step::Truncate(length) => file.resize(*length, 0),
        }
    }

    /// The part of it that reached the disk before the power went.
    fn torn(&self, rng: &mut Rng) -> Step {
        match self {
            Step::Write { at, bytes } => {
                let sectors = rng.index(bytes.len() / SECTOR + 1);
                Step::Write {
                    at: *at,
                    bytes: bytes[..(sectors * SECTOR).min(bytes.len())].to_vec(),
                }
            }
            Step::Truncate(length) => Step::Truncate(*length),
        }
    }
}

impl Disk {
    /// The disk of one folder, for the files that are opened from now on.
    pub(super) fn beneath(folder: &Path) -> Disk {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        let disk = Disk {
            folder: folder.to_owned(),
            state: Arc::default(),
        };
        locked(&DISKS).insert(folder.to_owned(), disk.state.clone());
        disk
    }

    pub(super) fn remove(&self) {
        locked(&DISKS).remove(&self.folder);
    }

    /// The power goes at the n-th write, truncation or sync from now on.
    pub(super) fn cut_power_after(&self, steps: u64) {
        locked(&self.state).power_for = Some(steps);
    }

    /// The power stays on.
    pub(super) fn keep_power(&self) {
        locked(&self.state).power_for = None;
    }

    pub(super) fn cut_power(&self) {
        locked(&self.state).dead = true;
    }

    pub(super) fn is_dead(&self) -> bool {
        locked(&self.state).dead
    }

    pub(super) fn fill_for(&self, writes: u64) {
        locked(&self.state).full_for = writes;
    }

    pub(super) fn lose_syncs(&self, lost: bool) {
        locked(&self.state).loses_syncs = lost;
    }

    /// Whether a sync that was confirmed never happened, since the power was last cut.
    pub(super) fn has_lost_syncs(&self) -> bool {
        locked(&self.state).lost_syncs > 0
    }

    /// What the files hold as programs read them.
    pub(super) fn image(&self) -> io::Result<Image> {
        let mut image = Image::new();
        for name in [super::sql_store::FILE.to_owned(), wal()] {
            match fs::read(self.folder.join(&name)) {
                Ok(bytes) => {
                    image.insert(name, bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(image)
    }

    /// Puts these files in place of all that is there, synced.
    pub(super) fn install(&self, image: &Image) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            fs::remove_file(entry?.path())?;
        }
        for (name, bytes) in image {
            write_private(&self.folder.join(name), bytes)?;
        }
        *locked(&self.state) = State::default();
        Ok(())
    }

    /// The files as the next start finds them after a power cut: of what was never synced none, some or all.
    pub(super) fn settle(&self, rng: &mut Rng) -> io::Result<()> {
        let mut image = Image::new();
        {
            let mut state = locked(&self.state);
            let chance = [0, 500, 1_000][rng.index(3)];
            for (path, kept) in &mut state.files {
                let mut file = std::mem::take(&mut kept.durable);
                let torn = rng.index(kept.on_its_way.len().max(1));
                for (at, step) in kept.on_its_way.iter().enumerate() {
                    if at == torn && rng.per_mille(300) {
                        step.torn(rng).apply(&mut file);
                    } else if rng.per_mille(chance) {
                        step.apply(&mut file);
                    }
                }
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                image.extend(name.map(|name| (name, file)));
            }
        }
        image.retain(|name, bytes| name == super::sql_store::FILE || !bytes.is_empty());
        self.install(&image)
    }

    /// Turns one bit of one file over.
    /// Whether it was a bit of the log.
    pub(super) fn flip_a_bit(&self, rng: &mut Rng) -> io::Result<bool> {
        let mut image = self.image()?;
        let names: Vec<String> = image.keys().cloned().collect();
        let Some(name) = rng.pick(&names) else { return Ok(false) };
        if let Some(bytes) = image.get_mut(name).filter(|bytes| !bytes.is_empty()) {
            let at = rng.index(bytes.len());
            bytes[at] ^= 1 << rng.below(8);
        }
        self.install(&image)?;
        Ok(*name == wal())
    }
}

fn wal() -> String {
    format!("{}-wal", super::sql_store::FILE)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(bytes)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Counts a step against the power; false when it has gone.
    fn has_power(&mut self) -> bool {
        if self.power_for == Some(0) {
            self.dead = true;
        }
        self.power_for = self.power_for.map(|steps| steps.saturating_sub(1));
        !self.dead
    }

    /// Takes a step on its way, or says why not. What the power cut short may have reached the disk in part.
    fn take(&mut self, path: &Path, step: Step) -> c_int {
        let was_dead = self.dead;
        let power = self.has_power();
        if was_dead {
            return ffi::SQLITE_IOERR;
        }
        self.files.entry(path.to_owned()).or_default().on_its_way.push(step);
        if power { ffi::SQLITE_OK } else { ffi::SQLITE_IOERR }
    }

    fn sync(&mut self, path: &Path) -> c_int {
        if !self.has_power() {
            return ffi::SQLITE_IOERR_FSYNC;
        }
        let kept = self.files.entry(path.to_owned()).or_default();
        if self.loses_syncs {
            self.lost_syncs += u64::from(!kept.on_its_way.is_empty());
            return ffi::SQLITE_OK;
        }
        for step in std::mem::take(&mut kept.on_its_way) {
            step.apply(&mut kept.durable);
        }
        ffi::SQLITE_OK
    }
}

/// A file on one of our disks: SQLite's own methods, and the ones that stand before them.
struct Beneath {
    real: *const ffi::sqlite3_io_methods,
    ours: *mut ffi::sqlite3_io_methods,
    path: PathBuf,
    disk: Arc<Mutex<State>>,
}

// SAFETY: both pointers are to memory that lives until the file is closed, and is not written to.
unsafe impl Send for Beneath {}

static DISKS: Mutex<BTreeMap<PathBuf, Arc<Mutex<State>>>> = Mutex::new(BTreeMap::new());
static FILES: Mutex<BTreeMap<usize, Beneath>> = Mutex::new(BTreeMap::new());

fn install() {
    // SAFETY: the default VFS is SQLite's own and lives for ever; the copy is leaked and registered once.
    unsafe {
        let real = ffi::sqlite3_vfs_find(std::ptr::null());
        let mut vfs = *real;
        vfs.zName = c"faulty".as_ptr();
        vfs.pNext = std::ptr::null_mut();
        vfs.xOpen = Some(open);
        vfs.xDelete = Some(delete);
        ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 1);
    }
}

fn disk_of(name: *const std::ffi::c_char) -> Option<(PathBuf, Arc<Mutex<State>>)> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite's file names end with a zero.
    let path = PathBuf::from(unsafe { CStr::from_ptr(name) }.to_str().ok()?);
    let disk = locked(&DISKS).get(path.parent()?).cloned()?;
    Some((path, disk))
}

fn unix_vfs() -> *mut ffi::sqlite3_vfs {
    // SAFETY: "unix" is SQLite's own VFS, from which ours was copied.
    unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) }
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over its own pointers, and its own VFS opens the file.
    unsafe {
        let real = unix_vfs();
        let Some(open) = (*real).xOpen else {
            return ffi::SQLITE_CANTOPEN;
        };
        let code = open(real, name, file, flags, out);
        if code != ffi::SQLITE_OK {
            return code;
        }
        let Some((path, disk)) = disk_of(name) else {
            return code;
        };
        {
            let mut state = locked(&disk);
            if !state.files.contains_key(&path) {
                let durable = fs::read(&path).unwrap_or_default();
                let on_its_way = Vec::new();
                state.files.insert(path.clone(), Kept { durable, on_its_way });
            }
        }
        let methods = (*file).pMethods;
        let ours = Box::into_raw(Box::new(ffi::sqlite3_io_methods {
            xClose: Some(close),
            xWrite: Some(write),
            xTruncate: Some(truncate),
            xSync: Some(sync),
            ..*methods
        }));
        (*file).pMethods = ours;
        let beneath = Beneath {
            real: methods,
            ours,
            path,
            disk,
        };
        locked(&FILES).insert(file as usize, beneath);
        code
    }
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, name: *const std::ffi::c_char, sync: c_int) -> c_int {
    if let Some((path, disk)) = disk_of(name) {
        let mut state = locked(&disk);
        if state.dead {
            return ffi::SQLITE_IOERR_DELETE;
        }
        state.files.remove(&path);
    }
    let real = unix_vfs();
    // SAFETY: as above.
    unsafe {
        (*real)
            .xDelete
            .map_or(ffi::SQLITE_IOERR_DELETE, |delete| delete(real, name, sync))
    }
}

type Methods = *const ffi::sqlite3_io_methods;

/// The real methods of a file, its path and its disk.
fn beneath(file: *mut ffi::sqlite3_file) -> Option<(Methods, PathBuf, Arc<Mutex<State>>)> {
    let files = locked(&FILES);
    let beneath = files.get(&(file as usize))?;
    Some((beneath.real, beneath.path.clone(), beneath.disk.clone()))
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, bytes: c_int, at: i64) -> c_int {
    let Some((real, path, disk)) = beneath(file) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    {
        let mut state = locked(&disk);
        if state.full_for > 0 && !state.dead {
            state.full_for -= 1;
            return ffi::SQLITE_FULL;
        }
        // SAFETY: SQLite hands over so many bytes.
        let content = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes.unsigned_abs() as usize) };
        let step = Step::Write {
            at: usize::try_from(at).unwrap_or(0),
            bytes: content.to_vec(),
        };
        let code = state.take(&path, step);
        if code != ffi::SQLITE_OK {
            return code;
        }
    }
    // SAFETY: the arguments are SQLite's own, for the file whose methods these are.
    unsafe {
        (*real)
            .xWrite
            .map_or(ffi::SQLITE_IOERR_WRITE, |write| write(file, from, bytes, at))
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, length: i64) -> c_int {
    let Some((real, path, disk)) = beneath(file) else {
        return ffi::SQLITE_IOERR_TRUNCATE;
    };
    let code = locked(&disk).take(&path, Step::Truncate(usize::try_from(length).unwrap_or(0)));
    if code != ffi::SQLITE_OK {
        return code;
    }
    // SAFETY: as above.
    unsafe {
        (*real)
            .xTruncate
            .map_or(ffi::SQLITE_IOERR_TRUNCATE, |truncate| truncate(file, length))
    }
}

/// Nothing is really synced: what is certain is kept beside the file, and the machine that this runs on stays up.
unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    beneath(file).map_or(ffi::SQLITE_IOERR_FSYNC, |(_, path, disk)| locked(&disk).sync(&path))
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let Some(beneath) = locked(&FILES).remove(&(file as usize)) else {
        return ffi::SQLITE_IOERR_CLOSE;
    };
    // SAFETY: as above; nobody uses our methods of this file any more.
    unsafe {
        (*file).pMethods = beneath.real;
        drop(Box::from_raw(beneath.ours));
        (*beneath.real)
            .xClose
            .map_or(ffi::SQLITE_IOERR_CLOSE, |close| close(file))
    }
}
