//! Acknowledgements: writing ours, also for bytes that are no readable message, and reading those we get.
//!
//! Whoever leaves MSH-15 and MSH-16 empty wants original mode: one AA, AE or AR. Otherwise enhanced mode holds: an accept
//! acknowledgement (CA, CE, CR) as MSH-15 says, then an application acknowledgement (AA, AE, AR) as MSH-16 says. An
//! acknowledgement is never acknowledged. No content of the message goes into one, except what its sender called it.

use super::build::{Head, SegmentText, message_in};
use super::charset::Charset;
use super::datatypes::{Designator, tidy};
use super::delimiters::Delimiters;
use super::error::{ErrorCode, Hl7Error, SegmentId};
use super::header::{AckCondition, Header, control_id};
use super::segments::{Limits, Segments, message_body};

/// HL7 table 0008.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckCode {
    /// AA
    ApplicationAccept,
    /// AE
    ApplicationError,
    /// AR
    ApplicationReject,
    /// CA
    CommitAccept,
    /// CE
    CommitError,
    /// CR
    CommitReject,
}

/// What became of a message, for its acknowledgement.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// It is kept, durably.
    Accepted,
    Refused(&'a Hl7Error),
}

/// When an acknowledgement is made, and what it is called: its own MSH-7 (HL7 DTM) and MSH-10.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    pub time: &'a str,
    pub control_id: &'a str,
}

/// What an acknowledgement needs to know of the message it answers.
#[derive(Clone)]
pub struct Envelope {
    /// MSH-3 to MSH-6, in the message's own direction.
    sender: [Designator; 2],
    receiver: [Designator; 2],
    event: Option<String>,
    is_acknowledgement: bool,
    control_id: Option<String>,
    processing_id: Option<String>,
    version: Option<String>,
    accept_condition: Option<AckCondition>,
    application_condition: Option<AckCondition>,
    charset: Charset,
}

conceal_debug!(Envelope);

impl AckCode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApplicationAccept => "AA",
            Self::ApplicationError => "AE",
            Self::ApplicationReject => "AR",
            Self::CommitAccept => "CA",
            Self::CommitError => "CE",
            Self::CommitReject => "CR",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let codes = [
            Self::ApplicationAccept,
            Self::ApplicationError,
            Self::ApplicationReject,
            Self::CommitAccept,
            Self::CommitError,
            Self::CommitReject,
        ];
        codes
            .into_iter()
            .find(|code| code.as_str().eq_ignore_ascii_case(text.trim()))
    }

    /// AA or CA.
    pub fn accepts(self) -> bool {
        matches!(self, Self::ApplicationAccept | Self::CommitAccept)
    }

    /// The application acknowledgement of a verdict: AA, AE or AR.
    pub fn application(verdict: Verdict<'_>) -> Self {
        match verdict {
            Verdict::Accepted => Self::ApplicationAccept,
            Verdict::Refused(error) if error.code.rejects() => Self::ApplicationReject,
            Verdict::Refused(_) => Self::ApplicationError,
        }
    }

    /// The accept acknowledgement of a verdict: CA, CE or CR.
    pub fn accept(verdict: Verdict<'_>) -> Self {
        match verdict {
            Verdict::Accepted => Self::CommitAccept,
            Verdict::Refused(error) if error.code.rejects() => Self::CommitReject,
            Verdict::Refused(_) => Self::CommitError,
        }
    }
}

impl From<&Header> for Envelope {
    fn from(header: &Header) -> Self {
        Self {
            sender: [header.sending_application.clone(), header.sending_facility.clone()],
            receiver: [header.receiving_application.clone(), header.receiving_facility.clone()],
            event: header.message_type.event().map(str::to_owned),
            is_acknowledgement: header.is_acknowledgement(),
            control_id: Some(header.control_id.clone()),
            processing_id: header.processing_id.clone(),
            version: header.version.clone(),
            accept_condition: header.accept_condition,
            application_condition: header.application_condition,
            charset: header.charset,
        }
    }
}

impl Envelope {
    /// As much of MSH as can be made out in bytes that [`super::Message::parse`] refused; all empty when there is no MSH.
    pub fn salvage(bytes: &[u8]) -> Self {
        let line = message_body(bytes)
            .split(|b| matches!(b, b'\r' | b'\n'))
            .next()
            .unwrap_or_default();
        let line = &line[..line.len().min(SALVAGED_MAX_BYTES)];
        let separator = line.get(3).copied().filter(u8::is_ascii_punctuation).unwrap_or(b'|');
        // With delimiters that cannot be right, the standard ones are the best guess, and a sound MSH-2 stands in for theirs.
        let delimiters = Delimiters::declared(line).unwrap_or(Delimiters {
            field: char::from(separator),
            ..Delimiters::STANDARD
        });
        let printable = |field: &[u8]| -> String {
            let text = String::from_utf8_lossy(field);
            text.chars()
                .filter(|c| !c.is_control() && *c != char::REPLACEMENT_CHARACTER)
                .collect()
        };
        let fields: Vec<String> = if line.starts_with(b"MSH") {
            line.split(|b| *b == separator).map(printable).collect()
        } else {
            Vec::new()
        };
        let plain = |raw: &str| tidy(delimiters.unescape(raw, Charset::Utf8));
        // `fields[n - 1]` is MSH-n.
        let field = |n: usize| fields.get(n - 1).map(String::as_str).unwrap_or_default();
        let parts = |n: usize| -> Vec<&str> { field(n).split(|c| Some(c) == delimiters.component).collect() };
        let part = |n: usize, component: usize| parts(n).get(component - 1).copied().and_then(plain);
        let designator = |n: usize| Designator {
            namespace: part(n, 1),
            universal_id: part(n, 2),
            universal_id_type: part(n, 3),
        };
        Self {
            sender: [designator(3), designator(4)],
            receiver: [designator(5), designator(6)],
            event: part(9, 2).filter(|event| is_event(event)),
            is_acknowledgement: part(9, 1).is_some_and(|code| matches!(code.as_str(), "ACK" | "MCF")),
            control_id: plain(field(10)),
            processing_id: part(11, 1),
            version: part(12, 1),
            accept_condition: AckCondition::read(field(15)),
            application_condition: AckCondition::read(field(16)),
            charset: Charset::Utf8,
        }
    }

    /// The acknowledgements the sender asks for, in the order to send them; none is possible.
    pub fn wanted(&self, verdict: Verdict<'_>) -> Vec<AckCode> {
        if self.is_acknowledgement {
            return Vec::new();
        }
        if self.accept_condition.is_none() && self.application_condition.is_none() {
            return vec![AckCode::application(verdict)];
        }
        let wants = |condition: Option<AckCondition>| match (condition, verdict) {
            (Some(AckCondition::Always), _)
            | (Some(AckCondition::OnSuccess), Verdict::Accepted)
            | (Some(AckCondition::OnError), Verdict::Refused(_)) => true,
            (Some(AckCondition::OnSuccess), Verdict::Refused(_))
            | (Some(AckCondition::OnError), Verdict::Accepted)
            | (Some(AckCondition::Never) | None, _) => false,
        };
        let accept = wants(self.accept_condition).then(|| AckCode::accept(verdict));
        let application = wants(self.application_condition).then(|| AckCode::application(verdict));
        accept.into_iter().chain(application).collect()
    }

    /// One acknowledgement as bytes, not yet framed. It names a refusal as the sender's version spells it: in ERR-2, ERR-3,
    /// ERR-4 and ERR-8; before v2.5 also in ERR-1 and MSA-3, where an older sender looks for it.
    pub fn acknowledgement(&self, code: AckCode, verdict: Verdict<'_>, stamp: Stamp<'_>) -> Vec<u8> {
        let version = self.version.as_deref().unwrap_or(DEFAULT_VERSION);
        let echoed = self.control_id.as_deref().unwrap_or_default();
        let mut msa = SegmentText::new(SegmentId::MSA).text(1, code.as_str()).text(2, echoed);
        let mut err = None;
        if let Verdict::Refused(error) = verdict {
            if knows_err_2(version) {
                err = Some(err_segment(error));
            } else {
                msa = msa.text(3, &user_message(error));
                err = Some(err_segment_before_2_5(error));
            }
        }
        let event = self.event.as_deref().unwrap_or_default();
        let message_type: &[&str] = if knows_structure(version) {
            &["ACK", event, "ACK"]
        } else {
            &["ACK", event]
        };
        let head = Head {
            sending_application: self.receiver[0].clone(),
            sending_facility: self.receiver[1].clone(),
            receiving_application: self.sender[0].clone(),
            receiving_facility: self.sender[1].clone(),
            time: stamp.time,
            message_type,
            control_id: stamp.control_id,
            processing_id: self.processing_id.as_deref().unwrap_or("P"),
            version,
            ..Head::default()
        };
        let segments: Vec<SegmentText> = std::iter::once(msa).chain(err).collect();
        self.encoded(head, &segments)
    }

    /// In the sender's character set, named when the text needs one.
    fn encoded(&self, head: Head<'_>, segments: &[SegmentText]) -> Vec<u8> {
        let plain = message_in(&head, segments, Charset::Utf8);
        if plain.is_ascii() {
            return plain;
        }
        let charset = match self.charset {
            Charset::Utf8 => "UNICODE UTF-8",
            Charset::Latin1 => "8859/1",
        };
        message_in(&Head { charset, ..head }, segments, self.charset)
    }
}

/// As much of a first line as salvaging looks at.
const SALVAGED_MAX_BYTES: usize = 4096;

/// Said when the sender names no version.
const DEFAULT_VERSION: &str = "2.5.1";

fn is_event(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// The minor version: 5 of `2.5.1`. A version that cannot be read counts as a new one.
fn minor(version: &str) -> u32 {
    version
        .split('.')
        .nth(1)
        .and_then(|minor| minor.trim().parse().ok())
        .unwrap_or(u32::MAX)
}

fn knows_err_2(version: &str) -> bool {
    minor(version) >= 5
}

/// MSH-9.3 came with v2.3.1.
fn knows_structure(version: &str) -> bool {
    minor(version) >= 4 || version.trim() == "2.3.1"
}

fn user_message(error: &Hl7Error) -> String {
    format!("{}: {}", error.location, error.problem)
}

fn err_segment(error: &Hl7Error) -> SegmentText {
    let occurrence = error.location.occurrence.to_string();
    let field = error.location.field.map(|field| field.to_string()).unwrap_or_default();
    let code = error.code.number().to_string();
    SegmentText::new(SegmentId::ERR)
        .repetition(2, &[error.location.segment.as_str(), &occurrence, &field])
        .repetition(3, &[&code, error.code.text(), "HL70357"])
        .text(4, "E")
        .text(8, &user_message(error))
}

/// ERR-1 is an ELD: segment, its occurrence, the field, and the code as subcomponents. What follows is of v2.5, and a sender
/// that does not know it passes over it; whoever reads the log finds the code in one place for all versions.
fn err_segment_before_2_5(error: &Hl7Error) -> SegmentText {
    use super::build::Part::{Subcomponents, Text};
    let occurrence = error.location.occurrence.to_string();
    let field = error.location.field.map(|field| field.to_string()).unwrap_or_default();
    let code = error.code.number().to_string();
    let coded = [code.as_str(), error.code.text(), "HL70357"];
    let segment = error.location.segment.as_str();
    err_segment(error).parts(
        1,
        &[Text(segment), Text(&occurrence), Text(&field), Subcomponents(&coded)],
    )
}

/// An acknowledgement that a partner sent us.
#[derive(Clone)]
pub struct Acknowledgement {
    pub code: AckCode,
    /// MSA-2: the control id of the message it answers.
    pub answers: String,
    /// The partner's own error codes, ERR-3.1 or ERR-1.4.1, as sent.
    pub error_codes: Vec<String>,
    /// MSA-3 and ERR-8. Partners put content into it: show it to whoever may see the message, and log it nowhere.
    pub text: Option<String>,
}

conceal_debug!(Acknowledgement);

impl Acknowledgement {
    /// Reads any message with an MSA, whatever its type and version, with or without a CR (or with an MLLP end) behind the
    /// last segment. Only MSA-1 and MSA-2 have to be sound.
    pub fn parse(bytes: &[u8]) -> Result<Self, Hl7Error> {
        let segments = Segments::split(bytes, &Limits::default())?;
        let msa = segments.first(SegmentId::MSA).ok_or_else(|| {
            Hl7Error::segment(
                ErrorCode::SegmentSequence,
                SegmentId::MSA,
                1,
                "an acknowledgement needs an MSA segment",
            )
        })?;
        let stated = tidy(msa.field(1).text()).ok_or_else(|| msa.missing(1))?;
        let problem = "acknowledgement code has to be AA, AE, AR, CA, CE or CR";
        let code = AckCode::parse(&stated).ok_or_else(|| msa.error(ErrorCode::TableValueNotFound, 1, problem))?;
        let answers = control_id(&msa.field(2)).ok_or_else(|| msa.missing(2))?;
        let mut error_codes = Vec::new();
        let mut texts: Vec<String> = tidy(msa.field(3).whole_text()).into_iter().collect();
        for err in segments.named(SegmentId::ERR) {
            let located = err.field(1);
            let old = located
                .repetitions()
                .filter_map(|eld| tidy(eld.component(4).subcomponent(1)));
            match tidy(err.field(3).text()) {
                Some(code) => error_codes.push(code),
                None => error_codes.extend(old),
            }
            texts.extend(tidy(err.field(8).whole_text()));
        }
        Ok(Self {
            code,
            answers,
            error_codes,
            text: (!texts.is_empty()).then(|| texts.join("\n")),
        })
    }
}
