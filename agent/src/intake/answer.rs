//! The acknowledgement: always exactly one, in original mode (AA, AE or AR), whatever MSH-15 and MSH-16 ask, so that no
//! sender waits in vain.

use formats::hl7::ack::{AckCode, Envelope, Stamp, Verdict};
use formats::hl7::{ErrorCode, Header, Hl7Error, SegmentId};
use jiff::Timestamp;

use crate::clock;
use crate::store::{TxError, WriteTx};

pub(super) struct Answering(Envelope);

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

    pub(super) fn accepted(&self, tx: &WriteTx<'_>) -> Result<Vec<u8>, TxError> {
        let verdict = Verdict::Accepted;
        Ok(self.text(AckCode::application(verdict), verdict, &control_id(tx)?))
    }

    pub(super) fn refused(&self, tx: &WriteTx<'_>, refusal: &Hl7Error) -> Result<Vec<u8>, TxError> {
        let verdict = Verdict::Refused(refusal);
        Ok(self.text(AckCode::application(verdict), verdict, &control_id(tx)?))
    }

    /// AE 207: it is kept, could not be used, and would not be another time.
    pub(super) fn unused(&self, tx: &WriteTx<'_>) -> Result<Vec<u8>, TxError> {
        let refusal = whole("message is kept but could not be used here; somebody has to look");
        Ok(self.text(AckCode::ApplicationError, Verdict::Refused(&refusal), &control_id(tx)?))
    }

    /// AR 207: nothing of it was kept, for a reason that is not the message's; the sender is to try again.
    pub(super) fn not_kept(&self) -> Vec<u8> {
        let refusal = whole("message could not be kept here; send it again later");
        let control = format!("N{}", clock::now_ms());
        self.text(AckCode::ApplicationReject, Verdict::Refused(&refusal), &control)
    }

    fn text(&self, code: AckCode, verdict: Verdict<'_>, control_id: &str) -> Vec<u8> {
        let now = Timestamp::from_millisecond(clock::now_ms()).unwrap_or_default();
        let time = now.strftime("%Y%m%d%H%M%S+0000").to_string();
        let stamp = Stamp {
            time: &time,
            control_id,
        };
        self.0.acknowledgement(code, verdict, stamp)
    }
}

/// Twenty characters, the longest that MSH-10 may be before v2.7; random, so that no two answers share one.
fn control_id(tx: &WriteTx<'_>) -> Result<String, TxError> {
    let mut id = tx.new_record_id()?.to_string();
    id.truncate(20);
    Ok(id)
}
