//! Any bytes as a message. The first byte chooses which and whether the rest is compressed first; what is read must be
//! written and read again as the same, and the first format must not be understood otherwise than it was.

use sync_protocol::cbor::CborError;
use sync_protocol::enclosed::{EnclosedReply, EnclosedRequest};
use sync_protocol::handshake::{Hello, Welcome};
use sync_protocol::request_signature::{Claimed, signature_value};
use sync_protocol::wire::{PullReply, PullRequest, PushReply, PushRequest, WireError};

use crate::first::messages::{self as first, Message};
use crate::first::today;

const COMPRESSED_ALREADY: u8 = 0x80;

pub(crate) fn run(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    match choice & 0x07 {
        4 => return plain(rest, Hello::decode, Hello::encode),
        5 => return plain(rest, Welcome::decode, Welcome::encode),
        6 => {
            plain(rest, EnclosedRequest::decode, EnclosedRequest::encode);
            return plain(rest, EnclosedReply::decode, EnclosedReply::encode);
        }
        7 => return claimed(rest),
        _ => {}
    }
    let body = if choice & COMPRESSED_ALREADY == 0 {
        first::compress(rest)
    } else {
        rest.to_vec()
    };
    match choice & 0x03 {
        0 => {
            both(&body, PushRequest::decode, PushRequest::encode, today::push_request);
            folded(&body);
        }
        1 => both(&body, PushReply::decode, PushReply::encode, today::push_reply),
        2 => both(&body, PullRequest::decode, PullRequest::encode, today::pull_request),
        _ => both(&body, PullReply::decode, PullReply::encode, today::pull_reply),
    }
}

/// What travels without a frame.
fn plain<E: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    read: fn(&[u8]) -> Result<E, CborError>,
    write: fn(&E) -> Vec<u8>,
) {
    if let Ok(message) = read(bytes) {
        assert_eq!(
            read(&write(&message)).as_ref(),
            Ok(&message),
            "read, written and read again"
        );
    }
}

/// Four headers, a line each: what they claim has one spelling.
fn claimed(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (digest, number, input, signature) = (line(), line(), line(), line());
    if let Some(claimed) = Claimed::parse(digest, number, input, signature) {
        let signed = claimed.signed("POST", "/");
        assert_eq!(
            (digest, number, input, signature),
            (
                signed.digest_value().as_str(),
                signed.number_value().as_str(),
                signed.input_value().as_str(),
                signature_value(&claimed.signature).as_str()
            )
        );
    }
}

/// Whatever run was read arrives as the same when it is folded.
fn folded(body: &[u8]) {
    if let Ok(request) = PushRequest::decode(body) {
        let again = PushRequest::decode(&request.encode_compact());
        assert_eq!(again.as_ref(), Ok(&request), "folded and read again");
    }
}

fn both<E: PartialEq + std::fmt::Debug, M: Message + PartialEq + std::fmt::Debug>(
    body: &[u8],
    read: fn(&[u8]) -> Result<E, WireError>,
    write: fn(&E) -> Vec<u8>,
    say: fn(&E) -> M,
) {
    let first = M::of_body(body);
    if let Ok(message) = read(body) {
        assert_eq!(
            read(&write(&message)).as_ref(),
            Ok(&message),
            "read, written and read again"
        );
        // A newer protocol is none of the first reader's business.
        if let Ok(first) = &first {
            assert_eq!(&say(&message), first, "the first reader understood something else");
        }
    }
    // Without what the first reader passed over: today's may know those keys, and refuse what they say.
    if let Ok(first) = first {
        let message = read(&first.to_body()).expect("today's reader refuses what the first reader took");
        assert_eq!(say(&message), first);
    }
}
