//! One made-up clinic day, filled into every view: what the tests render and what can be looked at in a browser.

mod arrivals;
mod board;
mod line;
mod patient;
mod reference;
mod work;

use askama::Template;
use uuid::Uuid;

use super::*;

pub(super) use arrivals::{arrival_choosing, arrival_done, arrival_empty, arrival_wrong, find, sign_in};
pub(super) use board::{board, board_empty, board_with, themed};
pub(super) use line::{
    banner_attention, banner_catching_up, banner_connected, banner_cut, banner_declared, banner_held, banner_slow,
    banner_starting, connection, connection_held, downtime_declared, downtime_standby, held,
};
pub(super) use patient::{patient, patient_bare, patient_in_dispute};
pub(super) use reference::{reference, reference_empty};
pub(super) use work::{conflict, task, transcription, work, work_empty, work_opened};

pub(super) const HOSTILE_NAME: &str = "<script>alert(\"x\")</script> O’Brien & <b>bold</b>, A.";

/// The part of a page between its head and its foot.
pub(super) fn main_of(html: &str) -> &str {
    &html[html.find("<main").unwrap()..html.find("</main>").unwrap()]
}

/// Without the digest of the assets, which changes whenever a style does.
pub(super) fn without_digest(html: &str) -> String {
    let mut parts = html.split("?v=");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |all, part| {
        all + part.trim_start_matches(|c: char| c.is_ascii_hexdigit())
    })
}

pub(super) fn keys() -> FormKeys {
    FormKeys::new("sample-token", "/board", Uuid::from_u128(0x0c11_41c5))
}

pub(super) fn shell() -> Shell {
    Shell {
        site_name: "Riverside Urgent Care".into(),
        now_label: "Tue 14 Apr · 11:38".into(),
        person: Some(PersonBadge {
            name: "Dolores Quiñones-Whitfield".into(),
            role: "Front desk".into(),
        }),
        banner: banner_cut(),
        active: None,
        toast: None,
        keys: keys(),
        theme: Theme::System,
    }
}

fn shell_at(tab: Tab, banner: Banner) -> Shell {
    Shell {
        active: Some(tab),
        banner,
        ..shell()
    }
}

fn born(iso: &str, label: &str, age: &str) -> SecondIdentifier {
    SecondIdentifier::Born {
        iso: iso.into(),
        label: label.into(),
        age: age.into(),
    }
}

fn number(kind: &str, value: &str) -> SecondIdentifier {
    SecondIdentifier::Number {
        kind: kind.into(),
        value: value.into(),
    }
}

fn patient_named(name: &str, second: SecondIdentifier) -> PatientName {
    PatientName {
        name: name.into(),
        second,
        href: Some("/patients/p1".into()),
    }
}

fn over(label: &str, limit: &str, tone: Tone) -> Timer {
    Timer {
        label: label.into(),
        limit: Some(limit.into()),
        tone,
    }
}

fn choice(href: &str, label: &str, count: u32, current: bool) -> Choice {
    Choice {
        href: href.into(),
        label: label.into(),
        count,
        current,
    }
}

/// Every page in every state that looks different, by name.
pub(super) fn every_page() -> Vec<(&'static str, String)> {
    let page = |view: &dyn askama::DynTemplate| view.dyn_render().unwrap();
    let mut filtered = board_with(banner_slow());
    filtered.rows.late_left_out = 2;
    filtered.rows.choices[0].current = false;
    filtered.rows.choices[2].current = true;
    filtered.rows.groups.truncate(1);
    vec![
        ("sign-in", page(&sign_in(SignInState::Ask))),
        (
            "sign-in-bare",
            page(&SignInView {
                people: vec![],
                login: String::new(),
                ..sign_in(SignInState::IdleSignedOut)
            }),
        ),
        (
            "sign-in-wrong",
            page(&sign_in(SignInState::Wrong {
                wait: "8 seconds".into(),
            })),
        ),
        (
            "sign-in-locked",
            page(&sign_in(SignInState::LockedOut { until: "11:52".into() })),
        ),
        ("reference", page(&reference())),
        ("reference-empty", page(&reference_empty())),
        ("board", page(&board())),
        ("board-connected", page(&board_with(banner_connected()))),
        ("board-slow-filtered", page(&filtered)),
        ("board-starting", page(&board_with(banner_starting()))),
        ("board-catching-up", page(&board_with(banner_catching_up()))),
        ("board-declared", page(&board_with(banner_declared()))),
        ("board-held", page(&board_with(banner_held()))),
        ("board-attention", page(&board_with(banner_attention()))),
        ("board-empty", page(&board_empty())),
        ("board-dark", themed(board(), Theme::Dark)),
        ("board-contrast", themed(board(), Theme::Contrast)),
        ("arrival", page(&arrival_empty())),
        ("arrival-wrong", page(&arrival_wrong())),
        ("arrival-choosing", page(&arrival_choosing())),
        ("arrival-done", page(&arrival_done())),
        ("find", page(&find())),
        (
            "find-nothing-yet",
            page(&FindView {
                query: String::new(),
                found: None,
                ..find()
            }),
        ),
        ("patient", page(&patient())),
        ("patient-in-dispute", page(&patient_in_dispute())),
        ("patient-bare", page(&patient_bare())),
        ("work", page(&work())),
        ("work-opened", work_opened()),
        ("work-empty", page(&work_empty())),
        ("transcription", page(&transcription())),
        ("downtime-declare", page(&downtime_standby())),
        ("downtime-end", page(&downtime_declared())),
        ("connection", page(&connection())),
        ("connection-held", page(&connection_held())),
        ("not-found", page(&MessageView::not_found(shell()))),
        (
            "not-permitted",
            page(&MessageView::not_permitted(
                shell(),
                "decide a birth date",
                "a front-desk lead",
            )),
        ),
        ("not-saved", page(&MessageView::not_saved(shell(), "The disk is full."))),
        ("form-too-old", page(&MessageView::form_too_old(shell(), "/board"))),
    ]
}
