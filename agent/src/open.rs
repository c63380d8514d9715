//! Opening key and store. A store that cannot be opened is never recreated: what is missing or wrong is said, and nothing
//! is changed.

use std::sync::Arc;

use vault::{DataKey, key_file, private_file};

use crate::fault::Fault;
use crate::home::Home;
use crate::store::{Store, Tuning};

/// Opens what is there, or makes both key and store where there is neither.
pub fn create_or_open(home: &Home) -> Result<Store, Fault> {
    private_file::create_private_dir(&home.data())?;
    key_file::ensure_outside(&home.data(), &home.key())?;
    if Store::exists(&home.data()) {
        return open(home);
    }
    // A key without a store is left over from a start that broke off; it has never opened anything else.
    let key = if home.key().exists() {
        key_file::load(&home.key())?
    } else {
        key_file::create(&home.key())?
    };
    Ok(Store::create(&home.data(), Arc::new(key), Tuning::default())?)
}

/// Opens what is there.
pub fn open(home: &Home) -> Result<Store, Fault> {
    key_file::ensure_outside(&home.data(), &home.key())?;
    let key: DataKey = key_file::load(&home.key())?;
    Ok(Store::open(&home.data(), Arc::new(key), Tuning::default())?)
}
