//! The line in detail: each part, since when, what waits, whether site and hub hold the same. It calls nothing verified that was not.

use askama::Template;
use askama::filters::HtmlSafe;

use super::banner::{Held, PartState};
use super::parts::{FormKeys, Notice, Tone, icon};
use super::shell::{Hint, Shell, Theme};

/// `GET /connection`.
#[derive(Template)]
#[template(path = "connection.html")]
pub struct ConnectionView {
    pub shell: Shell,
    pub detail: ConnectionDetail,
}

impl ConnectionView {
    fn hints(&self) -> &'static [Hint] {
        &[Hint {
            keys: &["B"],
            does: "back to the board",
        }]
    }
}

/// Fragment `connection`, `GET /connection?fragment=detail`.
#[derive(Template)]
#[template(path = "connection_detail.html")]
pub struct ConnectionDetail {
    pub keys: FormKeys,
    pub as_of: String,
    /// Said loudly and first, e.g. [`ConnectionDetail::KEY_NOT_PROTECTED`].
    pub critical: Vec<Notice>,
    pub parts: Vec<PartDetail>,
    /// "0.2 s behind the hub, measured 11:37", "1 day 3 h ahead of the hub"
    pub clock: String,
    pub clock_is_wrong: bool,
    /// "5 Jan 2027, 61 days left", or empty
    pub certificate: String,
    pub replica: String,
    pub lanes: Vec<LaneDetail>,
    pub policies: Vec<PolicyDetail>,
    /// Changes saved here, tasks, changes set aside.
    pub pending: Vec<PendingCount>,
    pub hold: HoldState,
    /// Whether this person is one of those who may hold and release the line.
    pub may_hold: bool,
}

impl HtmlSafe for ConnectionDetail {}

impl ConnectionDetail {
    /// What is said while the store's key lies in a file.
    pub const KEY_NOT_PROTECTED: (&'static str, &'static str) = (
        "Critical: key not protected by hardware.",
        "Whoever can read this PC’s disk as its service user can read the store. Tell IT; saved work is safe.",
    );

    pub fn key_not_protected() -> Notice {
        let (happened, todo) = Self::KEY_NOT_PROTECTED;
        Notice {
            tone: Tone::Act,
            happened: happened.into(),
            todo: todo.into(),
        }
    }
}

pub struct PartDetail {
    /// "Line to the cloud", "Hub", "EHR"
    pub name: String,
    pub state: PartState,
    /// "since 10:42", or empty
    pub since: String,
    /// "answers in 40 ms", "last answer 10:41:58"
    pub detail: String,
}

/// One lane of one scope, and whether both ends hold the same.
pub struct LaneDetail {
    /// "Safety", "Visits and rooms", "Schedule and coverage", "Reference"
    pub name: String,
    /// "11:37"
    pub as_of: String,
    pub roots: RootState,
}

/// A policy of the organisation, as it holds here.
pub struct PolicyDetail {
    /// "scope"
    pub name: String,
    /// "open visits; bookings of today and the next 3 days"
    pub says: String,
    /// "version 3, since 4 Nov"
    pub state: String,
    /// Signed by this organisation's hub.
    pub is_genuine: bool,
}

pub enum RootState {
    /// `at` "11:37"
    Identical { at: String },
    /// Not at the head yet, or not asked yet.
    NotCompared,
    /// Being repaired: what differs is exchanged.
    Differ { at: String },
}

/// `label` "Changes not yet at the hub"; `remark` "oldest 10:43", or empty
pub struct PendingCount {
    pub count: u32,
    pub label: String,
    pub remark: String,
}

pub enum HoldState {
    NotHeld,
    Held(Held),
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn roots_are_called_identical_only_with_the_time_they_were_compared() {
        let html = samples::connection().detail.to_string();

        assert!(html.contains("Verified identical at 11:37"));
        assert!(html.contains("Not compared yet"));
    }

    #[test]
    fn a_key_without_hardware_protection_is_said_first_and_loudly() {
        let html = samples::connection().detail.to_string();

        assert!(html.find("key not protected by hardware") < html.find("Line to the cloud"));
    }

    #[test]
    fn a_held_line_is_released_only_by_those_who_may() {
        let mut detail = samples::connection().detail;
        detail.hold = HoldState::Held(samples::held());
        detail.may_hold = false;
        assert!(!detail.to_string().contains("/line/release"));

        detail.may_hold = true;
        assert!(detail.to_string().contains("/line/release"));
    }
}
