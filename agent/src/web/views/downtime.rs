//! Declaring downtime and ending it. Mainstay suggests it and never flips alone; ending says first what is still open.

use askama::Template;

use super::parts::icon;
use super::shell::{Hint, Shell, Theme};

/// `GET /downtime`.
#[derive(Template)]
#[template(path = "downtime.html")]
pub struct DowntimeView {
    pub shell: Shell,
    pub state: DowntimeState,
    /// Whether this person is a lead, who may declare and end.
    pub may_change: bool,
    /// What was wrong with the last try.
    pub wrong: Option<String>,
}

pub enum DowntimeState {
    /// To declare: `POST /downtime/declare`.
    Standby {
        /// `(code, label)`; "Internet line is cut (since 10:42)". "Another reason" is added by the page as code `other`.
        reasons: Vec<(String, String)>,
    },
    /// To end: `POST /downtime/end`.
    Declared {
        since: String,
        by: String,
        reason: String,
        lasting: String,
        open: Vec<OpenCount>,
    },
}

/// What is still open; all of them are listed, the zeros too.
pub struct OpenCount {
    pub count: u32,
    /// "Questions that need a person"
    pub label: String,
    /// "oldest waits 4 min", or empty
    pub remark: String,
    pub href: String,
    /// Somebody must act, it does not go by itself.
    pub needs: bool,
}

impl DowntimeView {
    fn hints(&self) -> &'static [Hint] {
        &[Hint {
            keys: &["B"],
            does: "back to the board",
        }]
    }
}

impl DowntimeState {
    fn still_open(&self) -> u32 {
        match self {
            Self::Standby { .. } => 0,
            Self::Declared { open, .. } => open.iter().map(|one| one.count).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use askama::Template;

    use super::super::samples;

    #[test]
    fn ending_with_something_open_must_be_confirmed() {
        let html = samples::downtime_declared().render().unwrap();

        assert!(html.contains("60 things are still open"));
        assert!(html.contains(r#"name="confirm" value="yes" id="confirm" required"#));
    }

    #[test]
    fn no_reason_is_chosen_for_the_person() {
        let html = samples::downtime_standby().render().unwrap();
        let form = samples::main_of(&html);

        assert!(!form.contains("checked") && !form.contains("selected"));
    }
}
