//! Keys and what needs them, for the agent and for the hub: the key file, sealed and private files, encrypted SQLite
//! files, the hub's certificate authority, TLS set-up, and the one-time enrolment token.
//!
//! It knows no clinic, reads no clock (every time is an argument, in unix seconds) and writes nothing to a log. What it
//! refuses: a key others can read, a key beside the data it protects, a store that would have to be made anew, a
//! certificate of any authority but the pinned one.

pub mod authorities;
pub mod authority;
pub mod envelope;
pub mod fingerprint;
pub mod identity;
pub mod key_file;
pub mod private_file;
pub mod request_key;
pub mod row_seal;
pub mod seal;
pub mod sqlite;
pub mod tls;
pub mod token;

mod random;

pub use authorities::Authorities;
pub use authority::Authority;
pub use envelope::SealingKey;
pub use fingerprint::Fingerprint;
pub use identity::{ClientKey, Identity, PeerId, Validity};
pub use key_file::{Custody, DataKey};
pub use random::RandomFailed;
pub use request_key::RequestKey;
pub use row_seal::{RowKeys, RowRoot};
pub use token::EnrolmentToken;
