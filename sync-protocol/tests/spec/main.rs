//! Holds SPEC.md to the engine: the constants that it names have the values of the code, its CDDL is sound, and takes what
//! the engine writes.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../first/mod.rs"]
mod first;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use cddl_cat::cbor::validate_cbor;
use cddl_cat::context::BasicContext;
use cddl_cat::flatten::flatten_from_str;
use first::messages::unpack;
use first::model::Hex;
use serde_json::Value;
use sync_protocol::cbor::CborError;
use sync_protocol::change::LIST_MAX;
use sync_protocol::enclosed::{EnclosedReply, EnclosedRequest};
use sync_protocol::handshake::{About, HANDSHAKE_MAX_BYTES, Hello, Range, Welcome};
use sync_protocol::hub::reason;
use sync_protocol::proof::BUCKETS;
use sync_protocol::repair::{LISTED_MAX, PARTS};
use sync_protocol::request_signature::{Channel, KeyName, Signed};
use sync_protocol::signed::ACKS_MAX;
use sync_protocol::time::{CLOCK_TOLERANCE_MS, REMOTE_LEAD_MAX_MS};
use sync_protocol::wire::{
    BODY_MAX_BYTES, CHUNKS_MAX, Chunk, ChunkNote, Cursor, Manifest, PROTOCOL, PROTOCOL_OLDEST, PullReply, PullRequest,
    PushReply, PushRequest, RETURNS_MAX, Row, SignedManifest, SnapshotReply, SnapshotRequest, Told, UNPACKED_MAX_BYTES,
    WILLING_MAX, WireError, digest_of_chunk,
};
use sync_protocol::{
    CHANGE_MAX_BYTES, EpochId, Hash, KindId, Lane, RecordId, RecordState, ReplicaId, STATE_HELD_MAX_BYTES,
    STATE_MAX_BYTES, ScopeId, Signature,
};

const SPEC: &str = include_str!("../../SPEC.md");

fn section(title: &str) -> &'static str {
    let start = SPEC.find(&format!("\n## {title}")).unwrap() + 1;
    let rest = &SPEC[start..];
    rest[3..].find("\n## ").map_or(rest, |end| &rest[..end + 3])
}

/// The rows of a table whose first cell is a constant: name and value.
fn named_constants(text: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let name = cells.next()?.strip_suffix('`')?.to_owned();
        Some((name, cells.next()?.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

/// Limits that are not public are told by the refusal of a list that is longer: `{array of so many}` at a key.
fn limit_of<T>(decode: impl Fn(&[u8]) -> Result<T, WireError>, key: u64) -> u64 {
    let mut body = minicbor::Encoder::new(Vec::new());
    body.map(2).unwrap().u64(0).unwrap().u64(1).unwrap().u64(key).unwrap();
    body.array(1 << 40).unwrap();
    match decode(&first::messages::compress(&body.into_writer())) {
        Err(WireError::Body(CborError::TooLarge { max, .. })) => max as u64,
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("a list of 2^40 was taken"),
    }
}

/// Rows are inside a page, inside a list.
fn rows_max() -> u64 {
    let mut body = minicbor::Encoder::new(Vec::new());
    body.map(2).unwrap().u64(0).unwrap().u64(1).unwrap().u64(1).unwrap();
    body.array(1)
        .unwrap()
        .map(1)
        .unwrap()
        .u64(11)
        .unwrap()
        .array(1 << 40)
        .unwrap();
    match PullReply::decode(&first::messages::compress(&body.into_writer())) {
        Err(WireError::Body(CborError::TooLarge { max, .. })) => max as u64,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_limits_that_the_spec_names_are_those_of_the_engine() {
    let changes = limit_of(PushRequest::decode, 5);
    let cursors = limit_of(PullRequest::decode, 3);
    assert_eq!(limit_of(PushReply::decode, 5), changes);
    assert_eq!(
        (limit_of(PullReply::decode, 1), limit_of(PullReply::decode, 6)),
        (cursors, cursors)
    );
    assert_eq!(limit_of(PullRequest::decode, 6), WILLING_MAX as u64);

    let engine = [
        ("CHANGE_MAX_BYTES", CHANGE_MAX_BYTES as u64),
        ("LIST_MAX", LIST_MAX as u64),
        ("STATE_MAX_BYTES", STATE_MAX_BYTES as u64),
        ("STATE_HELD_MAX_BYTES", STATE_HELD_MAX_BYTES as u64),
        ("BODY_MAX_BYTES", BODY_MAX_BYTES as u64),
        ("UNPACKED_MAX_BYTES", UNPACKED_MAX_BYTES as u64),
        ("CHANGES_MAX", changes),
        ("ROWS_MAX", rows_max()),
        ("CURSORS_MAX", cursors),
        ("WILLING_MAX", WILLING_MAX as u64),
        ("ACKS_MAX", ACKS_MAX as u64),
        ("RETURNS_MAX", RETURNS_MAX as u64),
        ("BUCKETS", BUCKETS as u64),
        ("CLOCK_TOLERANCE_MS", CLOCK_TOLERANCE_MS),
        ("REMOTE_LEAD_MAX_MS", REMOTE_LEAD_MAX_MS),
        ("PROTOCOL", PROTOCOL),
        ("PROTOCOL_OLDEST", PROTOCOL_OLDEST),
        ("HANDSHAKE_MAX_BYTES", HANDSHAKE_MAX_BYTES as u64),
        ("LISTED_MAX", LISTED_MAX as u64),
        ("PARTS", PARTS as u64),
        ("CHUNKS_MAX", CHUNKS_MAX as u64),
    ];
    let engine: BTreeMap<String, u64> = engine
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect();

    assert_eq!(named_constants(section("13. Limits")), engine);
}

#[test]
fn the_numbers_that_the_spec_gives_to_lanes_and_reasons_are_those_of_the_engine() {
    let lanes = ["safety", "flow", "schedule", "reference"].iter().zip(Lane::ALL);
    let lanes: Vec<String> = lanes.map(|(name, lane)| format!("{} {name}", lane as u8)).collect();
    assert!(SPEC.contains(&format!("**Lanes**: {}.", lanes.join(", "))));
    let reasons = [
        (reason::UNREADABLE, "unreadable"),
        (reason::ID_REUSED, "id used again with another content"),
        (reason::TOO_LARGE, "too large"),
        (reason::WRONG_DOT, "wrong dot"),
        (reason::OTHER_KIND, "record of another kind"),
        (reason::RECORD_FULL, "record full"),
    ];

    let flowing = SPEC.split_whitespace().collect::<Vec<_>>().join(" ");
    for (number, words) in reasons {
        assert!(flowing.contains(&format!("{number} {words}")), "{number} {words}");
    }
}

#[test]
fn every_section_that_the_spec_points_to_is_there() {
    for word in SPEC.split("section ").skip(1) {
        let number: String = word.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let number = number.trim_end_matches('.');
        if number.is_empty() {
            continue;
        }
        let heading = if number.contains('.') {
            format!("\n### {number} ")
        } else {
            format!("\n## {number}. ")
        };
        assert!(SPEC.contains(&heading), "section {number}");
    }
}

/// All rules of the page, as one CDDL text.
fn cddl() -> BasicContext {
    let blocks = SPEC
        .split("```cddl\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let text: Vec<&str> = blocks.collect();
    BasicContext::new(flatten_from_str(&text.join("\n")).unwrap())
}

fn accepts(context: &BasicContext, rule: &str, bytes: &[u8]) -> Result<(), String> {
    let value = ciborium_value(bytes)?;
    let rule = context.rules.get(rule).unwrap();
    validate_cbor(rule, &value, context).map_err(|error| error.to_string())
}

fn ciborium_value(bytes: &[u8]) -> Result<ciborium::Value, String> {
    ciborium::from_reader(bytes).map_err(|error| error.to_string())
}

fn cases(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    file["cases"].as_array().unwrap().clone()
}

fn hex(value: &Value) -> Option<Vec<u8>> {
    let hex: Option<Hex> = serde_json::from_value(value.clone()).unwrap();
    hex.map(|hex| hex.0)
}

/// The CDDL library knows no tagged items; to the protocol they are bytes.
const TAGGED: &str = "values of every CBOR type are kept as they are";

#[test]
fn the_cddl_takes_every_encoding_of_the_test_vectors() {
    let context = cddl();
    let mut taken = 0;
    for (rule, file) in [
        ("header", "header.json"),
        ("payload", "payload.json"),
        ("state", "state.json"),
    ] {
        for case in cases(file) {
            let canonical = hex(&case["out"]["bytes"]).or(hex(&case["out"]["canonical"]));
            let Some(bytes) = canonical else { continue };
            let name = case["name"].as_str().unwrap();
            if name == TAGGED {
                continue;
            }
            assert_eq!(accepts(&context, rule, &bytes), Ok(()), "{file}: {name}");
            taken += 1;
        }
    }
    for rule in ["push-request", "push-reply", "pull-request", "pull-reply"] {
        for case in cases(&format!("wire-1/{rule}.json")) {
            let body = hex(&case["out"]["body"]).unwrap();
            assert_eq!(
                accepts(&context, rule, &unpack(&body).unwrap()),
                Ok(()),
                "{rule}: {}",
                case["name"]
            );
            taken += 1;
        }
    }
    for case in cases("wire-1/push-request.json") {
        let request = PushRequest::decode(&hex(&case["out"]["body"]).unwrap()).unwrap();
        let folded = unpack(&request.encode_compact()).unwrap();
        assert_eq!(
            accepts(&context, "push-request", &folded),
            Ok(()),
            "folded: {}",
            case["name"]
        );
        taken += 1;
    }
    assert!(taken > 30, "only {taken} were tried");
}

/// Not every refusal is one of form, but what lacks a part or has one too many is.
#[test]
fn the_cddl_refuses_what_lacks_a_part_or_has_another_form() {
    let context = cddl();
    let mut refused = 0;
    for (rule, file) in [("header", "header.json"), ("state", "state.json")] {
        for case in cases(file) {
            let missing = matches!(case["out"]["refused"].as_str(), Some("missing"));
            let Some(bytes) = hex(&case["in"]["bytes"]).filter(|_| missing) else {
                continue;
            };
            assert!(accepts(&context, rule, &bytes).is_err(), "{file}: {}", case["name"]);
            refused += 1;
        }
    }
    assert!(refused > 10, "only {refused} were tried");
}

#[test]
fn the_cddl_takes_a_handshake_and_an_enclosed_request() {
    let context = cddl();
    let about = About {
        range: Range::OWN,
        features: ["repair".to_owned()].into(),
        schema: 3,
        version: "0.1.0".to_owned(),
    };
    let hello = Hello {
        about: about.clone(),
        policies: vec![("scope".to_owned(), 4)],
        agent_ms: 1,
    };
    let welcome = Welcome {
        about,
        protocol: 2,
        hub_ms: 2,
        reconnect_window_ms: 3,
        authorities: vec![vec![1]],
        expects_signature: true,
        allows_inspection: false,
        signing_key: Some([4; 32]),
    };
    let headers = vec![("content-type".to_owned(), "application/cbor".to_owned())];
    let request = EnclosedRequest {
        method: "POST".to_owned(),
        target: "/v1/push".to_owned(),
        headers: headers.clone(),
        body: vec![1],
    };
    let reply = EnclosedReply {
        status: 200,
        headers,
        body: Vec::new(),
    };

    assert_eq!(accepts(&context, "hello", &hello.encode()), Ok(()));
    assert_eq!(accepts(&context, "welcome", &welcome.encode()), Ok(()));
    assert_eq!(accepts(&context, "enclosed-request", &request.encode()), Ok(()));
    assert_eq!(accepts(&context, "enclosed-reply", &reply.encode()), Ok(()));
    assert!(accepts(&context, "welcome", &hello.encode()).is_err());
}

#[test]
fn the_cddl_takes_a_snapshot_and_its_chunk() {
    let context = cddl();
    let (epoch, replica, scope) = (EpochId([1; 16]), ReplicaId([2; 16]), ScopeId([3; 16]));
    let cursor = Cursor {
        scope,
        lane: Lane::Flow,
        generation: 0,
        sequence: 5,
    };
    let request = SnapshotRequest { epoch, replica, cursor };
    let row = |sequence, told| Row {
        sequence,
        told,
        bytes: 0,
        signature: Some(Signature([6; 64])),
    };
    let state = RecordState::new(KindId(1), RecordId([7; 16]));
    let gone = Told::Gone {
        record: RecordId([8; 16]),
        vector: state.vector.clone(),
    };
    let rows = vec![row(6, Told::State { state, offered: true }), row(9, gone)];
    let chunk = Chunk {
        scope,
        lane: Lane::Flow,
        generation: 0,
        from: 5,
        to: 9,
        rows,
    };
    let body = chunk.encode();
    let manifest = Manifest {
        epoch,
        scope,
        lane: Lane::Flow,
        generation: 0,
        from: 5,
        chunks: vec![ChunkNote {
            digest: digest_of_chunk(&body),
            bytes: body.len() as u64,
            rows: chunk.rows.len() as u64,
            to: 9,
        }],
    };
    let reply = SnapshotReply {
        epoch,
        replica,
        accepted: 0,
        hash: Hash([4; 32]),
        manifest: Some(SignedManifest {
            bytes: manifest.encode(),
            signature: Signature([5; 64]),
        }),
    };

    assert_eq!(
        accepts(&context, "snapshot-request", &unpack(&request.encode()).unwrap()),
        Ok(())
    );
    assert_eq!(
        accepts(&context, "snapshot-reply", &unpack(&reply.encode()).unwrap()),
        Ok(())
    );
    assert_eq!(accepts(&context, "manifest", &manifest.encode()), Ok(()));
    assert_eq!(accepts(&context, "chunk", &unpack(&body).unwrap()), Ok(()));
    assert!(accepts(&context, "manifest", &unpack(&body).unwrap()).is_err());
}

/// The page shows what is signed; filled in, it is what the engine signs.
#[test]
fn what_is_signed_of_a_request_is_what_the_spec_shows() {
    let signed = Signed {
        method: "POST",
        target: "/v1/push",
        digest: [7; 32],
        channel: Channel::Probe,
        number: 41,
        key: KeyName {
            organisation: [0xab; 16],
            agent: [1; 16],
        },
    };
    let shown = section("14. Security").split("```\n").nth(1).unwrap();
    let filled = shown
        .replace("sha-256=:BASE64:", &signed.digest_value())
        .replace("CHANNEL.NUMBER", &signed.number_value())
        .replace("ORGANISATION.AGENT", &signed.key.to_string());

    assert_eq!(filled.trim_end(), signed.base());
}
