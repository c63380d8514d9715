//! The one-time enrolment token: all that IT hands from the hub to an agent. It holds the hub's address, the one authority to
//! trust, and a secret that works once. The hub keeps only the secret's SHA-256. Letters and digits of one case, so
//! that it survives mail, telephone and a double click; check bytes, so that a slip is called a slip.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use rustls_pki_types::ServerName;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::fingerprint::{Fingerprint, sha256};
use crate::random::{self, RandomFailed};

const FAMILY: &str = "mst";
const PREFIX: &str = "mst1.";
const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
const FINGERPRINT_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;
/// Everything but the address: id, secret, fingerprint, the address's length in one byte, check bytes.
const FIXED_BYTES: usize = ID_BYTES + SECRET_BYTES + FINGERPRINT_BYTES + 1 + CHECK_BYTES;
/// Far above the longest token; text beyond it is something else.
const TEXT_MAX_CHARS: usize = 1024;

/// Why a text is no usable token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("this is not an enrolment token (one begins with \"{PREFIX}\"): copy it again from the hub")]
    NotAToken,
    #[error("the enrolment token is of a newer kind: upgrade this program")]
    NewerKind,
    #[error("the enrolment token is cut short: copy all of it")]
    Truncated,
    #[error("the enrolment token has a wrong character or one too many: copy it again")]
    Mistyped,
    #[error("\"{0}\" is not a hub address: it must read https://HOST or https://HOST:PORT")]
    NotAnAddress(String),
}

/// Why a token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error(transparent)]
    Address(#[from] TokenError),
    #[error(transparent)]
    Random(#[from] RandomFailed),
}

/// The part of a token that must be kept from others. Wiped when dropped; prints nothing of itself.
#[derive(Clone)]
pub struct EnrolmentSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl EnrolmentSecret {
    pub fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// What the agent sends to the hub, inside TLS, once.
    pub fn as_bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// What the hub keeps. A plain SHA-256 will do: the secret is 256 random bits and cannot be guessed from it.
    pub fn digest(&self) -> [u8; 32] {
        sha256(self.0.as_slice())
    }

    /// Whether this is the secret behind a kept digest, in a time that says nothing about where they differ.
    pub fn matches(&self, kept_digest: &[u8; 32]) -> bool {
        self.digest().ct_eq(kept_digest).into()
    }
}

impl fmt::Debug for EnrolmentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnrolmentSecret(not shown)")
    }
}

/// A token, read or made.
#[derive(Debug, Clone)]
pub struct EnrolmentToken {
    hub_url: String,
    id: [u8; ID_BYTES],
    secret: EnrolmentSecret,
    authority: Fingerprint,
}

impl EnrolmentToken {
    /// A new token with random id and secret, for a hub at this address (`https://HOST` or `https://HOST:PORT`).
    pub fn issue(hub_url: &str, authority: Fingerprint) -> Result<Self, IssueError> {
        let mut id = [0; ID_BYTES];
        random::fill(&mut id)?;
        let mut secret = EnrolmentSecret::from_bytes([0; SECRET_BYTES]);
        random::fill(secret.0.as_mut_slice())?;
        Ok(Self {
            hub_url: address(hub_url)?,
            id,
            secret,
            authority,
        })
    }

    /// Reads a token, in either case and with whatever white space a mail program put into it.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if text.len() > TEXT_MAX_CHARS {
            return Err(TokenError::NotAToken);
        }
        let mut letters = Zeroizing::new(String::with_capacity(text.len()));
        letters.extend(text.chars().filter(|letter| !letter.is_whitespace()));
        letters.make_ascii_lowercase();
        let Some(body) = letters.strip_prefix(PREFIX) else {
            return Err(wrong_kind(&letters));
        };
        parse_body(&decode(body)?)
    }

    /// The text to hand over.
    pub fn render(&self) -> Zeroizing<String> {
        let mut body = Zeroizing::new(Vec::with_capacity(FIXED_BYTES + self.hub_url.len()));
        body.extend_from_slice(&self.id);
        body.extend_from_slice(self.secret.as_bytes());
        body.extend_from_slice(self.authority.as_bytes());
        body.push(self.hub_url.len() as u8);
        body.extend_from_slice(self.hub_url.as_bytes());
        let check = check_of(&body);
        body.extend_from_slice(&check);

        let mut text = Zeroizing::new(String::with_capacity(TEXT_MAX_CHARS));
        text.push_str(PREFIX);
        BASE32_NOPAD.encode_append(&body, &mut text);
        text.make_ascii_lowercase();
        text
    }

    /// Where the hub is: `https://HOST` or `https://HOST:PORT`, nothing after it.
    pub fn hub_url(&self) -> &str {
        &self.hub_url
    }

    /// By which the hub finds its row; no secret.
    pub fn id(&self) -> &[u8; ID_BYTES] {
        &self.id
    }

    pub fn secret(&self) -> &EnrolmentSecret {
        &self.secret
    }

    /// The fingerprint of the only authority to trust while enrolling.
    pub fn authority(&self) -> Fingerprint {
        self.authority
    }
}

fn wrong_kind(letters: &str) -> TokenError {
    if PREFIX.starts_with(letters) && !letters.is_empty() {
        return TokenError::Truncated;
    }
    let kind = letters
        .strip_prefix(FAMILY)
        .and_then(|rest| rest.split_once('.'))
        .map(|(kind, _)| kind);
    match kind {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => TokenError::NewerKind,
        Some(_) | None => TokenError::NotAToken,
    }
}

/// A whole number of bytes: a cut in the middle of one leaves up to seven letters that say nothing yet.
fn decode(body: &str) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    let mut upper = Zeroizing::new(String::with_capacity(body.len()));
    upper.push_str(body);
    upper.make_ascii_uppercase();
    match BASE32_NOPAD.decode(upper.as_bytes()) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(error) if error.kind == data_encoding::DecodeKind::Symbol => Err(TokenError::Mistyped),
        Err(_) if upper.len() < BASE32_NOPAD.encode_len(FIXED_BYTES) => Err(TokenError::Truncated),
        // Cut between two bytes, or one letter too many: the length in the bytes that are whole decides.
        Err(_) => {
            let whole = upper.len() - upper.len() % 8;
            BASE32_NOPAD
                .decode(&upper.as_bytes()[..whole])
                .map_err(|_| TokenError::Mistyped)
                .and_then(|bytes| {
                    let bytes = Zeroizing::new(bytes);
                    match expected_len(&bytes) {
                        Some(expected) if bytes.len() >= expected => Err(TokenError::Mistyped),
                        Some(_) | None => Err(TokenError::Truncated),
                    }
                })
        }
    }
}

fn expected_len(bytes: &[u8]) -> Option<usize> {
    let address = bytes.get(ID_BYTES + SECRET_BYTES + FINGERPRINT_BYTES)?;
    Some(FIXED_BYTES + usize::from(*address))
}

fn parse_body(bytes: &[u8]) -> Result<EnrolmentToken, TokenError> {
    match expected_len(bytes) {
        Some(expected) if bytes.len() == expected => {}
        Some(expected) if bytes.len() > expected => return Err(TokenError::Mistyped),
        Some(_) | None => return Err(TokenError::Truncated),
    }
    let (body, check) = bytes.split_at(bytes.len() - CHECK_BYTES);
    if check != check_of(body) {
        return Err(TokenError::Mistyped);
    }
    let (id, rest) = take::<ID_BYTES>(body)?;
    let (secret, rest) = take::<SECRET_BYTES>(rest)?;
    let (authority, rest) = take::<FINGERPRINT_BYTES>(rest)?;
    let (_, url) = take::<1>(rest)?;
    let url = std::str::from_utf8(url).map_err(|_| TokenError::Mistyped)?;
    Ok(EnrolmentToken {
        hub_url: address(url)?,
        id,
        secret: EnrolmentSecret::from_bytes(secret),
        authority: Fingerprint::from_bytes(authority),
    })
}

fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), TokenError> {
    let (first, rest) = bytes.split_first_chunk().ok_or(TokenError::Truncated)?;
    Ok((*first, rest))
}

/// The beginning of a SHA-256 under the token's own prefix, so that bytes of another kind never pass.
fn check_of(body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut bytes = Zeroizing::new(Vec::with_capacity(PREFIX.len() + body.len()));
    bytes.extend_from_slice(PREFIX.as_bytes());
    bytes.extend_from_slice(body);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&sha256(&bytes)[..CHECK_BYTES]);
    check
}

/// The address without a slash at its end, if it is `https://`, a host name or IP address, and perhaps a port.
fn address(url: &str) -> Result<String, TokenError> {
    let url = url.trim_end_matches('/');
    let refused = || TokenError::NotAnAddress(url.to_owned());
    let rest = url.strip_prefix("https://").ok_or_else(refused)?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(v6) => v6.split_once(']').ok_or_else(refused)?,
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let name = ServerName::try_from(host).map_err(|_| refused())?;
    let is_v6 = matches!(name, ServerName::IpAddress(address) if std::net::IpAddr::from(address).is_ipv6());
    let port_sound = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok_and(|number| number != 0),
        None => port.is_empty(),
    };
    if url.len() > usize::from(u8::MAX) || !port_sound || is_v6 != rest.starts_with('[') {
        return Err(refused());
    }
    Ok(url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> EnrolmentToken {
        EnrolmentToken::issue("https://hub.northside.example:8443/", Fingerprint::from_bytes([7; 32])).unwrap()
    }

    #[test]
    fn a_token_reads_back_as_what_was_issued() {
        let issued = token();

        let read = EnrolmentToken::parse(&issued.render()).unwrap();

        assert_eq!(read.hub_url(), "https://hub.northside.example:8443");
        assert_eq!(read.id(), issued.id());
        assert_eq!(read.secret().as_bytes(), issued.secret().as_bytes());
        assert_eq!(read.authority(), issued.authority());
    }

    #[test]
    fn two_tokens_share_nothing_secret() {
        let (one, two) = (token(), token());

        assert_ne!(one.id(), two.id());
        assert_ne!(one.secret().as_bytes(), two.secret().as_bytes());
    }

    #[test]
    fn line_breaks_blanks_and_capitals_do_no_harm() {
        let issued = token();
        let text = issued.render().to_uppercase();
        let mailed = format!(" {}\r\n  {}\n", &text[..70], &text[70..]);

        let read = EnrolmentToken::parse(&mailed).unwrap();

        assert_eq!(read.id(), issued.id());
    }

    #[test]
    fn a_token_cut_anywhere_is_called_cut_short() {
        let text = token().render();

        for length in 1..text.len() {
            assert_eq!(
                EnrolmentToken::parse(&text[..length]).unwrap_err(),
                TokenError::Truncated,
                "cut to {length}"
            );
        }
    }

    #[test]
    fn any_single_wrong_letter_is_noticed() {
        let text = token().render();

        for position in PREFIX.len()..text.len() {
            for letter in ["a", "7", "1", "_"] {
                if &text[position..=position] == letter {
                    continue;
                }
                let mut wrong = text.to_string();
                wrong.replace_range(position..=position, letter);
                assert!(EnrolmentToken::parse(&wrong).is_err(), "at {position}");
            }
        }
        let mut secret_off = text.to_string();
        let flipped = if &text[50..=50] == "a" { "b" } else { "a" };
        secret_off.replace_range(50..=50, flipped);
        assert_eq!(EnrolmentToken::parse(&secret_off).unwrap_err(), TokenError::Mistyped);
    }

    #[test]
    fn letters_too_many_are_called_mistyped() {
        let text = token().render();

        for extra in ["a", "aa", "aaaaaaaa"] {
            assert_eq!(
                EnrolmentToken::parse(&format!("{}{extra}", *text)).unwrap_err(),
                TokenError::Mistyped,
                "{extra}"
            );
        }
    }

    #[test]
    fn another_text_and_a_newer_kind_are_told_apart() {
        for (text, expected) in [
            ("", TokenError::NotAToken),
            ("hello", TokenError::NotAToken),
            ("https://hub.example", TokenError::NotAToken),
            ("mst.abc", TokenError::NotAToken),
            ("mst2.abcdefgh", TokenError::NewerKind),
        ] {
            assert_eq!(EnrolmentToken::parse(text).unwrap_err(), expected, "{text}");
        }
        assert_eq!(
            EnrolmentToken::parse(&"a".repeat(2000)).unwrap_err(),
            TokenError::NotAToken
        );
    }

    #[test]
    fn the_hub_knows_the_secret_by_its_digest() {
        let issued = token();
        let kept = issued.secret().digest();

        assert!(issued.secret().matches(&kept));
        assert!(!token().secret().matches(&kept));
        assert_ne!(&kept, issued.secret().as_bytes());
    }

    #[test]
    fn only_an_https_address_of_a_host_goes_into_a_token() {
        let authority = Fingerprint::from_bytes([7; 32]);

        for good in [
            "https://hub.example",
            "https://10.0.0.5:8443",
            "https://[::1]:8443",
            "https://localhost:1",
        ] {
            let token = EnrolmentToken::issue(good, authority).unwrap();
            assert_eq!(EnrolmentToken::parse(&token.render()).unwrap().hub_url(), good);
        }
        let long = format!("https://{}.example", "a.".repeat(130));
        for bad in [
            "http://hub.example",
            "hub.example",
            "https://",
            "https://hub.example/path",
            "https://user@hub.example",
            "https://hub.example:0",
            "https://hub.example:port",
            "https://::1",
            "https://[hub.example]",
            &long,
        ] {
            assert!(EnrolmentToken::issue(bad, authority).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tokens_debug_output_keeps_its_secret() {
        let token = token();

        let shown = format!("{token:?}");

        assert!(shown.contains("not shown"));
        assert!(!shown.contains(&format!("{:?}", token.secret().as_bytes())));
    }
}
