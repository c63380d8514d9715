//! Writes messages, with the standard delimiters and everything escaped that has to be.

use super::charset::Charset;
use super::delimiters::Delimiters;
use super::error::SegmentId;
use super::{Designator, NULL};

/// A component of a repetition: plain text, or subcomponents.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    Text(&'a str),
    Subcomponents(&'a [&'a str]),
}

/// One segment being written. Every method adds a repetition to its field, so calling twice gives two; fields may be
/// written in any order. MSH is written by [`message`].
#[derive(Clone)]
pub struct SegmentText {
    id: SegmentId,
    fields: Vec<String>,
}

/// What MSH says. MSH-1 and MSH-2 are always the standard delimiters.
#[derive(Clone, Default)]
pub struct Head<'a> {
    pub sending_application: Designator,
    pub sending_facility: Designator,
    pub receiving_application: Designator,
    pub receiving_facility: Designator,
    /// MSH-7, as HL7 DTM.
    pub time: &'a str,
    /// MSH-9: `["ADT", "A04", "ADT_A04"]`.
    pub message_type: &'a [&'a str],
    pub control_id: &'a str,
    pub processing_id: &'a str,
    pub version: &'a str,
    /// MSH-15, empty for original mode.
    pub accept_condition: &'a str,
    /// MSH-16
    pub application_condition: &'a str,
    /// MSH-18, empty for a message of ASCII text.
    pub charset: &'a str,
}

conceal_debug!(Part<'_>, SegmentText, Head<'_>);

impl SegmentText {
    pub fn new(id: SegmentId) -> Self {
        Self { id, fields: Vec::new() }
    }

    /// A repetition of one component.
    pub fn text(self, field: u16, text: &str) -> Self {
        self.repetition(field, &[text])
    }

    /// A repetition of several components.
    pub fn repetition(self, field: u16, components: &[&str]) -> Self {
        let parts: Vec<Part<'_>> = components.iter().map(|text| Part::Text(text)).collect();
        self.parts(field, &parts)
    }

    /// A repetition whose components may have subcomponents.
    pub fn parts(self, field: u16, parts: &[Part<'_>]) -> Self {
        let written: Vec<String> = parts.iter().map(part_text).collect();
        let raw = joined(&written, '^');
        self.raw(field, raw)
    }

    /// The HL7 null: whoever reads this deletes what they have.
    pub fn null(self, field: u16) -> Self {
        self.raw(field, NULL.to_owned())
    }

    fn raw(mut self, field: u16, raw: String) -> Self {
        let at = usize::from(field.max(1)) - 1;
        if self.fields.len() <= at {
            self.fields.resize(at + 1, String::new());
        }
        let written = &mut self.fields[at];
        if !written.is_empty() {
            written.push('~');
        }
        written.push_str(&raw);
        self
    }

    fn render(&self) -> String {
        let mut text = self.id.as_str().to_owned();
        for field in &self.fields {
            text.push('|');
            text.push_str(field);
        }
        text
    }
}

fn part_text(part: &Part<'_>) -> String {
    let escape = |text: &str| Delimiters::STANDARD.escape(text);
    match part {
        Part::Text(text) => escape(text),
        Part::Subcomponents(texts) => joined(&texts.iter().map(|text| escape(text)).collect::<Vec<_>>(), '&'),
    }
}

/// Joined by a delimiter, without the delimiters that nothing follows.
fn joined(texts: &[String], delimiter: char) -> String {
    let last = texts.iter().rposition(|text| !text.is_empty()).map_or(0, |at| at + 1);
    texts[..last].join(&delimiter.to_string())
}

/// One message: MSH and the segments after it, each ended by CR. Bytes are UTF-8.
pub fn message(head: &Head<'_>, segments: &[SegmentText]) -> Vec<u8> {
    message_in(head, segments, Charset::Utf8)
}

/// The same in another character set, which `head.charset` has to name.
pub(super) fn message_in(head: &Head<'_>, segments: &[SegmentText], charset: Charset) -> Vec<u8> {
    let designated = |segment: SegmentText, field: u16, designator: &Designator| {
        let part = |text: &Option<String>| text.clone().unwrap_or_default();
        let Designator {
            namespace,
            universal_id,
            universal_id_type,
        } = designator;
        segment.repetition(
            field,
            &[&part(namespace), &part(universal_id), &part(universal_id_type)],
        )
    };
    // MSH-1 is the separator itself, so that MSH-n is written as field n - 1.
    let mut msh = SegmentText::new(SegmentId::MSH).raw(1, r"^~\&".to_owned());
    msh = designated(msh, 2, &head.sending_application);
    msh = designated(msh, 3, &head.sending_facility);
    msh = designated(msh, 4, &head.receiving_application);
    msh = designated(msh, 5, &head.receiving_facility);
    msh = msh
        .text(6, head.time)
        .repetition(8, head.message_type)
        .text(9, head.control_id);
    msh = msh.text(10, head.processing_id).text(11, head.version);
    let options = [
        (14, head.accept_condition),
        (15, head.application_condition),
        (17, head.charset),
    ];
    for (field, text) in options.into_iter().filter(|(_, text)| !text.is_empty()) {
        msh = msh.text(field, text);
    }
    let mut text = String::new();
    for segment in std::iter::once(&msh).chain(segments) {
        text.push_str(&segment.render());
        text.push('\r');
    }
    charset.encode(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7::Message;

    #[test]
    fn fields_components_and_repetitions_land_where_they_belong() {
        let pid = SegmentText::new(SegmentId::PID)
            .text(8, "F")
            .parts(
                3,
                &[
                    Part::Text("77"),
                    Part::Text(""),
                    Part::Text(""),
                    Part::Subcomponents(&["A&B", "1.2", "ISO"]),
                ],
            )
            .repetition(3, &["88", "", "", "", "SS", ""])
            .null(7);

        assert_eq!(pid.render(), r#"PID|||77^^^A\T\B&1.2&ISO~88^^^^SS||||""|F"#);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let head = Head {
            sending_application: Designator {
                namespace: Some("MAINSTAY".to_owned()),
                ..Designator::default()
            },
            time: "20260102030405+0000",
            message_type: &["ORU", "R01", "ORU_R01"],
            control_id: "C|1",
            processing_id: "P",
            version: "2.5.1",
            charset: "UNICODE UTF-8",
            ..Head::default()
        };
        let note = "line one\nline two | with ^~\\& and \"\" é";
        let bytes = message(&head, &[SegmentText::new(SegmentId::NTE).text(3, note)]);

        let read = Message::parse(&bytes).unwrap();

        assert!(read.header().message_type.is("ORU", "R01"));
        assert_eq!(read.header().control_id, "C|1");
        let nte = read.segments("NTE").next().unwrap();
        assert_eq!(nte.field(3).text(), note);
    }
}
