//! Bytes to values and back, without a bit of difference, and no bytes at all that could make a reader fall over.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sync_protocol::cbor::Unknown;
use sync_protocol::ids::BootId;
use sync_protocol::wire::{
    Cursor, EpochReply, EpochRequest, Held, Page, PullReply, PullRequest, PushReply, PushRequest, ReturnReply,
    ReturnRequest, Returned, Row, Told, Willing,
};
use sync_protocol::{
    Ack, BootClock, Change, Dot, EpochId, FieldId, Hash, Header, Lane, Names, Payload, RecordId, RecordState,
    ReplicaId, ScopeId, Sealed, Signature,
};

use crate::generate::{build, clocks, header, history, id16, payload, unknown, with_clocks};

fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

fn lane() -> impl Strategy<Value = Lane> {
    (0_usize..4).prop_map(|lane| Lane::ALL[lane])
}

fn change() -> impl Strategy<Value = Change> {
    (header(), id16(), payload()).prop_map(|(header, salt, payload)| Change::new(&header, salt, &payload))
}

fn signature() -> impl Strategy<Value = Signature> {
    any::<([u8; 32], [u8; 32])>().prop_map(|(one, two)| {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&one);
        bytes[32..].copy_from_slice(&two);
        Signature(bytes)
    })
}

fn sealed() -> impl Strategy<Value = Sealed> {
    (any::<u64>(), signature()).prop_map(|(stable, signature)| Sealed { stable, signature })
}

fn ack() -> impl Strategy<Value = Ack> {
    (id16(), id16(), any::<u64>(), hash(), sealed()).prop_map(|(epoch, replica, counter, hash, sealed)| Ack {
        epoch: EpochId(epoch),
        replica: ReplicaId(replica),
        counter,
        hash,
        stable: sealed.stable,
        signature: sealed.signature,
    })
}

fn epoch_request() -> impl Strategy<Value = EpochRequest> {
    (pull(), vec(ack(), 0..3)).prop_map(|(pull, acks)| EpochRequest {
        epoch: pull.epoch,
        replica: pull.replica,
        acks,
        cursors: pull.cursors,
    })
}

fn epoch_reply() -> impl Strategy<Value = EpochReply> {
    let held = (id16(), any::<u64>(), hash()).prop_map(|(replica, counter, hash)| Held {
        replica: ReplicaId(replica),
        counter,
        hash,
    });
    (id16(), vec(held, 0..3)).prop_map(|(epoch, held)| EpochReply {
        epoch: EpochId(epoch),
        held,
    })
}

fn return_request() -> impl Strategy<Value = ReturnRequest> {
    let scope = proptest::option::of(id16());
    let returned = (state(), scope, signature()).prop_map(|(state, scope, signature)| Returned {
        record: state.record,
        scope: scope.map(ScopeId),
        state: state.to_bytes(),
        signature,
    });
    (id16(), id16(), vec(ack(), 0..2), vec(returned, 0..3)).prop_map(|(epoch, replica, acks, states)| ReturnRequest {
        epoch: EpochId(epoch),
        replica: ReplicaId(replica),
        acks,
        states,
    })
}

fn push() -> impl Strategy<Value = PushRequest> {
    let changes = vec(change(), 0..4);
    let place = (id16(), id16(), any::<u64>(), hash());
    let clock = (id16(), any::<u64>(), any::<u64>(), any::<u64>());
    let clock = proptest::option::of(clock.prop_map(|(boot, zero_ms, monotonic_ms, wall_ms)| BootClock {
        boot: BootId(boot),
        zero_ms,
        monotonic_ms,
        wall_ms,
    }));
    let beside = (vec(ack(), 0..2), clock);
    (place, changes, hash(), beside).prop_map(|((epoch, replica, after, previous), changes, last, (acks, clock))| {
        PushRequest {
            epoch: EpochId(epoch),
            replica: ReplicaId(replica),
            after,
            previous,
            changes,
            last,
            acks,
            clock,
        }
    })
}

/// Changes of one replica that follow each other, as an agent has them, among others that no table of a batch foresees.
fn run() -> impl Strategy<Value = PushRequest> {
    let ours = (header(), id16(), payload(), 0_u8..3, any::<bool>());
    let odd = vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    (push(), 0_u64..u64::MAX - 100, vec(ours, 0..12), odd).prop_map(|(push, after, ours, odd)| {
        let replica = push.replica;
        let mut before = Vec::<Header>::new();
        let mut changes = Vec::new();
        for ((mut header, salt, payload, among, own), place) in ours.into_iter().zip(1..) {
            header.dot = Dot {
                replica,
                counter: after + place,
            };
            header.saw.aliases.clear();
            header.saw.entries.values_mut().for_each(|entry| entry.except.clear());
            if among > 0 {
                header.unknown = Unknown::default();
            }
            if own {
                header.correlation = header.change;
            }
            if let Some(last) = before.get(before.len() / 2).filter(|_| among == 2) {
                (header.record, header.boot, header.actor) = (last.record, last.boot, last.actor);
                header.correlation = last.change;
                header.names.push(Names {
                    field: FieldId(1),
                    ids: vec![last.change, last.correlation],
                });
            }
            changes.push(Change::new(&header, salt, &payload));
            before.push(header);
        }
        for (at, byte) in odd {
            if !changes.is_empty() {
                changes[at.index(before.len())].header.push(byte);
            }
        }
        PushRequest { after, changes, ..push }
    })
}

fn push_reply() -> impl Strategy<Value = PushReply> {
    let place = (id16(), id16(), any::<u64>(), hash());
    let words = (proptest::option::of(sealed()), vec(ack(), 0..2));
    (place, vec(any::<(u64, u16)>(), 0..4), words).prop_map(
        |((epoch, replica, accepted, hash), quarantined, (sealed, acks))| PushReply {
            epoch: EpochId(epoch),
            replica: ReplicaId(replica),
            accepted,
            hash,
            quarantined,
            sealed,
            acks,
        },
    )
}

fn pull() -> impl Strategy<Value = PullRequest> {
    let cursor = (id16(), lane(), any::<u64>(), any::<u64>()).prop_map(|(scope, lane, generation, sequence)| Cursor {
        scope: ScopeId(scope),
        lane,
        generation,
        sequence,
    });
    let willing = (id16(), lane(), id16(), any::<u64>()).prop_map(|(scope, lane, record, sequence)| Willing {
        scope: ScopeId(scope),
        lane,
        record: RecordId(record),
        sequence,
    });
    let ids = (id16(), id16());
    let budgets = btree_map(lane(), any::<u64>(), 0..4);
    let limits = (any::<u64>(), any::<u64>(), any::<bool>());
    (ids, vec(cursor, 0..4), limits, vec(willing, 0..4), budgets).prop_map(
        |((epoch, replica), cursors, (bytes_max, wait_ms, takes_digest), willing, budgets)| PullRequest {
            epoch: EpochId(epoch),
            replica: ReplicaId(replica),
            cursors,
            bytes_max,
            wait_ms,
            willing,
            takes_digest,
            budgets,
        },
    )
}

fn state() -> impl Strategy<Value = RecordState> {
    (history(), clocks(), unknown()).prop_map(|(history, clocks, unknown)| RecordState {
        unknown,
        ..with_clocks(build(history.iter()), clocks)
    })
}

fn page() -> impl Strategy<Value = Page> {
    let row = (
        any::<u64>(),
        state(),
        any::<Option<bool>>(),
        proptest::option::of(signature()),
    );
    let rows = vec(row, 0..3).prop_map(|rows| {
        let row = |(sequence, state, told, signature): (u64, RecordState, Option<bool>, _)| match told {
            Some(offered) => Row {
                sequence,
                signature,
                bytes: state.to_bytes().len() as u64,
                told: Told::State { state, offered },
            },
            None => Row {
                sequence,
                signature: None,
                bytes: 0,
                told: Told::Gone {
                    record: state.record,
                    vector: state.vector,
                },
            },
        };
        rows.into_iter().map(row).collect()
    });
    let place = (id16(), id16(), id16(), lane());
    let counts = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    let ends = (proptest::option::of(hash()), proptest::option::of(sealed()));
    (place, counts, hash(), rows, ends).prop_map(
        |((epoch, replica, scope, lane), (accepted, generation, from, to, head), hash, rows, (root, sealed))| Page {
            epoch: EpochId(epoch),
            replica: ReplicaId(replica),
            accepted,
            hash,
            scope: ScopeId(scope),
            lane,
            generation,
            from,
            to,
            head,
            rows,
            root,
            sealed,
        },
    )
}

fn pull_reply() -> impl Strategy<Value = PullReply> {
    (
        vec(page(), 0..3),
        any::<u64>(),
        any::<Option<u32>>(),
        any::<Option<bool>>(),
        any::<Option<u64>>(),
        vec((id16(), lane()), 0..3),
        any::<Option<[u8; 32]>>(),
    )
        .prop_map(
            |(pages, hub_ms, series, ehr_reached, ehr_polled_ms, follows, at_rest)| PullReply {
                at_rest: at_rest.map(Hash),
                pages,
                hub_ms,
                series,
                ehr_reached,
                ehr_polled_ms,
                follows: follows
                    .into_iter()
                    .map(|(scope, lane)| (ScopeId(scope), lane))
                    .collect(),
            },
        )
}

/// One bit of a body, or its end, gone wrong.
fn hurt(mut body: Vec<u8>, at: prop::sample::Index, bit: Option<u8>) -> Vec<u8> {
    let at = at.index(body.len());
    match bit {
        Some(bit) => body[at] ^= 1 << bit,
        None => body.truncate(at),
    }
    body
}

fn damage() -> impl Strategy<Value = (prop::sample::Index, Option<u8>)> {
    (any::<prop::sample::Index>(), proptest::option::of(0_u8..8))
}

proptest! {
    #[test]
    fn a_header_with_unknown_keys_comes_back_byte_for_byte(header in header()) {
        let bytes = header.to_bytes();

        let parsed = Header::parse(&bytes).unwrap();

        prop_assert_eq!(&parsed, &header);
        prop_assert_eq!(parsed.to_bytes(), bytes);
    }

    #[test]
    fn a_payload_with_unknown_keys_comes_back_byte_for_byte(payload in payload()) {
        let bytes = payload.to_bytes();

        let parsed = Payload::parse(&bytes).unwrap();

        prop_assert_eq!(&parsed, &payload);
        prop_assert_eq!(parsed.to_bytes(), bytes);
    }

    #[test]
    fn a_state_with_unknown_keys_comes_back_byte_for_byte(state in state()) {
        let bytes = state.to_bytes();

        let parsed = RecordState::parse(&bytes).unwrap();

        prop_assert_eq!(&parsed, &state);
        prop_assert_eq!(parsed.to_bytes(), bytes);
    }

    #[test]
    fn every_message_arrives_as_it_was_sent(
        push in push(), push_reply in push_reply(), pull in pull(), pull_reply in pull_reply()
    ) {
        prop_assert_eq!(PushRequest::decode(&push.encode()), Ok(push.clone()));
        prop_assert_eq!(PushRequest::decode(&push.encode_compact()), Ok(push.clone()));
        prop_assert_eq!(PushReply::decode(&push_reply.encode()), Ok(push_reply));
        prop_assert_eq!(PullRequest::decode(&pull.encode()), Ok(pull));
        prop_assert_eq!(PullReply::decode(&pull_reply.encode()), Ok(pull_reply));
    }

    #[test]
    fn a_run_of_changes_arrives_byte_for_byte_in_either_form(run in run()) {
        prop_assert_eq!(PushRequest::decode(&run.encode()), Ok(run.clone()));
        prop_assert_eq!(PushRequest::decode(&run.encode_compact()), Ok(run));
    }

    #[test]
    fn an_altered_batch_never_makes_a_reader_fall_over(run in run(), (at, bit) in damage()) {
        let plain = zstd::bulk::decompress(&run.encode_compact(), 1 << 22).unwrap();
        let framed = zstd::bulk::compress(&hurt(plain, at, bit), 1).unwrap();

        let _ = PushRequest::decode(&framed);
    }

    #[test]
    fn a_damaged_message_is_refused_or_read_as_it_was_sent(
        push in push(), reply in push_reply(), pull in pull(), pages in pull_reply(), (at, bit) in damage()
    ) {
        let same = |read: Option<bool>| read.is_none_or(|same| same && bit.is_some());

        prop_assert!(same(PushRequest::decode(&hurt(push.encode(), at, bit)).ok().map(|read| read == push)));
        prop_assert!(same(PushReply::decode(&hurt(reply.encode(), at, bit)).ok().map(|read| read == reply)));
        prop_assert!(same(PullRequest::decode(&hurt(pull.encode(), at, bit)).ok().map(|read| read == pull)));
        prop_assert!(same(PullReply::decode(&hurt(pages.encode(), at, bit)).ok().map(|read| read == pages)));
    }

    #[test]
    fn what_is_said_of_a_new_epoch_arrives_as_it_was_sent(
        asked in epoch_request(), answer in epoch_reply(), states in return_request(), (at, bit) in damage()
    ) {
        let hurt = [asked.encode(), answer.encode(), states.encode()].map(|body| hurt(body, at, bit));
        for body in &hurt {
            let _ = (EpochRequest::decode(body), EpochReply::decode(body));
            let _ = (ReturnRequest::decode(body), ReturnReply::decode(body));
        }
        let reply = ReturnReply {
            epoch: states.epoch, replica: states.replica, upto: RecordId(states.epoch.0), refused: 3,
        };

        prop_assert_eq!(EpochRequest::decode(&asked.encode()), Ok(asked));
        prop_assert_eq!(EpochReply::decode(&answer.encode()), Ok(answer));
        prop_assert_eq!(ReturnRequest::decode(&states.encode()), Ok(states));
        prop_assert_eq!(ReturnReply::decode(&reply.encode()), Ok(reply));
    }

    #[test]
    fn no_bytes_make_a_reader_fall_over(bytes in vec(any::<u8>(), 0..300)) {
        let framed = zstd::bulk::compress(&bytes, 1).unwrap();

        let _ = (Header::parse(&bytes), Payload::parse(&bytes), RecordState::parse(&bytes));
        for body in [&bytes, &framed] {
            let _ = (PushRequest::decode(body), PushReply::decode(body));
            let _ = (PullRequest::decode(body), PullReply::decode(body));
        }
    }

    #[test]
    fn an_altered_header_or_state_never_makes_a_reader_fall_over(
        header in header(), state in state(), (at, bit) in damage()
    ) {
        let _ = Header::parse(&hurt(header.to_bytes(), at, bit));
        let _ = RecordState::parse(&hurt(state.to_bytes(), at, bit));
    }
}

#[test]
fn a_frame_that_would_unpack_to_gigabytes_is_refused() {
    let bomb = zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 1).unwrap();

    assert!(PushRequest::decode(&bomb).is_err());
}
