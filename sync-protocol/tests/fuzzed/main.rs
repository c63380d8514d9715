//! What the fuzz targets of `fuzz/` do with their input, run over the test vectors and over what fuzzing has found, so
//! that neither needs a nightly compiler nor rots.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper that fails fails its test"
)]

mod changes;
#[path = "../first/mod.rs"]
mod first;
mod hub_ledger;
mod messages;
mod replica_ledger;
mod session;
mod snapshot;
mod states;

use std::fs;
use std::path::Path;

use first::model::Hex;
use serde_json::Value;

/// Every string of the files of test vectors that is hexadecimal: encodings good and bad, and their parts.
fn seeds() -> Vec<Vec<u8>> {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let mut seeds = Vec::new();
    for folder in [vectors.clone(), vectors.join("wire-1")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                collect(&serde_json::from_slice(&fs::read(path).unwrap()).unwrap(), &mut seeds);
            }
        }
    }
    seeds.sort();
    seeds.dedup();
    seeds
}

fn collect(value: &Value, seeds: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(_) => seeds.extend(serde_json::from_value(value.clone()).ok().map(|hex: Hex| hex.0)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, seeds)),
        Value::Object(map) => map.values().for_each(|item| collect(item, seeds)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The seed itself, and cut off or altered at every place.
fn variations(seed: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let whole = std::iter::once(seed.to_vec());
    let cut = (0..seed.len()).map(|at| seed[..at].to_vec());
    let altered = (0..seed.len()).flat_map(|at| {
        [0x01, 0x20, 0x80].map(|bit| {
            let mut altered = seed.to_vec();
            altered[at] ^= bit;
            altered
        })
    });
    whole.chain(cut).chain(altered)
}

#[test]
fn no_header_or_payload_near_a_test_vector_makes_a_reader_fall_over() {
    for seed in seeds() {
        variations(&seed).for_each(|input| changes::run(&input));
    }
}

#[test]
fn no_state_near_a_test_vector_makes_a_reader_fall_over() {
    for seed in seeds() {
        variations(&seed).for_each(|input| states::run(&input));
    }
}

#[test]
fn no_message_near_a_test_vector_makes_a_reader_fall_over() {
    for seed in seeds() {
        // The kind of message is in the first byte; a body, which may also be read as it is, needs no variations.
        for choice in [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x80, 0x81, 0x82, 0x83] {
            messages::run(&[&[choice], seed.as_slice()].concat());
        }
        if seed.len() > 100 && seed.len() < 700 {
            // One in three: compressing each costs more than reading it.
            for (choice, input) in (0..4).cycle().zip(variations(&seed).step_by(3)) {
                messages::run(&[&[choice], input.as_slice()].concat());
            }
        }
    }
}

/// What a snapshot consists of, and each of it cut off or altered at every place.
#[test]
fn no_snapshot_near_a_test_vector_makes_a_reader_fall_over() {
    for seed in seeds() {
        for choice in [0x00, 0x01, 0x02, 0x03, 0x04, 0x0c, 0x81, 0x82, 0x83, 0x84, 0x9c] {
            snapshot::run(&[&[choice], seed.as_slice()].concat());
        }
        if seed.len() > 60 && seed.len() < 400 {
            variations(&seed).for_each(|input| snapshot::run(&[&[0x00], input.as_slice()].concat()));
        }
    }
}

/// Sessions whose steps are drawn from the messages of the test vectors, and from bytes that mean nothing.
#[test]
fn no_session_near_the_test_vectors_breaks_what_either_end_must_keep() {
    let seeds: Vec<Vec<u8>> = seeds().into_iter().filter(|seed| seed.len() < 2_000).collect();
    let mut drawn = 1_u64;
    let mut draw = |below: usize| {
        // Any spread will do; it must be the same every time (Knuth, MMIX).
        drawn = drawn
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (drawn >> 33) as usize % below
    };
    for _ in 0..400 {
        let mut input = Vec::new();
        for _ in 0..24 {
            let seed = &seeds[draw(seeds.len())];
            input.push(draw(256) as u8);
            input.extend((seed.len() as u16).to_le_bytes());
            input.extend(seed);
        }
        session::run(&input);
    }
}

/// The headers of a signed request, and each of them cut off or altered at every place.
#[test]
fn headers_of_a_signed_request_have_one_spelling() {
    let headers = "sha-256=:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=:\n1.41\n\
        mainstay=(\"@method\" \"@request-target\" \"content-digest\" \"mainstay-request\");\
        keyid=\"abababababababababababababababab.01010101010101010101010101010101\";alg=\"ed25519\"\n\
        mainstay=:CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQ==:";

    for input in variations(headers.as_bytes()) {
        messages::run(&[&[0x07], input.as_slice()].concat());
    }
}
