//! The first wire format against today's, in both directions: what was sent then is read today as it was meant, what is
//! sent today is read by those who know nothing newer, and neither loses what it does not understand.
//!
//! The bodies in `vectors/wire-1` were written when the first format was all there was. `first` is a reader and a writer of
//! it that does not follow the engine.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../first/mod.rs"]
mod first;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use first::cbor::{In, Map, Refusal, Unknown};
use first::messages::{Message, PullReply, PullRequest, PushReply, PushRequest, Row, compress, unpack};
use first::model::{Header, Hex, Payload, State};
use first::today;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sync_protocol::wire::{self, WireError};

/// The names of the files, two of each message.
const FILES: [&str; 8] = [
    "push-request",
    "push-request-refused",
    "push-reply",
    "push-reply-refused",
    "pull-request",
    "pull-request-refused",
    "pull-reply",
    "pull-reply-refused",
];

fn cases(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("vectors/wire-1/{file}.json"));
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn hex(value: &Value) -> Option<Vec<u8>> {
    let hex: Option<Hex> = serde_json::from_value(value.clone()).unwrap();
    hex.map(|hex| hex.0)
}

/// The bodies of a file, whether they are to be read or to be refused.
fn bodies(file: &str) -> Vec<Vec<u8>> {
    let body = |case: &Value| {
        let cbor = hex(&case["in"]["cbor"]).map(|cbor| compress(&cbor));
        hex(&case["out"]["body"]).or(hex(&case["in"]["body"])).or(cbor)
    };
    cases(file).iter().filter_map(body).collect()
}

/// What a file says that its bodies say, with the bodies.
fn said<M: DeserializeOwned>(file: &str) -> Vec<(M, Vec<u8>)> {
    let pair = |case: &Value| {
        let body = hex(&case["out"]["body"]).unwrap();
        (serde_json::from_value(case["in"]["says"].clone()).unwrap(), body)
    };
    cases(file).iter().map(pair).collect()
}

/// Today's reader and writer of one message, beside the first ones.
struct Today<M, E> {
    read: fn(&[u8]) -> Result<E, WireError>,
    write: fn(&E) -> Vec<u8>,
    say: fn(&E) -> M,
}

const PUSH_REQUEST: Today<PushRequest, wire::PushRequest> = Today {
    read: wire::PushRequest::decode,
    write: wire::PushRequest::encode,
    say: today::push_request,
};
const PUSH_REPLY: Today<PushReply, wire::PushReply> = Today {
    read: wire::PushReply::decode,
    write: wire::PushReply::encode,
    say: today::push_reply,
};
const PULL_REQUEST: Today<PullRequest, wire::PullRequest> = Today {
    read: wire::PullRequest::decode,
    write: wire::PullRequest::encode,
    say: today::pull_request,
};
const PULL_REPLY: Today<PullReply, wire::PullReply> = Today {
    read: wire::PullReply::decode,
    write: wire::PullReply::encode,
    say: today::pull_reply,
};

impl<M, E> Today<M, E>
where
    M: Message + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    fn reads_what_was_sent(&self, file: &str) {
        for (said, body) in said::<M>(file) {
            let read = (self.read)(&body).unwrap();

            assert_eq!((self.say)(&read), said, "{file}");
        }
    }

    fn is_read_by_the_first_reader(&self, file: &str) {
        for (said, body) in said::<M>(file) {
            let sent = (self.write)(&(self.read)(&body).unwrap());

            assert_eq!(M::of_body(&sent), Ok(said), "{file}");
        }
    }

    fn refuses_what_the_first_reader_refuses(&self, file: &str) {
        for body in bodies(file) {
            let today = (self.read)(&body).map(|read| (self.say)(&read));

            assert_eq!(
                today.map_err(|error| today::wire_refusal(&error)),
                M::of_body(&body),
                "{file}"
            );
        }
    }

    fn passes_over_keys_of_a_later_version(&self, file: &str) {
        let later = later_keys();
        for (said, _) in said::<M>(file) {
            let body = compress(&said.to_cbor_with(&later));

            assert_eq!((self.say)(&(self.read)(&body).unwrap()), said, "{file}");
            assert_eq!(M::of_body(&body), Ok(said), "{file}");
        }
    }
}

/// Keys that no version knows, with values of every form.
fn later_keys() -> Unknown {
    let values: [&[u8]; 6] = [
        &[0xf5],
        &[0x43, 1, 2, 3],
        &[0x82, 0x01, 0xa1, 0x02, 0x03],
        &[0x61, b'x'],
        &[0xfb, 0x3f, 0xf1, 0, 0, 0, 0, 0, 0],
        &[0xf6],
    ];
    (1_000_000..)
        .zip(values)
        .map(|(key, value)| (key, Hex(value.to_vec())))
        .collect()
}

#[test]
fn what_was_sent_in_the_first_format_is_read_today_as_it_was_meant() {
    PUSH_REQUEST.reads_what_was_sent("push-request");
    PUSH_REPLY.reads_what_was_sent("push-reply");
    PULL_REQUEST.reads_what_was_sent("pull-request");
    PULL_REPLY.reads_what_was_sent("pull-reply");
}

#[test]
fn what_is_sent_today_is_read_by_the_first_reader_as_it_is_meant() {
    PUSH_REQUEST.is_read_by_the_first_reader("push-request");
    PUSH_REPLY.is_read_by_the_first_reader("push-reply");
    PULL_REQUEST.is_read_by_the_first_reader("pull-request");
    PULL_REPLY.is_read_by_the_first_reader("pull-reply");
}

#[test]
fn the_first_reader_and_todays_refuse_the_same() {
    PUSH_REQUEST.refuses_what_the_first_reader_refuses("push-request-refused");
    PUSH_REPLY.refuses_what_the_first_reader_refuses("push-reply-refused");
    PULL_REQUEST.refuses_what_the_first_reader_refuses("pull-request-refused");
    PULL_REPLY.refuses_what_the_first_reader_refuses("pull-reply-refused");
}

#[test]
fn keys_of_a_later_version_disturb_neither_reader() {
    PUSH_REQUEST.passes_over_keys_of_a_later_version("push-request");
    PUSH_REPLY.passes_over_keys_of_a_later_version("push-reply");
    PULL_REQUEST.passes_over_keys_of_a_later_version("pull-request");
    PULL_REPLY.passes_over_keys_of_a_later_version("pull-reply");
}

#[test]
fn keys_of_a_later_version_in_a_page_disturb_neither_reader() {
    for (said, _) in said::<PullReply>("pull-reply") {
        let body = compress(&with_later_pages(&said));

        assert_eq!(today::pull_reply(&wire::PullReply::decode(&body).unwrap()), said);
        assert_eq!(PullReply::of_body(&body), Ok(said));
    }
}

/// The answer with keys in its pages that no version knows.
fn with_later_pages(said: &PullReply) -> Vec<u8> {
    let plain = said.to_cbor();
    let whole = In::whole(&plain, |r| r.map(|_, _| Ok(false))).unwrap();
    let pages = In::whole(&whole[&1].0, |r| r.list(256, |r| r.map(|_, _| Ok(false)))).unwrap();
    let mut map = Map::new(&whole);
    map.put(1, |out| {
        out.array(pages.len() as u64).unwrap();
        for page in &pages {
            let mut page = page.clone();
            page.extend(later_keys());
            Map::new(&page).write(out);
        }
    });
    map.bytes()
}

#[test]
fn a_protocol_that_nobody_speaks_yet_is_refused_by_its_number() {
    let (said, _) = said::<PushReply>("push-reply").remove(0);
    let mut map = Map::new(&BTreeMap::new());
    said.put(&mut map);
    map.put(0, |out| {
        out.u64(1_000).unwrap();
    });
    let body = compress(&map.bytes());

    assert_eq!(PushReply::of_body(&body), Err(Refusal::Protocol(1_000)));
    assert_eq!(
        wire::PushReply::decode(&body),
        Err(WireError::Protocol { theirs: 1_000 })
    );
}

/// A hub of today that does not understand a change's newer keys hands them on, in the change and in what it keeps of it.
#[test]
fn a_change_of_a_later_version_goes_through_todays_reader_byte_for_byte() {
    let later = |known: &[u8]| {
        let mut map = In::whole(known, |r| r.map(|_, _| Ok(false))).unwrap();
        map.extend(later_keys());
        Map::new(&map).bytes()
    };
    for (said, _) in said::<PushRequest>("push-request") {
        for sent in said.changes.iter().filter(|sent| Header::parse(&sent.header.0).is_ok()) {
            let (header, payload) = (later(&sent.header.0), later(&sent.payload.0));

            let (first, now) = (
                Header::parse(&header).unwrap(),
                sync_protocol::Header::parse(&header).unwrap(),
            );
            assert_eq!(first, today::header(&now));
            assert_eq!((first.to_bytes(), now.to_bytes()), (header.clone(), header));
            let (first, now) = (
                Payload::parse(&payload).unwrap(),
                sync_protocol::Payload::parse(&payload).unwrap(),
            );
            assert_eq!(first, today::payload(&now));
            assert_eq!((first.to_bytes(), now.to_bytes()), (payload.clone(), payload));
        }
    }
}

/// An agent of the first format keeps bases of a later hub, sums them in its proof and returns them, without loss.
#[test]
fn a_state_of_a_later_version_goes_through_both_readers_byte_for_byte() {
    let mut states = 0;
    for (said, _) in said::<PullReply>("pull-reply") {
        for row in said.pages.iter().flat_map(|page| &page.rows) {
            let Row::State { state, .. } = row else { continue };
            let mut later = state.clone();
            later.unknown.extend(later_keys());
            let bytes = later.to_bytes();

            let now = sync_protocol::RecordState::parse(&bytes).unwrap();
            assert_eq!(State::parse(&bytes).unwrap().to_bytes(), bytes);
            assert_eq!(now.to_bytes(), bytes);
            states += 1;
        }
    }
    assert!(states > 2);
}

/// What the second protocol folds comes out as what the first one says in full, also what neither understands.
#[test]
fn a_run_sent_in_the_second_protocol_arrives_as_the_same_run_of_the_first() {
    for (said, body) in said::<PushRequest>("push-request") {
        let compact = wire::PushRequest::decode(&body).unwrap().encode_compact();

        assert_eq!(today::push_request(&wire::PushRequest::decode(&compact).unwrap()), said);
    }
}

#[test]
fn the_first_reader_refuses_the_second_protocol_by_its_number() {
    for (_, body) in said::<PushRequest>("push-request") {
        let compact = wire::PushRequest::decode(&body).unwrap().encode_compact();

        assert_eq!(PushRequest::of_body(&compact), Err(Refusal::Protocol(2)));
    }
}

#[test]
fn a_push_that_holds_its_changes_in_both_forms_is_refused() {
    let (said, body) = said::<PushRequest>("push-request").remove(0);
    let compact = wire::PushRequest::decode(&body).unwrap().encode_compact();
    let plain = unpack(&compact).unwrap();
    let mut both = In::whole(&plain, |r| r.map(|_, _| Ok(false))).unwrap();
    let first = In::whole(&said.to_cbor(), |r| r.map(|_, _| Ok(false))).unwrap();
    both.insert(5, first[&5].clone());

    let refused = wire::PushRequest::decode(&compress(&Map::new(&both).bytes()));

    assert_eq!(refused.map_err(|error| today::wire_refusal(&error)), Err(Refusal::Form));
}

/// The files are what was written then: compression aside, nobody may write them anew.
#[test]
fn the_first_writer_still_writes_what_the_files_hold() {
    let mut bodies_seen = 0;
    for file in FILES {
        bodies_seen += bodies(file).len();
    }
    for (said, body) in said::<PushRequest>("push-request") {
        assert_eq!(unpack(&body), Ok(said.to_cbor()));
    }
    for (said, body) in said::<PushReply>("push-reply") {
        assert_eq!(unpack(&body), Ok(said.to_cbor()));
    }
    for (said, body) in said::<PullRequest>("pull-request") {
        assert_eq!(unpack(&body), Ok(said.to_cbor()));
    }
    for (said, body) in said::<PullReply>("pull-reply") {
        assert_eq!(unpack(&body), Ok(said.to_cbor()));
    }
    assert!(bodies_seen > 60, "only {bodies_seen} bodies were found");
}
