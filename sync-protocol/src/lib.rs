//! The engine that an agent and the hub must compute identically: changes and their chains, records and their merge,
//! push, pull and feed, the wire, the proof of agreement.
//!
//! Nothing in this crate reads a clock, draws a random number, opens a file or a socket, or is async: time, ids and
//! salts are arguments, storage is a [`replica::ReplicaLedger`] or a [`hub::HubLedger`] inside a transaction that the
//! caller owns. It knows no clinic: kinds and fields are numbers, values are raw CBOR.

pub mod author;
pub mod cbor;
pub mod change;
pub mod enclosed;
pub mod handshake;
pub mod hub;
pub mod ids;
pub mod pause;
pub mod phi;
pub mod proof;
pub mod repair;
pub mod replica;
pub mod request_signature;
pub mod rules;
pub mod signed;
pub mod state;
pub mod time;
pub mod vector;
pub mod wire;

pub use author::{Draft, ElementDraft, FieldDraft, Stamp};
pub use change::{Act, Actor, Change, ElementWrite, FieldWrite, Header, Names, Payload};
pub use ids::{ChangeId, Dot, EpochId, FieldId, Hash, KindId, Lane, RecordId, ReplicaId, ScopeId};
pub use phi::Phi;
pub use signed::{Ack, Seal, Sealed, Signature};
pub use state::{Element, LiveValue, Origin, RecordState, Register, STATE_HELD_MAX_BYTES, STATE_MAX_BYTES};
pub use time::{BootClock, ClockFact, HybridClock, HybridTime};
pub use vector::{Comparison, VersionVector};

/// A change that is larger, header, salt and payload together, is refused at the writer; anything bigger is a blob.
pub const CHANGE_MAX_BYTES: usize = 16 * 1024;
