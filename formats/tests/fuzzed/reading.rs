//! What the fuzz target `hl7` does with its input; the ordinary properties do it too.

use formats::hl7::Message;
use formats::hl7::ack::{Acknowledgement, Envelope, Stamp, Verdict};

/// Reads all there is to read, and answers it; every answer is itself a message.
pub(crate) fn read_everything(bytes: &[u8]) {
    let stamp = Stamp {
        time: "20260101000000+0000",
        control_id: "1",
    };
    let refused = match Message::parse(bytes) {
        Ok(message) => {
            for segment in message.all_segments() {
                for n in 0..50 {
                    let field = segment.field(n);
                    let _ = (field.is_empty(), field.is_null(), field.text());
                    for repetition in field.repetitions() {
                        let _ = (repetition.whole_text(), repetition.component(2).subcomponent(2));
                    }
                }
            }
            let _ = (
                message.event(),
                message.visit(),
                message.allergies(),
                message.coverages(),
                message.results(),
                message.booking().map(|booking| booking.timings()),
                message.merges(),
            );
            let envelope = Envelope::from(message.header());
            for code in envelope.wanted(Verdict::Accepted) {
                let ack = envelope.acknowledgement(code, Verdict::Accepted, stamp);
                assert_eq!(
                    Acknowledgement::parse(&ack).unwrap().answers,
                    message.header().control_id
                );
            }
            message.patient().err()
        }
        Err(refused) => Some(refused),
    };
    if let Some(refused) = refused {
        let (envelope, verdict) = (Envelope::salvage(bytes), Verdict::Refused(&refused));
        for code in envelope.wanted(verdict) {
            Message::parse(&envelope.acknowledgement(code, verdict, stamp)).unwrap();
        }
    }
    let _ = Acknowledgement::parse(bytes);
}
