//! What a request's signature covers, in the form of HTTP Message Signatures (RFC 9421): method, target, the digest of the
//! body (RFC 9530), and the request's number; the key's name is the agent's. One form is made and accepted, no other.
//!
//! A number is never used twice on its channel, so what was taken once is refused when it comes again. It signs nothing and
//! checks no signature: keys are elsewhere.

use std::fmt;

/// How one agent's requests that run side by side are kept apart: each channel counts upwards for itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Channel {
    /// Handshake, push, pull and renewal, one after the other.
    Exchange = 0,
    Probe = 1,
    /// Contents, snapshots, and whatever else is fetched in parts.
    Transfer = 2,
}

impl Channel {
    pub const ALL: [Channel; 3] = [Channel::Exchange, Channel::Probe, Channel::Transfer];

    pub fn from_number(number: u8) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| *channel as u8 == number)
    }
}

/// The name of an agent's key: its organisation and itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyName {
    pub organisation: [u8; 16],
    pub agent: [u8; 16],
}

/// What is signed of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signed<'a> {
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// SHA-256 of the body as it travels inside the request, of nothing when there is none.
    pub digest: [u8; 32],
    pub channel: Channel,
    pub number: u64,
    pub key: KeyName,
}

/// The headers of a signed request, in lower case.
pub const DIGEST_HEADER: &str = "content-digest";
pub const NUMBER_HEADER: &str = "mainstay-request";
pub const INPUT_HEADER: &str = "signature-input";
pub const SIGNATURE_HEADER: &str = "signature";

/// The largest number: what both stores keep in a signed column.
pub const NUMBER_MAX: u64 = i64::MAX as u64;

const LABEL: &str = "mainstay";
const PARAMETERS: &str = "(\"@method\" \"@request-target\" \"content-digest\" \"mainstay-request\")";

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, id: &[u8]| id.iter().try_for_each(|byte| write!(f, "{byte:02x}"));
        hex(f, &self.organisation)?;
        f.write_str(".")?;
        hex(f, &self.agent)
    }
}

impl KeyName {
    fn parse(text: &str) -> Option<KeyName> {
        let (organisation, agent) = text.split_once('.')?;
        Some(KeyName {
            organisation: id(organisation)?,
            agent: id(agent)?,
        })
    }
}

impl Signed<'_> {
    /// The bytes that are signed (RFC 9421, section 2.5).
    pub fn base(&self) -> String {
        format!(
            "\"@method\": {}\n\"@request-target\": {}\n\"{DIGEST_HEADER}\": {}\n\"{NUMBER_HEADER}\": {}\n\"@signature-params\": {}",
            self.method,
            self.target,
            self.digest_value(),
            self.number_value(),
            self.parameters(),
        )
    }

    fn parameters(&self) -> String {
        format!("{PARAMETERS};keyid=\"{}\";alg=\"ed25519\"", self.key)
    }

    pub fn digest_value(&self) -> String {
        format!("sha-256=:{}:", base64(&self.digest))
    }

    /// Channel and number.
    pub fn number_value(&self) -> String {
        format!("{}.{}", self.channel as u8, self.number)
    }

    pub fn input_value(&self) -> String {
        format!("{LABEL}={}", self.parameters())
    }
}

pub fn signature_value(signature: &[u8; 64]) -> String {
    format!("{LABEL}=:{}:", base64(signature))
}

/// What the headers of a request say, before anything of it is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claimed {
    pub digest: [u8; 32],
    pub channel: Channel,
    pub number: u64,
    pub key: KeyName,
    pub signature: [u8; 64],
}

impl Claimed {
    /// `None` for anything but the one form.
    pub fn parse(digest: &str, number: &str, input: &str, signature: &str) -> Option<Claimed> {
        let digest = unbase64(digest.strip_prefix("sha-256=:")?.strip_suffix(':')?)?;
        let (channel, number) = number.split_once('.')?;
        let key = input
            .strip_prefix(LABEL)?
            .strip_prefix('=')?
            .strip_prefix(PARAMETERS)?
            .strip_prefix(";keyid=\"")?
            .strip_suffix("\";alg=\"ed25519\"")?;
        let signature = signature.strip_prefix(LABEL)?.strip_prefix("=:")?.strip_suffix(':')?;
        Some(Claimed {
            digest: digest.try_into().ok()?,
            channel: Channel::from_number(plain_number(channel)?.try_into().ok()?)?,
            number: plain_number(number).filter(|number| (1..=NUMBER_MAX).contains(number))?,
            key: KeyName::parse(key)?,
            signature: unbase64(signature)?.try_into().ok()?,
        })
    }

    /// With the line of the request that these headers came with.
    pub fn signed<'a>(&self, method: &'a str, target: &'a str) -> Signed<'a> {
        Signed {
            method,
            target,
            digest: self.digest,
            channel: self.channel,
            number: self.number,
            key: self.key,
        }
    }
}

/// A number has one spelling.
fn plain_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn id(hex: &str) -> Option<[u8; 16]> {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let hex = hex.as_bytes();
    if hex.len() != 32 || !hex.iter().all(is_hex) {
        return None;
    }
    let mut id = [0; 16];
    for (byte, pair) in id.iter_mut().zip(hex.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(id)
}

fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    data_encoding::BASE64.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> Signed<'static> {
        Signed {
            method: "POST",
            target: "/v1/push",
            digest: [7; 32],
            channel: Channel::Probe,
            number: 41,
            key: KeyName {
                organisation: [0xab; 16],
                agent: [1; 16],
            },
        }
    }

    #[test]
    fn the_signed_bytes_are_those_of_the_standard() {
        let expected = "\"@method\": POST\n\"@request-target\": /v1/push\n\
            \"content-digest\": sha-256=:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=:\n\
            \"mainstay-request\": 1.41\n\
            \"@signature-params\": (\"@method\" \"@request-target\" \"content-digest\" \"mainstay-request\");\
            keyid=\"abababababababababababababababab.01010101010101010101010101010101\";alg=\"ed25519\"";

        assert_eq!(signed().base(), expected);
    }

    #[test]
    fn what_is_claimed_is_read_back_in_its_one_form_only() {
        let signed = signed();
        let (digest, number) = (signed.digest_value(), signed.number_value());
        let (input, signature) = (signed.input_value(), signature_value(&[9; 64]));

        let claimed = Claimed::parse(&digest, &number, &input, &signature).unwrap();

        assert_eq!(claimed.signed("POST", "/v1/push"), signed);
        assert_eq!(claimed.signature, [9; 64]);
        for other in ["1.041", "1.0", "9.41", "41", "1.-1", "1.9223372036854775808"] {
            assert_eq!(Claimed::parse(&digest, other, &input, &signature), None, "{other}");
        }
        for other in [
            input.replace("ed25519", "hmac-sha256"),
            input.replace(" \"content-digest\"", ""),
            input.replace("abab", "ABAB"),
            format!("{input};created=1"),
        ] {
            assert_eq!(Claimed::parse(&digest, &number, &other, &signature), None, "{other}");
        }
    }
}
