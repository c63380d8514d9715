//! The codes of a set while its file is read: each once, with the line that it came from, in the form that sites read.

use std::collections::BTreeMap;

use clinic::code_set::{CODE_MAX_BYTES, CODES_MAX, CodeStanding, TEXT_MAX_BYTES, render};

use super::finding::Findings;

#[derive(Clone, Default)]
pub(crate) struct CodeList {
    codes: BTreeMap<String, (CodeStanding, String)>,
    lines: BTreeMap<String, u64>,
}

/// How hard a set is packed, and how far back a packed file may refer: a site unpacks it in so much memory.
const LEVEL: i32 = 12;
const WINDOW_LOG: u32 = 20;

impl CodeList {
    pub(super) fn add(&mut self, line: u64, code: &str, standing: CodeStanding, text: &str, findings: &mut Findings) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let fits = |part: &str, max: usize| part.len() <= max && !part.contains(char::is_control);
        if code.is_empty() || !fits(code, CODE_MAX_BYTES) {
            findings.add(
                line,
                "code",
                format!("is empty, longer than {CODE_MAX_BYTES} bytes, or not a word"),
            );
        } else if text.is_empty() || !fits(&text, TEXT_MAX_BYTES) {
            findings.add(line, "text", format!("is empty or longer than {TEXT_MAX_BYTES} bytes"));
        } else if self.codes.len() >= CODES_MAX {
            findings.add(line, "", format!("is beyond the {CODES_MAX} codes that a set may have"));
        } else {
            findings.unique(&mut self.lines, code.to_owned(), line, "code");
            self.codes.insert(code.to_owned(), (standing, text));
        }
    }

    pub(super) fn standing_of(&self, code: &str) -> Option<CodeStanding> {
        self.codes.get(code).map(|(standing, _)| *standing)
    }

    #[cfg(test)]
    pub(super) fn has_bare(&self, bare: &str) -> bool {
        let (category, rest) = bare.split_at(3);
        let code = if rest.is_empty() {
            category.to_owned()
        } else {
            format!("{category}.{rest}")
        };
        self.codes.contains_key(&code)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.codes.len()
    }

    /// The file that sites fetch.
    pub(super) fn packed(&self) -> std::io::Result<Vec<u8>> {
        use std::io::Write;
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), LEVEL)?;
        encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(WINDOW_LOG))?;
        encoder.include_checksum(false)?;
        encoder.write_all(render(&self.codes).as_bytes())?;
        encoder.finish()
    }
}
