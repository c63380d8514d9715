//! Acknowledgements that we write, in full view, and those of partners that we read.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use formats::hl7::ack::{AckCode, Acknowledgement, Envelope, Stamp, Verdict};
use formats::hl7::{Hl7Error, Message, SegmentId};
use formats::mllp::Broken;
use insta::assert_snapshot;

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/samples/{name}.hl7", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

const STAMP: Stamp<'_> = Stamp {
    time: "20260302081501-0600",
    control_id: "MS-1",
};

fn acknowledged(envelope: &Envelope, verdict: Verdict<'_>) -> String {
    let codes = envelope.wanted(verdict);
    let acks = codes
        .into_iter()
        .map(|code| envelope.acknowledgement(code, verdict, STAMP));
    acks.map(|bytes| lines(&bytes)).collect::<Vec<_>>().join("\n")
}

fn lines(bytes: &[u8]) -> String {
    assert_eq!(bytes.last(), Some(&b'\r'));
    String::from_utf8_lossy(bytes).replace('\r', "\n")
}

#[test]
fn a_birth_date_that_is_none_is_named_and_not_quoted() {
    let bytes = sample("broken-birth-date");
    let message = Message::parse(&bytes).unwrap();

    let refused = message.patient().unwrap_err();

    assert_snapshot!(acknowledged(
        &Envelope::from(message.header()),
        Verdict::Refused(&refused)
    ));
    assert!(!refused.to_string().contains("1980"));
}

#[test]
fn original_mode_accepts_errs_and_rejects() {
    let message = Message::parse(&sample("adt-a04")).unwrap();
    let envelope = Envelope::from(message.header());
    let missing = Hl7Error::missing(SegmentId::PID, 3);

    assert_snapshot!("accepted", acknowledged(&envelope, Verdict::Accepted));
    assert_snapshot!(
        "required_field_missing",
        acknowledged(&envelope, Verdict::Refused(&missing))
    );
    let unsupported = Hl7Error::unsupported_event();
    assert_snapshot!(
        "unsupported_event",
        acknowledged(&envelope, Verdict::Refused(&unsupported))
    );
}

#[test]
fn before_2_5_a_refusal_is_named_in_err_1_and_msa_3() {
    let message = Message::parse(&sample("adt-a03")).unwrap();
    let envelope = Envelope::from(message.header());

    let missing = Hl7Error::missing(SegmentId::PV1, 45);

    assert_snapshot!(acknowledged(&envelope, Verdict::Refused(&missing)));
}

#[test]
fn enhanced_mode_sends_what_msh_15_and_msh_16_ask_for() {
    let refused = Hl7Error::missing(SegmentId::PID, 3);
    let codes = |accept: &str, application: &str, verdict| {
        let bytes = format!("MSH|^~\\&|||||||ADT^A04|1|P|2.5|||{accept}|{application}\r");
        let message = Message::parse(bytes.as_bytes()).unwrap();
        let codes = Envelope::from(message.header()).wanted(verdict);
        codes.into_iter().map(AckCode::as_str).collect::<Vec<_>>().join(" ")
    };
    let rejected = Hl7Error::unsupported_event();
    let expected = [
        ("", "", ["AA", "AE", "AR"]),
        ("AL", "NE", ["CA", "CE", "CR"]),
        ("AL", "", ["CA", "CE", "CR"]),
        ("NE", "AL", ["AA", "AE", "AR"]),
        ("AL", "AL", ["CA AA", "CE AE", "CR AR"]),
        ("ER", "SU", ["AA", "CE", "CR"]),
        ("SU", "ER", ["CA", "AE", "AR"]),
        ("NE", "NE", ["", "", ""]),
    ];
    for (accept, application, wanted) in expected {
        let got = [
            Verdict::Accepted,
            Verdict::Refused(&refused),
            Verdict::Refused(&rejected),
        ]
        .map(|verdict| codes(accept, application, verdict));
        assert_eq!(got, wanted, "MSH-15 {accept} MSH-16 {application}");
    }
}

#[test]
fn an_acknowledgement_is_never_acknowledged() {
    let ack = b"MSH|^~\\&|A|B|C|D|20260101||ACK^A04|9|P|2.5\rMSA|AA|1\r";

    let envelope = Envelope::from(Message::parse(ack).unwrap().header());

    assert!(envelope.wanted(Verdict::Accepted).is_empty());
    assert!(Envelope::salvage(ack).wanted(Verdict::Accepted).is_empty());
}

#[test]
fn an_unreadable_message_is_answered_with_what_can_be_salvaged() {
    let unreadable = [
        (
            "no_type",
            &b"MSH|^~\\&|LAB|RB^1.2^ISO|MS|RB|20260101|||C-7|T|2.5.1\rPID|1\r"[..],
        ),
        ("bad_delimiters", b"MSH|^^^^|LAB|RB|MS|RB|20260101||ADT^A04|C-8|P|2.4\r"),
        (
            "not_text",
            b"MSH|^~\\&|LAB|RB|MS|RB|20260101||ADT^A04|C-9|P|2.5\rPID|1||7||D\xff\r",
        ),
        ("no_msh", b"PID|1||7||Doe\r"),
        ("nothing", b""),
        (
            "no_segment_name",
            b"MSH|^~\\&|LAB|RB|MS|RB|20260101||ADT^A04|C-10|P|2.5\nPID|1||7\nand so on\n",
        ),
        (
            "charset",
            b"MSH|^~\\&|LAB|RB|MS|RB|20260101||ADT^A04|C-11|P|2.5||||||ISO IR87\r",
        ),
    ];
    for (name, bytes) in unreadable {
        let refused = Message::parse(bytes).unwrap_err();
        let ack = acknowledged(&Envelope::salvage(bytes), Verdict::Refused(&refused));
        assert_snapshot!(format!("salvaged_{name}"), format!("{refused}\n{ack}"));
    }
}

#[test]
fn a_latin_1_sender_is_answered_in_latin_1() {
    let sent = b"MSH|^~\\&|LABOR K\xd6LN|X|MS|RB|20260101||ADT^A04|\xe91|P|2.5||||||8859/1\rPID|1||7\r";
    let message = Message::parse(sent).unwrap();

    let ack = Envelope::from(message.header()).acknowledgement(AckCode::ApplicationAccept, Verdict::Accepted, STAMP);

    let again = Message::parse(&ack).unwrap();
    assert_eq!(
        again.header().receiving_application.namespace.as_deref(),
        Some("LABOR KÖLN")
    );
    assert!(ack.windows(3).any(|bytes| bytes == b"|\xe91"));
}

#[test]
fn acknowledgements_of_partners_are_read_as_they_come() {
    let plain = Acknowledgement::parse(b"MSH|^~\\&|E|F|G|H|20260101||ACK|5|P|2.3\rMSA|AA|RB-0001\x1c").unwrap();
    assert_eq!(
        (plain.code, plain.answers.as_str()),
        (AckCode::ApplicationAccept, "RB-0001")
    );
    assert!(plain.code.accepts() && plain.text.is_none());

    let new = b"MSH|^~\\&|E|F|G|H|20260101||ACK^A04^ACK||P|2.7\nMSA|ae|RB-0001\nERR||PID^1^7|102^Data type error^HL70357|E||||bad date\n";
    let new = Acknowledgement::parse(new).unwrap();
    assert_eq!(
        (new.code, new.error_codes.as_slice()),
        (AckCode::ApplicationError, &["102".to_owned()][..])
    );
    assert_eq!(new.text.as_deref(), Some("bad date"));

    let old = b"MSH|^~\\&|E|F|G|H|20260101||ACK|5|P|2.3\rMSA|AR|RB-0001|not today\rERR|PID^1^7^102&x~PID^1^8^103\r";
    let old = Acknowledgement::parse(old).unwrap();
    assert_eq!(old.error_codes, ["102", "103"]);
    assert_eq!(old.text.as_deref(), Some("not today"));

    for (bytes, location) in [
        (&b"MSH|^~\\&|E|F|G|H|20260101||ACK|5|P|2.3\r"[..], "MSA"),
        (b"MSH|^~\\&|\rMSA||1\r", "MSA-1"),
        (b"MSH|^~\\&|\rMSA|OK|1\r", "MSA-1"),
        (b"MSH|^~\\&|\rMSA|AA|\r", "MSA-2"),
    ] {
        assert_eq!(
            Acknowledgement::parse(bytes).unwrap_err().location.to_string(),
            location
        );
    }
}

#[test]
fn our_own_acknowledgement_is_read_back() {
    let message = Message::parse(&sample("adt-a04")).unwrap();
    let refused = Hl7Error::missing(SegmentId::PID, 5);
    let ack =
        Envelope::from(message.header()).acknowledgement(AckCode::ApplicationError, Verdict::Refused(&refused), STAMP);

    let read = Acknowledgement::parse(&ack).unwrap();

    assert_eq!(
        (read.code, read.answers.as_str()),
        (AckCode::ApplicationError, "RB-0001")
    );
    assert_eq!(read.error_codes, ["101"]);
}

#[test]
fn a_broken_frame_is_answered_with_what_can_be_salvaged() {
    let cut = b"MSH|^~\\&|LAB|RB|MS|RB|20260101||ADT^A04|C-12|P|2.5\rPID|1||7";

    for broken in [Broken::Restarted, Broken::Unfinished, Broken::TooLarge] {
        let refused = broken.refusal();
        let ack = acknowledged(&Envelope::salvage(cut), Verdict::Refused(&refused));
        let code = if refused.code.rejects() { "AR" } else { "AE" };
        assert!(ack.contains(&format!("\nMSA|{code}|C-12\nERR||MSH^1|")), "{broken:?}");
    }
}
