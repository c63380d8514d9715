//! Search parameters: names and escaped values (R4 search, 3.1.1.5.7).
//!
//! Values name people. Send them as the form of a `POST [type]/_search`, which keeps them out of addresses and so out of
//! everybody's logs; the HTTP client does the percent encoding there.

use crate::date::PartialDate;

/// How a date is compared with the one given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatePrefix {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
}

/// How a string is compared with the one given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextMatch {
    /// R4's default: begins with it, whatever the case and accents.
    Begins,
    Exact,
    Contains,
}

/// A search being put together, in the order its parameters were named. Parameters narrow each other.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SearchQuery {
    pairs: Vec<(String, String)>,
}

conceal_debug!(SearchQuery);

impl SearchQuery {
    pub fn new() -> Self {
        Self::default()
    }

    /// `identifier=system|value`: of exactly that system.
    pub fn token(self, name: &str, system: &str, value: &str) -> Self {
        let value = format!("{}|{}", escaped(system), escaped(value));
        self.pair(name.to_owned(), value)
    }

    /// `identifier=value`: of whatever system.
    pub fn token_of_any_system(self, name: &str, value: &str) -> Self {
        self.pair(name.to_owned(), escaped(value))
    }

    pub fn text(self, name: &str, compared: TextMatch, value: &str) -> Self {
        let name = match compared {
            TextMatch::Begins => name.to_owned(),
            TextMatch::Exact => format!("{name}:exact"),
            TextMatch::Contains => format!("{name}:contains"),
        };
        self.pair(name, escaped(value))
    }

    /// A date matches every moment within it, to the precision it has.
    pub fn date(self, name: &str, prefix: DatePrefix, date: PartialDate) -> Self {
        let prefix = match prefix {
            DatePrefix::Equal => "",
            DatePrefix::NotEqual => "ne",
            DatePrefix::Greater => "gt",
            DatePrefix::Less => "lt",
            DatePrefix::GreaterOrEqual => "ge",
            DatePrefix::LessOrEqual => "le",
        };
        self.pair(name.to_owned(), format!("{prefix}{}", date.to_fhir()))
    }

    /// `subject=Patient/123`.
    pub fn reference(self, name: &str, kind: &str, id: &str) -> Self {
        self.pair(name.to_owned(), format!("{kind}/{}", escaped(id)))
    }

    /// How many to a page.
    pub fn count(self, per_page: u32) -> Self {
        self.pair("_count".to_owned(), per_page.to_string())
    }

    /// Names and values, escaped for search but not percent-encoded: for the form of a `POST _search`.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// Percent-encoded as one text, for the `If-None-Exist` header of a conditional create, which no HTTP client encodes.
    pub fn to_query_string(&self) -> String {
        let encoded: Vec<String> = self
            .pairs
            .iter()
            .map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value)))
            .collect();
        encoded.join("&")
    }

    fn pair(mut self, name: String, value: String) -> Self {
        self.pairs.push((name, value));
        self
    }
}

/// With `\` before the characters that separate values.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, '\\' | ',' | '|' | '$') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates_values_is_escaped() {
        let query = SearchQuery::new()
            .token("identifier", "urn:oid:1.2", r"a|b,c$d\e")
            .token_of_any_system("identifier", "8")
            .text("family", TextMatch::Exact, "O'Neil, Jr")
            .text("given", TextMatch::Begins, "Zoë");

        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            query.pairs(),
            [
                pair("identifier", r"urn:oid:1.2|a\|b\,c\$d\\e"),
                pair("identifier", "8"),
                pair("family:exact", r"O'Neil\, Jr"),
                pair("given", "Zoë"),
            ]
        );
    }

    #[test]
    fn a_date_keeps_its_precision() {
        let day = PartialDate::new(1961, Some(6), Some(15)).unwrap();
        let month = PartialDate::new(1961, Some(6), None).unwrap();

        let query = SearchQuery::new().date("birthdate", DatePrefix::Equal, day).date(
            "birthdate",
            DatePrefix::LessOrEqual,
            month,
        );

        assert_eq!(query.to_query_string(), "birthdate=1961-06-15&birthdate=le1961-06");
    }

    #[test]
    fn a_query_string_is_percent_encoded() {
        let query = SearchQuery::new()
            .token("identifier", "http://a.example/mrn", "7 é&=")
            .count(5);

        assert_eq!(
            query.to_query_string(),
            "identifier=http%3A%2F%2Fa.example%2Fmrn%7C7%20%C3%A9%26%3D&_count=5"
        );
    }

    #[test]
    fn debug_tells_nothing_of_whom_is_searched() {
        let query = SearchQuery::new().text("family", TextMatch::Exact, "Quill");

        assert!(!format!("{query:?}").contains("Quill"));
    }
}
