//! Delimiters (MSH-1, MSH-2) and escape sequences.

use std::borrow::Cow;

use super::charset::Charset;
use super::error::{ErrorCode, Hl7Error, SegmentId};

/// The characters that take a message apart. One that MSH-2 does not declare separates nothing, so that `AT&T` stays whole
/// for a sender without subcomponents; an empty MSH-2 means the recommended four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    pub field: char,
    pub component: Option<char>,
    pub repetition: Option<char>,
    pub escape: Option<char>,
    pub subcomponent: Option<char>,
    pub truncation: Option<char>,
}

impl Delimiters {
    /// `|^~\&`, which everything we write uses.
    pub const STANDARD: Self = Self {
        field: '|',
        component: Some('^'),
        repetition: Some('~'),
        escape: Some('\\'),
        subcomponent: Some('&'),
        truncation: None,
    };

    /// What `MSH-1` and `MSH-2` declare, given the bytes of the MSH segment.
    pub(crate) fn declared(msh: &[u8]) -> Result<Self, Hl7Error> {
        let wrong = |field, problem| Hl7Error::field(ErrorCode::DataType, SegmentId::MSH, field, problem);
        let field = *msh.get(3).ok_or_else(|| Hl7Error::missing(SegmentId::MSH, 1))?;
        if !field.is_ascii_punctuation() {
            return Err(wrong(1, "field separator has to be a punctuation character, such as |"));
        }
        let rest = msh.get(4..).unwrap_or_default();
        let declared = rest.split(|b| *b == field).next().unwrap_or_default();
        if declared.is_empty() {
            return Ok(Self {
                field: char::from(field),
                ..Self::STANDARD
            });
        }
        if declared.len() > 5 || !declared.iter().all(u8::is_ascii_punctuation) {
            return Err(wrong(
                2,
                "encoding characters have to be up to five punctuation characters, such as ^~\\&",
            ));
        }
        if (1..declared.len()).any(|at| declared[..at].contains(&declared[at])) {
            return Err(wrong(2, "encoding characters have to differ from each other"));
        }
        let nth = |at: usize| declared.get(at).copied().map(char::from);
        Ok(Self {
            field: char::from(field),
            component: nth(0),
            repetition: nth(1),
            escape: nth(2),
            subcomponent: nth(3),
            truncation: nth(4),
        })
    }

    /// For a field that is not to be taken apart: MSH-1 and MSH-2 themselves.
    pub(crate) fn none(field: char) -> Self {
        Self {
            field,
            component: None,
            repetition: None,
            escape: None,
            subcomponent: None,
            truncation: None,
        }
    }

    /// Text as its writer meant it. Hexadecimal escapes are read in the message's character set, `\.br\` and `\.sp\` become
    /// line breaks, highlighting goes; what is not understood (local `\Z…\`, formatting commands, a stray escape character)
    /// stays as it was sent.
    pub fn unescape<'a>(&self, text: &'a str, charset: Charset) -> Cow<'a, str> {
        let Some(escape) = self.escape else {
            return Cow::Borrowed(text);
        };
        if !text.contains(escape) {
            return Cow::Borrowed(text);
        }
        let mut plain = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(escape) {
            let (before, from_escape) = rest.split_at(start);
            plain.push_str(before);
            let body_on = &from_escape[escape.len_utf8()..];
            let Some(end) = body_on.find(escape) else {
                plain.push_str(from_escape);
                return Cow::Owned(plain);
            };
            let (body, from_close) = body_on.split_at(end);
            let after = &from_close[escape.len_utf8()..];
            if let Some(meant) = self.meaning(body, charset) {
                plain.push_str(&meant);
                rest = after;
            } else if body.starts_with(['.', 'C', 'M', 'X', 'Z']) {
                plain.push_str(&from_escape[..from_escape.len() - after.len()]);
                rest = after;
            } else {
                plain.push(escape);
                plain.push_str(body);
                rest = from_close;
            }
        }
        plain.push_str(rest);
        Cow::Owned(plain)
    }

    fn meaning(&self, body: &str, charset: Charset) -> Option<String> {
        let delimiter = |character: Option<char>| character.map(String::from);
        match body {
            "F" => Some(self.field.to_string()),
            "S" => delimiter(self.component),
            "R" => delimiter(self.repetition),
            "E" => delimiter(self.escape),
            "T" => delimiter(self.subcomponent),
            "P" => delimiter(self.truncation),
            "H" | "N" => Some(String::new()),
            ".br" | ".sp" => Some("\n".to_owned()),
            _ => hexadecimal(body.strip_prefix('X')?).and_then(|bytes| charset.decode(&bytes).ok()),
        }
    }

    /// Text such that a reader with these delimiters gets it back, whatever is in it; control characters are sent as
    /// hexadecimal so that neither segments nor MLLP frames break, and a text of two quotes is not taken for the HL7 null.
    pub fn escape(&self, text: &str) -> String {
        let Some(escape) = self.escape else {
            return text.to_owned();
        };
        let mut escaped = String::with_capacity(text.len());
        for (at, character) in text.chars().enumerate() {
            let letter = match character {
                c if c == self.field => "F",
                c if Some(c) == self.component => "S",
                c if Some(c) == self.repetition => "R",
                c if Some(c) == self.escape => "E",
                c if Some(c) == self.subcomponent => "T",
                c if Some(c) == self.truncation => "P",
                '\n' => ".br",
                '"' if at == 0 && text == super::NULL => "X22",
                c if c.is_ascii_control() => {
                    escaped.push_str(&format!("{escape}X{:02X}{escape}", u32::from(c)));
                    continue;
                }
                c => {
                    escaped.push(c);
                    continue;
                }
            };
            escaped.push(escape);
            escaped.push_str(letter);
            escaped.push(escape);
        }
        escaped
    }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(text: &str) -> String {
        Delimiters::STANDARD.unescape(text, Charset::Utf8).into_owned()
    }

    #[test]
    fn each_standard_escape_gives_its_character() {
        assert_eq!(plain(r"a\F\b\S\c\T\d\R\e\E\f"), r"a|b^c&d~e\f");
        assert_eq!(plain(r"one\.br\two\X0D0A\three"), "one\ntwo\r\nthree");
        assert_eq!(plain(r"\H\loud\N\ quiet"), "loud quiet");
        assert_eq!(plain(r"caf\XC3A9\"), "café");
        assert_eq!(Delimiters::STANDARD.unescape(r"caf\XE9\", Charset::Latin1), "café");
    }

    #[test]
    fn what_is_not_understood_stays_as_sent() {
        for text in [
            r"C:\temp\x",
            r"\",
            r"a\",
            r"\Zlocal\",
            r"\.in+4\",
            r"\X4\",
            r"\XFF\",
            r"\X\",
            r"\\",
        ] {
            assert_eq!(plain(text), text);
        }
        assert_eq!(plain(r"a\b\F\c"), r"a\b|c");
    }

    #[test]
    fn a_delimiter_that_is_not_declared_separates_nothing() {
        let declared = Delimiters::declared(b"MSH|^~|X").unwrap();

        assert_eq!((declared.escape, declared.subcomponent), (None, None));
        assert_eq!(declared.unescape(r"a\F\b", Charset::Utf8), r"a\F\b");
    }

    #[test]
    fn an_empty_msh_2_means_the_recommended_ones() {
        assert_eq!(Delimiters::declared(b"MSH||X").unwrap(), Delimiters::STANDARD);
        assert_eq!(Delimiters::declared(b"MSH|").unwrap(), Delimiters::STANDARD);
    }

    #[test]
    fn msh_1_and_msh_2_are_checked() {
        for (msh, field) in [
            (&b"MSH"[..], 1),
            (b"MSHA", 1),
            (b"MSH|^^~|", 2),
            (b"MSH|^~\\&#!|", 2),
            (b"MSH|a|", 2),
        ] {
            let refused = Delimiters::declared(msh).unwrap_err();
            assert_eq!(refused.location.field, Some(field));
        }
        assert_eq!(Delimiters::declared(b"MSH|^~\\&#|").unwrap().truncation, Some('#'));
    }

    proptest! {
        #[test]
        fn any_text_survives_escaping(text in any::<String>(), custom in any::<bool>()) {
            let delimiters = if custom {
                Delimiters::declared(b"MSH$%*!@#$").unwrap()
            } else {
                Delimiters::STANDARD
            };

            let escaped = delimiters.escape(&text);

            prop_assert!(!escaped.contains(|c: char| c.is_ascii_control()));
            prop_assert!(!escaped.contains(delimiters.field));
            prop_assert_ne!(&escaped, super::super::NULL);
            prop_assert_eq!(delimiters.unescape(&escaped, Charset::Utf8), text);
        }

        #[test]
        fn unescaping_takes_any_text(text in r"[\\A-Z.a-z0-9é]{0,40}") {
            plain(&text);
        }
    }
}
