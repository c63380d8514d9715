//! A page that only says something: what happened, then what to do. No code, no stack, no blame.

use askama::Template;

use super::parts::Tone;
use super::shell::{Hint, Shell, Theme};

#[derive(Template)]
#[template(path = "message.html")]
pub struct MessageView {
    pub shell: Shell,
    pub tone: Tone,
    pub title: String,
    pub happened: String,
    pub todo: String,
    pub ways: Vec<Way>,
}

/// A way out; the first stands out.
pub struct Way {
    pub href: String,
    pub label: String,
}

impl Way {
    pub fn new(href: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            href: href.into(),
            label: label.into(),
        }
    }
}

impl MessageView {
    fn hints(&self) -> &'static [Hint] {
        &[Hint {
            keys: &["B"],
            does: "back to the board",
        }]
    }

    /// 404.
    pub fn not_found(shell: Shell) -> Self {
        Self {
            shell,
            tone: Tone::Plain,
            title: "Nothing is here".into(),
            happened: "This address leads nowhere, or what it led to is no longer kept at this site.".into(),
            todo: "Find the patient by name, or go back to the board.".into(),
            ways: vec![Way::new("/board", "Board"), Way::new("/find", "Find a patient")],
        }
    }

    /// 403. `act`: "decide a birth date"; `who`: "a front-desk lead"
    pub fn not_permitted(shell: Shell, act: &str, who: &str) -> Self {
        Self {
            shell,
            tone: Tone::Watch,
            title: "Not for your role".into(),
            happened: format!("Your sign-in does not allow you to {act}. Nothing was changed."),
            todo: format!("Ask {who} to do it, or to change your role."),
            ways: vec![Way::new("/board", "Back to the board")],
        }
    }

    /// 403 for a form whose token is not this sign-in's: opened before somebody else signed in.
    pub fn form_too_old(shell: Shell, back: &str) -> Self {
        Self {
            shell,
            tone: Tone::Watch,
            title: "This page was opened by somebody else".into(),
            happened: "The form belongs to an earlier sign-in. Nothing was changed.".into(),
            todo: "Open the page again and repeat what you did.".into(),
            ways: vec![Way::new(back, "Open it again"), Way::new("/board", "Board")],
        }
    }

    /// 500, 503. `why`: "The disk is full.", in a nurse's words
    pub fn not_saved(shell: Shell, why: &str) -> Self {
        Self {
            shell,
            tone: Tone::Act,
            title: "Not saved".into(),
            happened: format!("{why} What you just sent was not saved; everything saved before is safe."),
            todo: "Go back and send it once more. If that does not save it either, write it on paper and call IT."
                .into(),
            ways: vec![
                Way::new("/board", "Board"),
                Way::new("/connection", "Look at the connection"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::super::samples;
    use super::*;

    #[test]
    fn a_refusal_says_that_nothing_was_changed_and_whom_to_ask() {
        let view = MessageView::not_permitted(samples::shell(), "decide a birth date", "a front-desk lead");

        let html = view.render().unwrap();

        assert!(html.contains("Nothing was changed"));
        assert!(html.contains("Ask a front-desk lead"));
    }
}
