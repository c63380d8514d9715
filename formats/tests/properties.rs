//! What holds for any input: the reader never panics, what is written is read back, answers are always readable.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use formats::hl7::build::{Head, Part, SegmentText, message};
use formats::hl7::{Designator, Limits, Message, SegmentId};
use proptest::collection::vec;
use proptest::prelude::*;

#[path = "fuzzed/framing.rs"]
mod framing;
#[path = "fuzzed/reading.rs"]
mod reading;
use reading::read_everything;

const SAMPLES: [&[u8]; 7] = [
    include_bytes!("../samples/adt-a03.hl7"),
    include_bytes!("../samples/adt-a04.hl7"),
    include_bytes!("../samples/adt-a08.hl7"),
    include_bytes!("../samples/oru-r01.hl7"),
    include_bytes!("../samples/broken-birth-date.hl7"),
    include_bytes!("../samples/siu-s12.hl7"),
    include_bytes!("../samples/adt-a40.hl7"),
];

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let interesting = prop_oneof![any::<u8>(), prop::sample::select(b"|^~\\&\r\n\"\x0b\x1c0\xff".to_vec())];
    let edit = (any::<prop::sample::Index>(), 0..4u8, interesting);
    (0..SAMPLES.len(), vec(edit, 1..12)).prop_map(|(sample, edits)| {
        let mut bytes = SAMPLES[sample].to_vec();
        for (at, kind, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), r#"[A-Za-z|^~\\&"\n\r é]{0,12}"#]
}

/// A text that stays itself when trimmed and is neither empty nor the null.
fn word() -> impl Strategy<Value = String> {
    r#"[A-Za-z0-9|^~\\&é][A-Za-z0-9|^~\\& é\n]{0,10}[A-Za-z0-9|^~\\&é]"#
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    #[test]
    fn any_bytes_after_msh_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        read_everything(&[b"MSH", bytes.as_slice()].concat());
        read_everything(&[b"MSH|^~\\&|A|B|C|D|20260101||ADT^A04|1|P|2.5\rPID|", bytes.as_slice()].concat());
    }

    #[test]
    fn any_stream_gives_the_same_frames_whole_or_in_pieces(bytes in vec(prop_oneof![any::<u8>(), Just(0x0b), Just(0x1c), Just(b'\r')], 0..150)) {
        framing::frame_everything(&bytes);
    }

    #[test]
    fn a_damaged_message_is_read_or_refused(bytes in mutated()) {
        read_everything(&bytes);
    }

    #[test]
    fn what_is_written_is_read_back(
        control_id in word(),
        application in word(),
        fields in vec((1..30u16, vec(vec(text(), 1..4), 1..4)), 0..10),
    ) {
        let mut fields: Vec<(u16, Vec<Vec<String>>)> = fields;
        fields.sort_by_key(|(n, _)| *n);
        fields.dedup_by_key(|(n, _)| *n);
        let mut segment = SegmentText::new(SegmentId::parse("ZZZ").unwrap());
        for (n, components) in &fields {
            let subcomponents: Vec<Vec<&str>> =
                components.iter().map(|texts| texts.iter().map(String::as_str).collect()).collect();
            let parts: Vec<Part<'_>> = subcomponents.iter().map(|texts| Part::Subcomponents(texts)).collect();
            segment = segment.parts(*n, &parts);
        }
        let head = Head {
            sending_application: Designator { namespace: Some(application.clone()), ..Designator::default() },
            time: "20260101",
            message_type: &["ADT", "A08", "ADT_A01"],
            control_id: &control_id,
            version: "2.5.1",
            ..Head::default()
        };

        let read = Message::parse(&message(&head, &[segment])).unwrap();

        prop_assert_eq!(&read.header().control_id, &control_id);
        prop_assert_eq!(read.header().sending_application.namespace.as_ref(), Some(&application));
        let zzz = read.segments("ZZZ").next().unwrap();
        for (n, components) in &fields {
            let whole_field = zzz.field(*n);
            for (c, texts) in components.iter().enumerate() {
                for (s, text) in texts.iter().enumerate() {
                    let got = whole_field.component(c + 1).subcomponent(s + 1);
                    prop_assert_eq!(got.as_ref(), text.as_str());
                }
            }
        }
    }

    #[test]
    fn line_ends_and_a_byte_order_mark_change_nothing(sample in 0..SAMPLES.len(), bom in any::<bool>(), ends in 0..3usize) {
        let text: String = SAMPLES[sample].strip_prefix(b"\xef\xbb\xbf").unwrap_or(SAMPLES[sample]).iter().copied().map(char::from).collect();
        let unix = text.replace("\r\n", "\n").replace('\r', "\n");
        let written = unix.replace('\n', ["\r", "\n", "\r\n"][ends]);
        let bytes: Vec<u8> = written.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let bytes = if bom { [&b"\xef\xbb\xbf"[..], &bytes].concat() } else { bytes };

        let (read, reference) = (Message::parse(&bytes).unwrap(), Message::parse(SAMPLES[sample]).unwrap());

        let raw = |message: &Message| -> Vec<String> {
            message.all_segments().map(|segment| (1..40).map(|n| segment.field(n).raw().to_owned() + "|").collect()).collect()
        };
        prop_assert_eq!(raw(&read), raw(&reference));
    }
}

#[test]
fn a_message_beyond_a_limit_is_refused_whole() {
    let sample = SAMPLES[1];
    let refused = |limits: Limits| Message::parse_within(sample, &limits).unwrap_err().problem;
    let default = Limits::default();

    assert!(
        refused(Limits {
            message_max_bytes: sample.len() - 1,
            ..default
        })
        .contains("larger")
    );
    assert!(
        refused(Limits {
            segments_max: 3,
            ..default
        })
        .contains("more segments")
    );
    assert!(
        refused(Limits {
            fields_per_segment_max: 10,
            ..default
        })
        .contains("more fields")
    );
}

#[test]
fn a_line_feed_inside_a_cr_terminated_message_is_content() {
    let bytes = b"MSH|^~\\&|A|B|C|D|1||ORU^R01|1|P|2.5\rPID|1||7\rOBX|1|TX|1||one\ntwo\nPV1|1|O\r\n";

    let message = Message::parse(bytes).unwrap();

    assert_eq!(message.segments("OBX").next().unwrap().field(5).text(), "one\ntwo");
    assert_eq!(message.segments("PV1").count(), 1);
}

#[test]
fn custom_delimiters_are_honoured() {
    let bytes = b"MSH#*!?%#LAB*1.2*ISO####1##ADT*A04#1#P#2.5\rPID#1##77*5**X%1.2%ISO*MR!88##O?F?Neil*A|b^c\r";

    let message = Message::parse(bytes).unwrap();
    let patient = message.patient().unwrap();

    assert_eq!(
        message.header().sending_application.universal_id.as_deref(),
        Some("1.2")
    );
    assert_eq!(patient.identifiers.len(), 2);
    assert_eq!(
        patient.identifiers[0]
            .authority
            .as_ref()
            .unwrap()
            .universal_id
            .as_deref(),
        Some("1.2")
    );
    let name = patient.name().unwrap();
    assert_eq!(
        (name.family.as_deref(), name.given.as_deref()),
        (Some("O#Neil"), Some("A|b^c"))
    );
    let msh = message.segments("MSH").next().unwrap();
    assert_eq!(
        (msh.field(1).raw(), msh.field(2).text().as_ref(), msh.field(12).raw()),
        ("#", "*!?%", "2.5")
    );
}
