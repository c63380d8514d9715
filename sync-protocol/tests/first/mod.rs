//! The first wire format, protocol 1, as it was when the second was begun: a reader and a writer that share no code with
//! the engine. Frozen: when the engine and this disagree, the engine has broken every agent that is out there.

#![expect(dead_code, reason = "each test that includes this uses a part of it")]

pub(crate) mod bytes;
pub(crate) mod cbor;
pub(crate) mod messages;
pub(crate) mod model;
pub(crate) mod today;
