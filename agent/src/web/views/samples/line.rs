//! The line in every state, downtime, the connection page.

use super::*;

const ALL_DOWN: LineParts = LineParts {
    line: PartState::Down,
    hub: PartState::Down,
    ehr: PartState::Down,
};

const ALL_UP: LineParts = LineParts {
    line: PartState::Working,
    hub: PartState::Working,
    ehr: PartState::Working,
};

fn banner(line: LineState, parts: LineParts) -> Banner {
    Banner {
        line,
        declared: None,
        held: None,
        attention: None,
        waiting: 0,
        questions: 0,
        parts,
        signed_in: true,
    }
}

pub(in crate::web::views) fn banner_cut() -> Banner {
    Banner {
        waiting: 37,
        ..banner(LineState::CutOff { since: "10:42".into() }, ALL_DOWN)
    }
}

pub(in crate::web::views) fn banner_declared() -> Banner {
    Banner {
        declared: Some(Declared {
            since: "10:50".into(),
            by: "Ngozi Bello".into(),
        }),
        ..banner_cut()
    }
}

pub(in crate::web::views) fn banner_catching_up() -> Banner {
    let line = LineState::CatchingUp {
        done: 14,
        total: 63,
        back_since: "14:05".into(),
        left: Some("About 9 min".into()),
    };
    Banner {
        questions: 5,
        ..banner(line, ALL_UP)
    }
}

pub(in crate::web::views) fn banner_connected() -> Banner {
    banner(LineState::Connected, ALL_UP)
}

pub(in crate::web::views) fn banner_slow() -> Banner {
    let line = LineState::Slow {
        since: "10:31".into(),
        what: "The EHR takes 14 s to answer.".into(),
    };
    Banner {
        waiting: 5,
        ..banner(
            line,
            LineParts {
                ehr: PartState::Slow,
                ..ALL_UP
            },
        )
    }
}

pub(in crate::web::views) fn banner_starting() -> Banner {
    let unknown = LineParts {
        line: PartState::Unknown,
        hub: PartState::Unknown,
        ehr: PartState::Unknown,
    };
    banner(LineState::Starting, unknown)
}

pub(in crate::web::views) fn held() -> Held {
    Held {
        since: "09:15".into(),
        by: "Priya Raghunathan, IT".into(),
        why: "suspected ransomware at a partner".into(),
    }
}

pub(in crate::web::views) fn banner_held() -> Banner {
    let parts = LineParts {
        line: PartState::Held,
        hub: PartState::Held,
        ehr: PartState::Held,
    };
    Banner {
        held: Some(held()),
        waiting: 12,
        ..banner(LineState::CutOff { since: "09:15".into() }, parts)
    }
}

pub(in crate::web::views) fn banner_attention() -> Banner {
    let attention = Attention {
        what: "The disk is nearly full: 2 days left. Saved work is safe.".into(),
        whom: "Call IT: 555 0142".into(),
    };
    Banner {
        attention: Some(attention),
        ..banner_connected()
    }
}

pub(in crate::web::views) fn downtime_standby() -> DowntimeView {
    DowntimeView {
        shell: shell(),
        state: DowntimeState::Standby {
            reasons: vec![
                ("line".into(), "Internet line is cut (since 10:42)".into()),
                ("ehr-down".into(), "EHR is down".into()),
                ("ehr-slow".into(), "EHR is too slow".into()),
            ],
        },
        may_change: true,
        wrong: None,
    }
}

pub(in crate::web::views) fn downtime_declared() -> DowntimeView {
    let open = |count, label: &str, remark: &str, needs| OpenCount {
        count,
        label: label.into(),
        remark: remark.into(),
        href: "/work".into(),
        needs,
    };
    DowntimeView {
        shell: Shell {
            banner: banner_declared(),
            ..shell()
        },
        state: DowntimeState::Declared {
            since: "10:50".into(),
            by: "Ngozi Bello".into(),
            reason: "Internet line is cut".into(),
            lasting: "3 h 19 min".into(),
            open: vec![
                open(5, "Need a person", "oldest waits 4 min", true),
                open(49, "Leaving by themselves", "14 of 63 gone", false),
                open(6, "To enter by hand", "due 15:05", false),
                open(0, "Changes not yet at the hub", "", false),
            ],
        },
        may_change: true,
        wrong: None,
    }
}

pub(in crate::web::views) fn connection() -> ConnectionView {
    let shell = shell_at(Tab::Connection, banner_catching_up());
    let part = |name: &str, state, since: &str, detail: &str| PartDetail {
        name: name.into(),
        state,
        since: since.into(),
        detail: detail.into(),
    };
    let lane = |name: &str, roots| LaneDetail {
        name: name.into(),
        as_of: "11:37".into(),
        roots,
    };
    let pending = |count, label: &str, remark: &str| PendingCount {
        count,
        label: label.into(),
        remark: remark.into(),
    };
    ConnectionView {
        detail: ConnectionDetail {
            keys: shell.keys.clone(),
            as_of: "as of 11:38:02".into(),
            critical: vec![ConnectionDetail::key_not_protected()],
            parts: vec![
                part(
                    "Line to the cloud",
                    PartState::Working,
                    "since 11:31",
                    "answers in 40 ms",
                ),
                part("Hub", PartState::Working, "since 11:31", "last answer 11:38:01"),
                part(
                    "EHR",
                    PartState::Slow,
                    "since 11:34",
                    "14 s to answer, as the hub sees it",
                ),
            ],
            clock: "0.2 s behind the hub, measured 11:37".into(),
            clock_is_wrong: false,
            certificate: "5 Jan 2027, 61 days left".into(),
            replica: "9f1c 2ab4 77d0 41e3".into(),
            policies: vec![PolicyDetail {
                name: "scope".into(),
                says: "open visits; bookings of today and the next 3 days; visits of the last 30 days".into(),
                state: "version 3, since 4 Nov".into(),
                is_genuine: true,
            }],
            lanes: vec![
                lane("Safety", RootState::Identical { at: "11:37".into() }),
                lane("Visits and rooms", RootState::Differ { at: "11:35".into() }),
                lane("Schedule and coverage", RootState::NotCompared),
            ],
            pending: vec![
                pending(12, "Changes not yet at the hub", "oldest 10:43"),
                pending(37, "Tasks that wait", ""),
                pending(0, "Changes set aside at the hub", ""),
            ],
            hold: HoldState::NotHeld,
            may_hold: true,
        },
        shell,
    }
}

pub(in crate::web::views) fn connection_held() -> ConnectionView {
    let mut view = connection();
    view.shell.banner = banner_held();
    view.detail.hold = HoldState::Held(held());
    view.detail.clock = "1 day 3 h ahead of the hub, measured 11:37".into();
    view.detail.clock_is_wrong = true;
    view
}
