//! The acknowledgement: always exactly one, in original mode (AA, AE or AR), whatever MSH-15 and MSH-16 ask, so that no
//! sender waits in vain.

use formats::hl7::ack::{AckCode, Envelope, Stamp, Verdict};
use formats::hl7::{ErrorCode, Header, Hl7Error, SegmentId};
use jiff::Timestamp;
use sync_protocol::RecordId;

/// What answers one message.
#[derive(Clone)]
pub struct Answering(Envelope);

/// When an answer is made, and a random id for it.
#[derive(Clone, Copy)]
pub struct AnswerStamp {
    /// Milliseconds since 1970.
    pub now_ms: i64,
    pub id: RecordId,
}

/// Told of the message as a whole: nothing of it is at fault that its sender could mend.
fn whole(problem: &'static str) -> Hl7Error {
    Hl7Error::segment(ErrorCode::Internal, SegmentId::MSH, 1, problem)
}

impl Answering {
    pub(super) fn to(header: &Header) -> Answering {
        Answering(Envelope::from(header))
    }

    /// To bytes that are no message, as far as it can be made out who sent them.
    pub(super) fn to_salvaged(bytes: &[u8]) -> Answering {
        Answering(Envelope::salvage(bytes))
    }

    pub fn accepted(&self, stamp: AnswerStamp) -> Vec<u8> {
        let verdict = Verdict::Accepted;
        self.text(AckCode::application(verdict), verdict, stamp)
    }

    pub fn refused(&self, stamp: AnswerStamp, refusal: &Hl7Error) -> Vec<u8> {
        let verdict = Verdict::Refused(refusal);
        self.text(AckCode::application(verdict), verdict, stamp)
    }

    /// AE 207: it is kept, could not be used, and would not be another time.
    pub fn unused(&self, stamp: AnswerStamp) -> Vec<u8> {
        let refusal = whole("message is kept but could not be used here; somebody has to look");
        self.text(AckCode::ApplicationError, Verdict::Refused(&refusal), stamp)
    }

    /// AR 207: nothing of it was kept, for a reason that is not the message's; the sender is to try again.
    pub fn not_kept(&self, now_ms: i64) -> Vec<u8> {
        let refusal = whole("message could not be kept here; send it again later");
        self.named(
            AckCode::ApplicationReject,
            Verdict::Refused(&refusal),
            now_ms,
            &format!("N{now_ms}"),
        )
    }

    /// Its id has twenty characters, the longest that MSH-10 may be before v2.7.
    fn text(&self, code: AckCode, verdict: Verdict<'_>, stamp: AnswerStamp) -> Vec<u8> {
        let mut id = stamp.id.to_string();
        id.truncate(20);
        self.named(code, verdict, stamp.now_ms, &id)
    }

    fn named(&self, code: AckCode, verdict: Verdict<'_>, now_ms: i64, control_id: &str) -> Vec<u8> {
        let now = Timestamp::from_millisecond(now_ms).unwrap_or_default();
        let time = now.strftime("%Y%m%d%H%M%S+0000").to_string();
        let stamp = Stamp {
            time: &time,
            control_id,
        };
        self.0.acknowledgement(code, verdict, stamp)
    }
}
