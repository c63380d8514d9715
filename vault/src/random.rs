//! Random bytes from the operating system. Everything secret here is made of these and of nothing else.

use ring::rand::{SecureRandom, SystemRandom};

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes: nothing secret can be made until it does")]
pub struct RandomFailed;

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), RandomFailed> {
    SystemRandom::new().fill(bytes).map_err(|_| RandomFailed)
}

/// Sixteen lower-case hex digits, for file names that must not meet another.
pub(crate) fn suffix() -> Result<String, RandomFailed> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}
