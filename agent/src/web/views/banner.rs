//! The status banner: louder with what people must do differently, not with how much is broken.

use askama::Template;
use askama::filters::HtmlSafe;

use super::parts::icon;

/// Fragment `banner`, served by `GET /banner`.
///
/// Declared downtime is said before the hold, the hold before what needs attention, that before the state of the line; the line's
/// state is then the second sentence.
#[derive(Template)]
#[template(path = "banner.html")]
pub struct Banner {
    pub line: LineState,
    pub declared: Option<Declared>,
    pub held: Option<Held>,
    pub attention: Option<Attention>,
    /// Tasks that wait or are being sent.
    pub waiting: u32,
    /// Questions, unmatched results, refused and set-aside tasks: what only a person can settle.
    pub questions: u32,
    pub parts: LineParts,
    /// Without it no link and no act is shown.
    pub signed_in: bool,
}

impl HtmlSafe for Banner {}

/// State of the way to the EHR as a whole. Times are clock times, "10:42".
pub enum LineState {
    Starting,
    Connected,
    /// `what`: "The EHR takes 14 s to answer."
    Slow {
        since: String,
        what: String,
    },
    CutOff {
        since: String,
    },
    /// `total` counts only tasks captured in the outage that can leave by themselves; `left` "about 9 min".
    CatchingUp {
        done: u32,
        total: u32,
        back_since: String,
        left: Option<String>,
    },
}

pub struct Declared {
    pub since: String,
    pub by: String,
}

pub struct Held {
    pub since: String,
    pub by: String,
    pub why: String,
}

/// `what`: "The disk is nearly full: 2 days left. Saved work is safe."; `whom`: "Call IT: 555 0142"
pub struct Attention {
    pub what: String,
    pub whom: String,
}

/// The three parts, told apart.
#[derive(Clone, Copy)]
pub struct LineParts {
    pub line: PartState,
    pub hub: PartState,
    pub ehr: PartState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PartState {
    /// Not asked yet, or there is none.
    Unknown,
    Working,
    Slow,
    Down,
    /// Disconnected by decision.
    Held,
}

impl PartState {
    pub fn icon(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Working => "check",
            Self::Slow => "late",
            Self::Down => "cross",
            Self::Held => "hold",
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "not known yet",
            Self::Working => "working",
            Self::Slow => "slow",
            Self::Down => "not reached",
            Self::Held => "held",
        }
    }
}

/// The one class, icon and heading the banner shows.
struct Heading {
    class: &'static str,
    icon: &'static str,
    text: String,
}

impl Banner {
    fn heading(&self) -> Heading {
        let heading = |class, icon, text: String| Heading { class, icon, text };
        if let Some(declared) = &self.declared {
            return heading("declared", "flag", format!("Downtime declared {}", declared.since));
        }
        if self.held.is_some() {
            return heading("held", "hold", "Held off the line by decision".into());
        }
        if self.attention.is_some() {
            return heading("attention", "alert", "Needs attention".into());
        }
        match &self.line {
            LineState::Starting => heading("starting", "clock", "Starting".into()),
            LineState::Connected => heading("connected", "line", "Connected".into()),
            LineState::Slow { since, .. } => heading("slow", "slow", format!("Slow since {since}")),
            LineState::CutOff { since } => heading("cut", "cut", format!("Cut off since {since}")),
            LineState::CatchingUp { done, total, .. } => {
                heading("catching-up", "catch", format!("Catching up {done} of {total}"))
            }
        }
    }

    /// What is read out when it changes; no count is in it, so a count never interrupts anybody.
    fn spoken(&self) -> String {
        match (
            &self.line,
            self.declared.is_some() || self.held.is_some() || self.attention.is_some(),
        ) {
            (LineState::CatchingUp { .. }, false) => "Catching up".to_owned(),
            (
                LineState::Starting
                | LineState::Connected
                | LineState::Slow { .. }
                | LineState::CutOff { .. }
                | LineState::CatchingUp { .. },
                _,
            ) => self.heading().text,
        }
    }

    /// The state of the line as a sentence after a louder heading.
    fn line_sentence(&self) -> String {
        match &self.line {
            LineState::Starting => "Starting.".into(),
            LineState::Connected => "The line is up.".into(),
            LineState::Slow { since, what } => format!("Slow since {since}. {what}"),
            LineState::CutOff { since } => format!("Cut off since {since}."),
            LineState::CatchingUp { done, total, .. } => format!("Catching up {done} of {total}."),
        }
    }

    /// Mainstay suggests; a person declares.
    fn suggests_downtime(&self) -> bool {
        match self.line {
            LineState::Slow { .. } | LineState::CutOff { .. } => true,
            LineState::Starting | LineState::Connected | LineState::CatchingUp { .. } => false,
        }
    }

    fn waiting_label(&self) -> String {
        match self.waiting {
            1 => "1 task waits".into(),
            many => format!("{many} tasks wait"),
        }
    }

    fn questions_label(&self) -> String {
        match self.questions {
            1 => "1 question needs a person".into(),
            many => format!("{many} questions need a person"),
        }
    }

    fn named_parts(&self) -> [(&'static str, PartState, &'static str); 3] {
        let line_word = if self.parts.line == PartState::Down {
            "cut"
        } else {
            self.parts.line.word()
        };
        [
            ("Line", self.parts.line, line_word),
            ("Hub", self.parts.hub, self.parts.hub.word()),
            ("EHR", self.parts.ehr, self.parts.ehr.word()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn declared_downtime_is_louder_than_the_line_which_becomes_its_second_sentence() {
        let banner = samples::banner_declared();

        let html = banner.to_string();

        assert!(html.contains(r#"class="banner declared""#));
        assert!(html.find("Register here, not in the EHR.") < html.find("Cut off since 10:42."));
    }

    #[test]
    fn being_cut_off_says_keep_working_and_counts_what_waits() {
        insta::assert_snapshot!(samples::without_digest(&samples::banner_cut().to_string()));
    }

    #[test]
    fn a_count_is_never_what_is_read_out() {
        let mut banner = samples::banner_catching_up();
        let before = banner.spoken();

        banner.line = LineState::CatchingUp {
            done: 15,
            total: 63,
            back_since: "14:05".into(),
            left: None,
        };

        assert_eq!(banner.spoken(), before);
    }

    #[test]
    fn before_sign_in_the_banner_offers_no_act_and_no_link() {
        let mut banner = samples::banner_cut();
        banner.signed_in = false;

        let html = banner.to_string();

        assert!(!html.contains("<a "), "{html}");
    }
}
