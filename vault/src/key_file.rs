//! The data key and the file that holds it. Creating and loading are two calls on purpose: a program that made a new
//! key whenever it found none would turn a lost mount into a store nobody can open again. A key beside the data it
//! protects is refused: whoever copies the data folder would have both.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use crate::fingerprint::sha256;
use crate::private_file::{self, PrivateFileError};
use crate::random::{self, RandomFailed};

const HEADER: &str = "mainstay data key 1";
/// Enough to notice a mistyped digit when a key is entered by hand from a recovery card.
const CHECK_BYTES: usize = 4;

/// The 32 random bytes from which every key of one program is derived. Wiped when dropped; prints nothing of itself.
pub struct DataKey(Box<Zeroizing<[u8; 32]>>);

impl DataKey {
    /// A new key from the operating system's random bytes.
    pub fn generate() -> Result<Self, RandomFailed> {
        let mut key = Self(Box::new(Zeroizing::new([0; 32])));
        random::fill(key.0.as_mut_slice())?;
        Ok(key)
    }

    /// A key for one purpose (HKDF-SHA256, RFC 5869). Different purposes or salts give keys that say nothing of each other.
    pub(crate) fn derive(&self, salt: &[u8], purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        let info = [purpose.as_bytes()];
        Salt::new(HKDF_SHA256, salt)
            .extract(self.0.as_slice())
            .expand(&info, HKDF_SHA256)
            .and_then(|output| output.fill(derived.as_mut_slice()))
            .unwrap_or_else(|_| unreachable!("HKDF-SHA256 gives up to 8160 bytes, 32 are asked"));
        derived
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(not shown)")
    }
}

/// How the data key is protected while the machine is off or its disk is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Custody {
    /// In a file that only the service's own user may read. Whoever gets the disk, or root, has the key.
    File,
}

impl Custody {
    /// What `status` must say, as critical, while this custody is in use.
    pub fn warning(&self) -> Option<&'static str> {
        match self {
            Self::File => Some("key not protected by hardware"),
        }
    }
}

/// Why a key file could not be created, loaded or accepted where it is.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("the key file: {0}")]
    File(#[from] PrivateFileError),
    #[error("the key file {} is cut short: restore it from a backup", .path.display())]
    Truncated { path: PathBuf },
    #[error("the key file {} does not agree with its own check digits: restore it from a backup, or type it again", .path.display())]
    Mistyped { path: PathBuf },
    #[error("{} is not a key file of this program (its first line must be \"{HEADER}\"): check the path", .path.display())]
    WrongFormat { path: PathBuf },
    #[error("the key file {} is of a newer kind: upgrade this program", .path.display())]
    NewerFormat { path: PathBuf },
    #[error("the key file {} lies inside the data folder {}: whoever copies that folder would have data and key; set a path outside it", .key.display(), .data.display())]
    InsideData { key: PathBuf, data: PathBuf },
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

/// Makes a new key and writes it to a file that must not exist yet, mode 0600; its folder is made with mode 0700 if missing.
pub fn create(path: &Path) -> Result<DataKey, KeyFileError> {
    let key = DataKey::generate()?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        private_file::create_private_dir(folder)?;
    }
    private_file::create_private(path, render(&key).as_bytes())?;
    Ok(key)
}

/// Reads the key. Refuses a file or folder open to others, another user's file, a truncated, mistyped or foreign one.
pub fn load(path: &Path) -> Result<DataKey, KeyFileError> {
    parse(path, &private_file::read_private(path)?)
}

/// Refuses a key path inside the data folder, also by way of symbolic links or `..`. Neither needs to exist yet.
pub fn ensure_outside(data_dir: &Path, key_path: &Path) -> Result<(), KeyFileError> {
    let resolve = |path: &Path| resolved(path).map_err(|source| KeyFileError::File(PrivateFileError::io(path, source)));
    if resolve(key_path)?.starts_with(resolve(data_dir)?) {
        return Err(KeyFileError::InsideData {
            key: key_path.to_owned(),
            data: data_dir.to_owned(),
        });
    }
    Ok(())
}

fn render(key: &DataKey) -> Zeroizing<String> {
    let hex = data_encoding::HEXLOWER;
    let mut text = Zeroizing::new(String::with_capacity(256));
    text.push_str(HEADER);
    text.push('\n');
    hex.encode_append(key.0.as_slice(), &mut text);
    text.push('\n');
    hex.encode_append(&check_of(key), &mut text);
    text.push('\n');
    text
}

fn check_of(key: &DataKey) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&sha256(key.0.as_slice())[..CHECK_BYTES]);
    check
}

fn parse(path: &Path, bytes: &[u8]) -> Result<DataKey, KeyFileError> {
    let wrong_format = || KeyFileError::WrongFormat { path: path.to_owned() };
    let truncated = || KeyFileError::Truncated { path: path.to_owned() };
    let text = std::str::from_utf8(bytes).map_err(|_| wrong_format())?;
    if HEADER.starts_with(text.trim_end()) && text.trim_end() != HEADER {
        return Err(truncated());
    }
    let mut lines = text.lines().map(str::trim);
    match lines.next() {
        Some(HEADER) => {}
        Some(line) if line.starts_with("mainstay data key ") => {
            return Err(KeyFileError::NewerFormat { path: path.to_owned() });
        }
        Some(_) | None => return Err(wrong_format()),
    }
    let digits = lines.next().unwrap_or_default();
    let check = lines.next().unwrap_or_default();
    if digits.len() < 64 || check.len() < CHECK_BYTES * 2 {
        return Err(truncated());
    }
    parse_digits(digits, check).ok_or_else(|| KeyFileError::Mistyped { path: path.to_owned() })
}

fn parse_digits(digits: &str, check: &str) -> Option<DataKey> {
    let hex = data_encoding::HEXLOWER_PERMISSIVE;
    if digits.len() != 64 {
        return None;
    }
    let mut key = DataKey(Box::new(Zeroizing::new([0; 32])));
    hex.decode_mut(digits.as_bytes(), key.0.as_mut_slice()).ok()?;
    let check = hex.decode(check.as_bytes()).ok()?;
    (check == check_of(&key)).then_some(key)
}

/// The path with links and `..` worked out as far as it exists, the rest appended.
fn resolved(path: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut existing = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                existing.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                existing.push(component);
                match existing.canonicalize() {
                    Ok(real) => existing = real,
                    Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {}
                    Err(other) => return Err(other),
                }
            }
        }
    }
    Ok(existing)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn same(a: &DataKey, b: &DataKey) -> bool {
        a.0.as_slice() == b.0.as_slice()
    }

    #[test]
    fn a_created_key_loads_again_and_differs_from_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys").join("data.key");

        let created = create(&path).unwrap();
        let loaded = load(&path).unwrap();
        let other = create(&folder.path().join("keys").join("other.key")).unwrap();

        assert!(same(&created, &loaded));
        assert!(!same(&created, &other));
    }

    #[test]
    fn an_existing_key_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.key");
        let first = create(&path).unwrap();

        let again = create(&path);

        assert!(matches!(
            again,
            Err(KeyFileError::File(PrivateFileError::Exists { .. }))
        ));
        assert!(same(&first, &load(&path).unwrap()));
    }

    #[test]
    fn loading_never_creates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.key");

        let missing = load(&path);

        assert!(matches!(
            missing,
            Err(KeyFileError::File(PrivateFileError::Missing { .. }))
        ));
        assert!(!path.exists());
    }

    #[test]
    fn a_key_file_cut_anywhere_is_called_cut_short() {
        let key = DataKey::generate().unwrap();
        let text = render(&key);

        // The last byte is the line's end, without which the key is still whole.
        for length in 0..text.len() - 1 {
            let cut = parse(Path::new("k"), &text.as_bytes()[..length]);
            assert!(
                matches!(cut, Err(KeyFileError::Truncated { .. })),
                "cut to {length}: {cut:?}"
            );
        }
    }

    #[test]
    fn a_wrong_digit_a_foreign_file_and_a_newer_kind_are_told_apart() {
        let key = DataKey::generate().unwrap();
        let text = render(&key).to_string();
        let digit = HEADER.len() + 5;
        let flipped = if &text[digit..=digit] == "a" { "b" } else { "a" };
        let mut wrong = text.clone();
        wrong.replace_range(digit..=digit, flipped);

        assert!(matches!(
            parse(Path::new("k"), wrong.as_bytes()),
            Err(KeyFileError::Mistyped { .. })
        ));
        assert!(matches!(
            parse(Path::new("k"), b"-----BEGIN PRIVATE KEY-----\n"),
            Err(KeyFileError::WrongFormat { .. })
        ));
        assert!(matches!(
            parse(Path::new("k"), text.replace("key 1", "key 2").as_bytes()),
            Err(KeyFileError::NewerFormat { .. })
        ));
        assert!(matches!(
            parse(Path::new("k"), &[0xff, 0xfe]),
            Err(KeyFileError::WrongFormat { .. })
        ));
    }

    #[test]
    fn no_error_and_no_debug_output_shows_a_key() {
        let key = DataKey::generate().unwrap();
        let text = render(&key).to_string();
        let digits = text.lines().nth(1).unwrap();

        let error = parse(Path::new("k"), text.replace(digits, &digits[1..]).as_bytes());

        let shown = format!("{key:?} {error:?} {}", error.as_ref().unwrap_err());
        assert!(!shown.contains(&digits[1..9]));
    }

    #[test]
    fn a_key_inside_the_data_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();

        for inside in ["data/data.key", "data/not/yet/key", "keys/../data/key"] {
            assert!(
                matches!(
                    ensure_outside(&data, &folder.path().join(inside)),
                    Err(KeyFileError::InsideData { .. })
                ),
                "{inside}"
            );
        }
        for outside in ["keys/data.key", "data-keys/key", "data.key"] {
            ensure_outside(&data, &folder.path().join(outside)).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_does_not_hide_that_a_key_lies_inside_the_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&data, folder.path().join("elsewhere")).unwrap();

        let hidden = ensure_outside(&data, &folder.path().join("elsewhere/key"));

        assert!(matches!(hidden, Err(KeyFileError::InsideData { .. })));
    }

    #[test]
    fn each_purpose_and_salt_has_its_own_key() {
        let key = DataKey::generate().unwrap();

        assert_eq!(*key.derive(b"", "store"), *key.derive(b"", "store"));
        assert_ne!(*key.derive(b"", "store"), *key.derive(b"", "seal"));
        assert_ne!(*key.derive(b"1", "seal"), *key.derive(b"2", "seal"));
    }
}
