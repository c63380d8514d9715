//! The second factor: six digits that follow from a secret and the time (RFC 6238, SHA-1, 30 s), as every authenticator
//! app makes them. A code of the step before or after is good too; none is good twice, which the store sees to.

use data_encoding::BASE32_NOPAD;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use totp_rs::{Algorithm, TOTP};
use zeroize::Zeroizing;

use crate::exit::Failure;

const STEP_SECS: u64 = 30;
const DIGITS: usize = 6;
/// As long as RFC 4226 recommends.
const SECRET_BYTES: usize = 20;
/// Steps that the clock of a phone may be away.
const DRIFT_STEPS: u64 = 1;

/// The secret that the hub and somebody's app share.
pub(crate) struct Factor(Zeroizing<Vec<u8>>);

impl Factor {
    pub(super) fn draw() -> Result<Factor, Failure> {
        let mut secret = Zeroizing::new(vec![0; SECRET_BYTES]);
        SystemRandom::new()
            .fill(&mut secret)
            .map_err(|_| Failure::failed("the operating system gave no random bytes"))?;
        Ok(Factor(secret))
    }

    pub(crate) fn of(secret: Vec<u8>) -> Factor {
        Factor(Zeroizing::new(secret))
    }

    pub(super) fn secret(&self) -> &[u8] {
        &self.0
    }

    /// The secret as people type it into an app.
    pub(super) fn typed(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&self.0))
    }

    /// The secret as apps scan or open it.
    pub(super) fn uri(&self, login: &str) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "otpauth://totp/Mainstay%20hub:{login}?secret={}&issuer=Mainstay%20hub",
            self.typed().as_str()
        ))
    }

    /// The time step whose code this is, if it is near now.
    pub(crate) fn step_of(&self, code: &str, now_ms: u64) -> Option<u64> {
        let code: Zeroizing<String> = Zeroizing::new(code.chars().filter(|c| !c.is_whitespace()).collect());
        let totp = TOTP::new(Algorithm::SHA1, DIGITS, 0, STEP_SECS, self.0.to_vec()).ok()?;
        let now = now_ms / 1000 / STEP_SECS;
        let steps = now.saturating_sub(DRIFT_STEPS)..=now + DRIFT_STEPS;
        steps
            .filter(|step| bool::from(totp.generate(step * STEP_SECS).as_bytes().ct_eq(code.as_bytes())))
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B: this secret at 59 s gives 94287082; six digits are its last six.
    fn of_the_standard() -> Factor {
        Factor::of(b"12345678901234567890".to_vec())
    }

    #[test]
    fn the_code_of_the_standards_example_is_taken_one_step_early_and_late_and_no_further() {
        let factor = of_the_standard();

        assert_eq!(factor.step_of("287082", 59_000), Some(1));
        assert_eq!(factor.step_of(" 287 082 ", 29_000), Some(1));
        assert_eq!(factor.step_of("287082", 89_000), Some(1));
        assert_eq!(factor.step_of("287082", 90_000), None);
        assert_eq!(factor.step_of("287083", 59_000), None);
        assert_eq!(factor.step_of("", 59_000), None);
    }

    #[test]
    fn the_secret_is_shown_as_apps_read_it() {
        let uri = of_the_standard().uri("okafor");

        assert_eq!(
            uri.as_str(),
            "otpauth://totp/Mainstay%20hub:okafor?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Mainstay%20hub"
        );
    }
}
