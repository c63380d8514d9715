//! What surrounds every page: who is here, where, the banner, the message line at the foot.

use askama::Template;
use askama::filters::HtmlSafe;

use super::assets;
use super::banner::Banner;
use super::parts::{FormKeys, icon};

/// Around every page.
pub struct Shell {
    pub site_name: String,
    /// "Tue 14 Apr · 11:38", in the site's zone
    pub now_label: String,
    /// Whoever is signed in; `None` before that, and then there is neither a menu nor a link to a patient.
    pub person: Option<PersonBadge>,
    pub banner: Banner,
    pub active: Option<Tab>,
    pub toast: Option<Toast>,
    pub keys: FormKeys,
    pub theme: Theme,
}

pub struct PersonBadge {
    pub name: String,
    /// "Front desk"
    pub role: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Board,
    Arrive,
    Find,
    Work,
    Connection,
}

impl Tab {
    const ALL: [Self; 5] = [Self::Board, Self::Arrive, Self::Find, Self::Work, Self::Connection];

    pub fn label(self) -> &'static str {
        match self {
            Self::Board => "Board",
            Self::Arrive => "Arrive",
            Self::Find => "Find",
            Self::Work => "Work",
            Self::Connection => "Connection",
        }
    }

    pub fn href(self) -> &'static str {
        match self {
            Self::Board => "/board",
            Self::Arrive => "/arrivals",
            Self::Find => "/find",
            Self::Work => "/work",
            Self::Connection => "/connection",
        }
    }

    pub fn key(self) -> &'static str {
        match self {
            Self::Board => "b",
            Self::Arrive => "a",
            Self::Find => "/",
            Self::Work => "w",
            Self::Connection => "c",
        }
    }
}

/// Follows the person; `System` follows the PC until they have chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    System,
    Light,
    Dark,
    Contrast,
}

impl Theme {
    const ALL: [Self; 4] = [Self::System, Self::Light, Self::Dark, Self::Contrast];

    pub fn code(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
            Self::Contrast => "contrast",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::System => "As this PC",
            Self::Light => "Light",
            Self::Dark => "Dark",
            Self::Contrast => "High contrast",
        }
    }

    /// Of a code sent with `POST /theme`.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.code() == code)
    }
}

/// What has just been done, at the foot; it stays until the next act.
pub struct Toast {
    /// Bold: a patient by name and second identifier, or what was changed.
    pub subject: String,
    /// "moved to Room 1 by you, 11:37"
    pub what: String,
    pub undo: Option<Undo>,
}

/// Takes back exactly what its reader was shown: `POST {action}`.
pub struct Undo {
    /// `/visits/{id}/undo`
    pub action: String,
    /// Ids of the changes taken back, separated by spaces; sent as `shown`.
    pub shown: String,
}

/// The top of a page: skip link, navigation, banner. Not for sign-in, which has only the banner.
#[derive(Template)]
#[template(path = "top.html")]
pub(super) struct Top<'a> {
    shell: &'a Shell,
}

impl HtmlSafe for Top<'_> {}

/// The message line, the list of keys.
#[derive(Template)]
#[template(path = "foot.html")]
pub(super) struct Foot<'a> {
    shell: &'a Shell,
    hints: &'a [Hint],
}

impl HtmlSafe for Foot<'_> {}

/// A key and what it does on this page.
pub struct Hint {
    pub keys: &'static [&'static str],
    pub does: &'static str,
}

impl Shell {
    pub(super) fn top(&self) -> Top<'_> {
        Top { shell: self }
    }

    pub(super) fn foot<'a>(&'a self, hints: &'a [Hint]) -> Foot<'a> {
        Foot { shell: self, hints }
    }

    pub(super) fn style_url(&self) -> &'static str {
        assets::style_url()
    }

    pub(super) fn icons_url(&self) -> &'static str {
        assets::icons_url()
    }

    pub(super) fn script_url(&self) -> &'static str {
        assets::script_url()
    }
}
