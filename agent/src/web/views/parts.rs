//! The small parts pages are made of: icons, badges, marks, timers, patient names. They refuse to name a patient by one identifier:
//! there is no way to build a [`PatientName`] without a second one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use askama::Template;
use askama::filters::HtmlSafe;
use uuid::Uuid;

use super::assets;

/// One symbol of `assets/icons.svg`. It never stands alone: a word is always beside it.
#[derive(Template)]
#[template(
    source = r#"<svg class="icon" aria-hidden="true"><use href="{{ url }}#{{ name }}"/></svg>"#,
    ext = "html"
)]
pub struct Icon {
    name: &'static str,
    url: &'static str,
}

impl HtmlSafe for Icon {}

pub fn icon(name: &'static str) -> Icon {
    Icon {
        name,
        url: assets::icons_url(),
    }
}

/// How loud a part is. The tone comes last, after a shape and a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    Plain,
    Good,
    Wait,
    Watch,
    Act,
    /// Solid red: a named act is overdue.
    Solid,
}

impl Tone {
    pub fn class(self) -> &'static str {
        match self {
            Self::Plain => "plainly",
            Self::Good => "good",
            Self::Wait => "wait",
            Self::Watch => "watch",
            Self::Act => "act",
            Self::Solid => "solid",
        }
    }
}

/// A state: icon, word, tone.
#[derive(Template)]
#[template(
    source = r#"<span class="badge {{ tone.class() }}">{{ self::icon(icon) }}<span>{{ label }}</span></span>"#,
    ext = "html"
)]
pub struct Badge {
    pub icon: &'static str,
    pub label: String,
    pub tone: Tone,
}

impl HtmlSafe for Badge {}

/// A remark beside a state. At most two of them in a row of the board.
#[derive(Template)]
#[template(
    source = r#"<span class="tag {{ tone.class() }}">{% if let Some(name) = icon %}{{ self::icon(name) }}{% endif %}{{ label }}</span>"#,
    ext = "html"
)]
pub struct Mark {
    pub icon: Option<&'static str>,
    pub label: String,
    pub tone: Tone,
}

impl HtmlSafe for Mark {}

impl Mark {
    pub fn plain(label: impl Into<String>) -> Self {
        Self {
            icon: None,
            label: label.into(),
            tone: Tone::Plain,
        }
    }

    pub fn new(icon: &'static str, label: impl Into<String>, tone: Tone) -> Self {
        Self {
            icon: Some(icon),
            label: label.into(),
            tone,
        }
    }

    /// The patient has a TEMP number and no number of the EHR yet.
    pub fn temp() -> Self {
        Self::plain("TEMP")
    }

    pub fn allergies(count: usize) -> Self {
        let label = if count == 1 {
            "Allergy".to_owned()
        } else {
            format!("{count} allergies")
        };
        Self::new("allergy", label, Tone::Plain)
    }

    /// Two answers wait for a person, e.g. `Mark::two_values("Birth date")`.
    pub fn two_values(field_label: &str) -> Self {
        Self::new("alert", format!("{field_label}: two values"), Tone::Act)
    }

    pub fn look_alike() -> Self {
        Self::new("twins", "Look-alike", Tone::Watch)
    }

    /// Not matched to a patient of the EHR; somebody is asked.
    pub fn unmatched() -> Self {
        Self::new("unknown", "Not matched", Tone::Watch)
    }
}

/// Time in a state: plain, then a sign and the limit in words, then solid.
#[derive(Template)]
#[template(
    source = r#"<span class="timer {{ tone.class() }}">{% match tone %}{% when Tone::Act | Tone::Solid %}{{ self::icon("alert") }}{% when Tone::Watch %}{{ self::icon("late") }}{% when Tone::Plain | Tone::Good | Tone::Wait %}{% endmatch %}{{ label }}{% if let Some(limit) = limit %} <span class="limit">{{ limit }}</span>{% endif %}</span>"#,
    ext = "html"
)]
pub struct Timer {
    /// "41 min"
    pub label: String,
    /// "over 15" or "limit 20"
    pub limit: Option<String>,
    pub tone: Tone,
}

impl HtmlSafe for Timer {}

impl Timer {
    pub fn plain(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            limit: None,
            tone: Tone::Plain,
        }
    }
}

/// What stands beside the name. While the birth date is in dispute it identifies nobody: give a number then.
#[derive(Clone)]
pub enum SecondIdentifier {
    /// `iso` "1990-08-19", `label` "19 Aug 1990", `age` "35 y" (empty when not known to the day)
    Born { iso: String, label: String, age: String },
    /// `kind` "TEMP" or "MRN"
    Number { kind: String, value: String },
}

/// A patient named on a row, list or sheet: always by two identifiers. Names wrap, they are never cut.
#[derive(Template)]
#[template(path = "patient_name.html")]
pub struct PatientName {
    /// Last, first
    pub name: String,
    pub second: SecondIdentifier,
    /// `/patients/{id}`, where this person may open it
    pub href: Option<String>,
}

impl HtmlSafe for PatientName {}

impl PatientName {
    /// For inside a summary, where a link would be a control within a control.
    pub(super) fn unlinked(&self) -> Self {
        Self {
            name: self.name.clone(),
            second: self.second.clone(),
            href: None,
        }
    }
}

/// A text whose differing words are marked, so that two values can be compared at a glance.
#[derive(Template)]
#[template(
    source = r#"{% for word in words %}{% if !loop.first %} {% endif %}{% if word.differs %}<mark>{{ word.text }}</mark>{% else %}{{ word.text }}{% endif %}{% endfor %}"#,
    ext = "html"
)]
pub struct Marked {
    pub words: Vec<Word>,
}

impl HtmlSafe for Marked {}

pub struct Word {
    pub text: String,
    pub differs: bool,
}

impl Marked {
    pub fn plain(text: &str) -> Self {
        Self {
            words: text
                .split_whitespace()
                .map(|word| Word {
                    text: word.to_owned(),
                    differs: false,
                })
                .collect(),
        }
    }

    /// Marks in each text the words that are not in every one of them.
    pub fn compare(texts: &[&str]) -> Vec<Self> {
        let sets: Vec<BTreeSet<&str>> = texts.iter().map(|text| text.split_whitespace().collect()).collect();
        texts
            .iter()
            .map(|text| Self {
                words: text
                    .split_whitespace()
                    .map(|word| Word {
                        text: word.to_owned(),
                        differs: !sets.iter().all(|set| set.contains(word)),
                    })
                    .collect(),
            })
            .collect()
    }
}

/// A filter above a list; `href` holds no personal data.
pub struct Choice {
    pub href: String,
    pub label: String,
    pub count: u32,
    pub current: bool,
}

/// A label and its value in a list of facts; `code` sets the value in the monospaced face.
pub struct Fact {
    pub label: String,
    pub value: String,
    pub code: bool,
}

impl Fact {
    pub fn new(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            value: value.into(),
            code: false,
        }
    }

    pub fn code(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            value: value.into(),
            code: true,
        }
    }
}

/// Says what happened, then what to do.
#[derive(Template)]
#[template(
    source = r#"<p class="notice {{ tone.class() }}" role="status"><b>{{ happened }}</b> {{ todo }}</p>"#,
    ext = "html"
)]
pub struct Notice {
    pub tone: Tone,
    pub happened: String,
    pub todo: String,
}

impl HtmlSafe for Notice {}

/// What every form of one rendered page carries: `csrf`, `back` and its own `request` id.
///
/// Clones count on together, so a page and the fragments in it never give the same `request` twice.
#[derive(Clone)]
pub struct FormKeys {
    csrf: Arc<str>,
    back: Arc<str>,
    page: Uuid,
    given: Arc<AtomicU32>,
}

impl FormKeys {
    /// `back` is the path this page was asked under, filters included; `page` is random, fresh for every rendering.
    pub fn new(csrf: &str, back: &str, page: Uuid) -> Self {
        Self {
            csrf: csrf.into(),
            back: back.into(),
            page,
            given: Arc::new(AtomicU32::new(0)),
        }
    }

    /// The hidden fields of the next form. The same form sent twice has the same `request`.
    pub fn hidden(&self) -> HiddenFields<'_> {
        let nth = self.given.fetch_add(1, Ordering::Relaxed);
        HiddenFields {
            csrf: &self.csrf,
            back: &self.back,
            request: Uuid::new_v5(&self.page, &nth.to_be_bytes()),
        }
    }
}

#[derive(Template)]
#[template(
    source = r#"<input type="hidden" name="csrf" value="{{ csrf }}"><input type="hidden" name="request" value="{{ request }}"><input type="hidden" name="back" value="{{ back }}">"#,
    ext = "html"
)]
pub struct HiddenFields<'a> {
    csrf: &'a str,
    back: &'a str,
    request: Uuid,
}

impl HtmlSafe for HiddenFields<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_forms_of_one_page_carry_different_request_ids() {
        let keys = FormKeys::new("token", "/board", Uuid::from_u128(7));

        let (first, second) = (keys.hidden().request, keys.clone().hidden().request);

        assert_ne!(first, second);
    }

    #[test]
    fn a_page_rendered_from_the_same_id_carries_the_same_request_ids() {
        let one = FormKeys::new("token", "/board", Uuid::from_u128(7));
        let other = FormKeys::new("token", "/board", Uuid::from_u128(7));

        assert_eq!(one.hidden().request, other.hidden().request);
    }

    #[test]
    fn compared_values_mark_only_the_words_that_differ() {
        let html: Vec<String> = Marked::compare(&["12 Mar 1958", "03 Dec 1958"])
            .iter()
            .map(ToString::to_string)
            .collect();

        assert_eq!(
            html,
            [
                "<mark>12</mark> <mark>Mar</mark> 1958",
                "<mark>03</mark> <mark>Dec</mark> 1958"
            ]
        );
    }

    #[test]
    fn a_name_with_markup_in_it_is_shown_as_text() {
        let patient = PatientName {
            name: "<script>alert(1)</script>".into(),
            second: SecondIdentifier::Number {
                kind: "TEMP".into(),
                value: "T4K-0131-D".into(),
            },
            href: None,
        };

        let html = patient.to_string();

        assert!(!html.contains("<script"), "{html}");
        insta::assert_snapshot!(html);
    }
}
