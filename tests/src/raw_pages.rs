//! What anybody who has the key can read in an encrypted store, without asking SQLite: every page of the file and every
//! frame of its log in clear, those that are free or superseded too.
//!
//! SQLCipher 4 with a raw key: pages of 4096 bytes, AES-256-CBC, the last 80 bytes of a page are the initialisation vector
//! and a code; the first 16 bytes of the file are a salt (https://www.zetetic.net/sqlcipher/design/).

use std::path::Path;

use aes::Aes256;
use aes::cipher::{BlockDecryptMut, KeyIvInit, block_padding::NoPadding};
use anyhow::{Context, Result, ensure};

const PAGE: usize = 4096;
const RESERVE: usize = 80;
const SALT: usize = 16;
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The clear content of the store's file and of its log, one after the other. `key` is the file's own key.
pub fn in_clear(file: &Path, key: &[u8; 32]) -> Result<Vec<u8>> {
    let bytes = std::fs::read(file).with_context(|| format!("{}", file.display()))?;
    ensure!(!bytes.is_empty() && bytes.len() % PAGE == 0, "not whole pages");
    let mut clear = Vec::with_capacity(bytes.len());
    for (number, page) in bytes.chunks(PAGE).enumerate() {
        clear.extend(decrypt(page, key, if number == 0 { SALT } else { 0 })?);
    }

    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let log = std::fs::read(Path::new(&log)).unwrap_or_default();
    for frame in log.get(LOG_HEADER..).unwrap_or_default().chunks(FRAME_HEADER + PAGE) {
        if let Some(page) = frame.get(FRAME_HEADER..FRAME_HEADER + PAGE) {
            let first = frame[..4] == [0, 0, 0, 1];
            clear.extend(decrypt(page, key, if first { SALT } else { 0 })?);
        }
    }
    Ok(clear)
}

fn decrypt(page: &[u8], key: &[u8; 32], from: usize) -> Result<Vec<u8>> {
    let vector = &page[PAGE - RESERVE..PAGE - RESERVE + 16];
    let cipher = cbc::Decryptor::<Aes256>::new_from_slices(key, vector)
        .map_err(|_| anyhow::anyhow!("key or vector of another length"))?;
    let clear = cipher
        .decrypt_padded_vec_mut::<NoPadding>(&page[from..PAGE - RESERVE])
        .map_err(|_| anyhow::anyhow!("a page that is not whole blocks"))?;
    Ok(clear)
}

/// Whether a text stands anywhere in it.
pub fn holds(clear: &[u8], text: &str) -> bool {
    clear.windows(text.len()).any(|window| window == text.as_bytes())
}
