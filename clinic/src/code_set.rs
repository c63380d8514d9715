//! The one form of a code set as a file: what the hub makes of an official list and every site reads. A line is
//! `code TAB standing TAB text LF`, UTF-8; the lines stand in the order in which codes are offered: those that may be
//! used, then headings, then retired ones; few words before many; then by code. So equal lists are equal bytes, and a
//! store that numbers the lines as they come can offer the first ones it finds.
//!
//! It refuses a line with a tab or line break inside, an empty code or text, and a standing that it does not know.

use std::collections::BTreeMap;

/// Longest code, in bytes: official ones have up to eight.
pub const CODE_MAX_BYTES: usize = 24;
/// Longest text of a code, in bytes: the longest official one has some three hundred.
pub const TEXT_MAX_BYTES: usize = 600;
/// Codes of one set: the largest official ones have some hundred thousand.
pub const CODES_MAX: usize = 250_000;
/// Longest line.
pub const LINE_MAX_BYTES: usize = CODE_MAX_BYTES + TEXT_MAX_BYTES + 4;

/// Whether a code may be used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CodeStanding {
    /// Whole and current: billable, in a list of diagnoses.
    Usable,
    /// Names a group of codes, and is none to be used itself.
    Heading,
    /// No longer to be given.
    Retired,
}

impl CodeStanding {
    pub const ALL: [CodeStanding; 3] = [CodeStanding::Usable, CodeStanding::Heading, CodeStanding::Retired];

    pub fn letter(self) -> char {
        match self {
            CodeStanding::Usable => 'u',
            CodeStanding::Heading => 'h',
            CodeStanding::Retired => 'r',
        }
    }

    pub fn parse(text: &str) -> Option<CodeStanding> {
        CodeStanding::ALL
            .into_iter()
            .find(|standing| text.chars().eq([standing.letter()]))
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodeEntry {
    pub code: String,
    pub standing: CodeStanding,
    pub text: String,
}

impl CodeEntry {
    /// Reads a line without its end.
    pub fn parse(line: &str) -> Option<CodeEntry> {
        let mut parts = line.split('\t');
        let (code, standing, text) = (parts.next()?, parts.next()?, parts.next()?);
        let fits = |part: &str, max: usize| !part.is_empty() && part.len() <= max && !part.contains(char::is_control);
        if parts.next().is_some() || !fits(code, CODE_MAX_BYTES) || !fits(text, TEXT_MAX_BYTES) {
            return None;
        }
        Some(CodeEntry {
            code: code.to_owned(),
            standing: CodeStanding::parse(standing)?,
            text: text.to_owned(),
        })
    }

    fn line(&self) -> String {
        format!("{}\t{}\t{}\n", self.code, self.standing.letter(), self.text)
    }
}

/// The whole file of a set whose codes are the keys.
pub fn render(codes: &BTreeMap<String, (CodeStanding, String)>) -> String {
    let mut entries: Vec<CodeEntry> = codes
        .iter()
        .map(|(code, (standing, text))| CodeEntry {
            code: code.clone(),
            standing: *standing,
            text: text.clone(),
        })
        .collect();
    entries.sort_by_cached_key(|entry| (entry.standing, entry.text.split(' ').count(), entry.code.clone()));
    entries.iter().map(CodeEntry::line).collect()
}

/// What a code is found by, however its dots, hyphens and case are typed: letters and digits alone. Empty for what has
/// none.
pub fn code_key(text: &str) -> String {
    let bare = text.chars().filter(char::is_ascii_alphanumeric);
    bare.map(|c| c.to_ascii_uppercase()).take(CODE_MAX_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_to_be_used_come_first_and_plain_ones_before_wordy_ones() {
        let code = |code: &str, standing, text: &str| (code.to_owned(), (standing, text.to_owned()));
        let codes = BTreeMap::from([
            code("J02", CodeStanding::Heading, "Acute pharyngitis"),
            code("J02.0", CodeStanding::Usable, "Streptococcal pharyngitis"),
            code("A01.00", CodeStanding::Usable, "Typhoid fever with a long name"),
        ]);

        let text = render(&codes);

        assert_eq!(
            text,
            "J02.0\tu\tStreptococcal pharyngitis\nA01.00\tu\tTyphoid fever with a long name\nJ02\th\tAcute pharyngitis\n"
        );
        let back: Vec<CodeEntry> = text.lines().map(|line| CodeEntry::parse(line).unwrap()).collect();
        assert_eq!(back.len(), 3);
    }

    #[test]
    fn a_line_that_is_not_whole_is_refused() {
        for line in [
            "",
            "J02",
            "J02\tu",
            "J02\tu\t",
            "\tu\ttext",
            "J02\tx\ttext",
            "J02\tu\ttext\tmore",
        ] {
            assert_eq!(CodeEntry::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_code_is_the_same_however_it_is_typed() {
        assert_eq!(code_key(" j02.9 "), "J029");
        assert_eq!(code_key("–"), "");
    }
}
