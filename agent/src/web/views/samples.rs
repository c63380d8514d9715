//! One made-up clinic day, filled into every view: what the tests render and what can be looked at in a browser.

use askama::Template;
use uuid::Uuid;

use super::*;

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

pub(super) fn banner_cut() -> Banner {
    Banner {
        waiting: 37,
        ..banner(LineState::CutOff { since: "10:42".into() }, ALL_DOWN)
    }
}

pub(super) fn banner_declared() -> Banner {
    Banner {
        declared: Some(Declared {
            since: "10:50".into(),
            by: "Ngozi Bello".into(),
        }),
        ..banner_cut()
    }
}

pub(super) fn banner_catching_up() -> Banner {
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

fn banner_connected() -> Banner {
    banner(LineState::Connected, ALL_UP)
}

fn banner_slow() -> Banner {
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

fn banner_starting() -> Banner {
    let unknown = LineParts {
        line: PartState::Unknown,
        hub: PartState::Unknown,
        ehr: PartState::Unknown,
    };
    banner(LineState::Starting, unknown)
}

pub(super) fn held() -> Held {
    Held {
        since: "09:15".into(),
        by: "Priya Raghunathan, IT".into(),
        why: "suspected ransomware at a partner".into(),
    }
}

fn banner_held() -> Banner {
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

fn banner_attention() -> Banner {
    let attention = Attention {
        what: "The disk is nearly full: 2 days left. Saved work is safe.".into(),
        whom: "Call IT: 555 0142".into(),
    };
    Banner {
        attention: Some(attention),
        ..banner_connected()
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

fn to(state: FlowState) -> Move {
    Move {
        act: VisitAct::To(state),
        label: state.verb().into(),
    }
}

fn room_choice() -> Vec<Move> {
    ["9", "11", "12"]
        .map(|room| Move {
            act: VisitAct::Into(format!("r{room}")),
            label: format!("Room {room}"),
        })
        .into_iter()
        .collect()
}

fn provider_choice() -> Vec<Move> {
    ["Okafor MD", "Lindholm PA", "Rao NP"]
        .map(|name| Move {
            act: VisitAct::With(name[..3].to_lowercase()),
            label: name.into(),
        })
        .into_iter()
        .collect()
}

fn next_of(state: FlowState) -> NextAct {
    match state {
        FlowState::Expected => NextAct::One(to(FlowState::Arrived)),
        FlowState::Arrived => NextAct::One(to(FlowState::Registered)),
        FlowState::Registered => NextAct::One(to(FlowState::Triaged)),
        FlowState::Triaged => NextAct::Choose {
            label: "Room…".into(),
            moves: room_choice(),
        },
        FlowState::Roomed => NextAct::Choose {
            label: "Provider in…".into(),
            moves: provider_choice(),
        },
        FlowState::WithProvider => NextAct::One(to(FlowState::AwaitingResults)),
        FlowState::AwaitingResults => NextAct::One(to(FlowState::ReadyToLeave)),
        FlowState::ReadyToLeave => NextAct::One(to(FlowState::Discharged)),
        FlowState::Discharged | FlowState::LeftUnseen | FlowState::Cancelled => NextAct::None,
    }
}

fn others_of(state: FlowState) -> Vec<MoveGroup> {
    if state.has_ended() {
        return Vec::new();
    }
    let moves = FlowState::ALL
        .into_iter()
        .filter(|other| *other != state && !other.has_ended())
        .map(to)
        .collect();
    vec![
        MoveGroup {
            title: "Move to".into(),
            moves,
        },
        MoveGroup {
            title: "Room".into(),
            moves: room_choice(),
        },
        MoveGroup {
            title: "Leaves".into(),
            moves: vec![to(FlowState::LeftUnseen), to(FlowState::Cancelled)],
        },
    ]
}

struct Sketch {
    visit: &'static str,
    name: &'static str,
    second: SecondIdentifier,
    state: FlowState,
    timer: Option<Timer>,
    place: (&'static str, &'static str),
    reason: &'static str,
    marks: Vec<Mark>,
}

fn row(sketch: Sketch) -> BoardRow {
    let Sketch {
        visit,
        name,
        second,
        state,
        timer,
        place,
        reason,
        marks,
    } = sketch;
    BoardRow {
        visit: visit.into(),
        patient: patient_named(name, second),
        state,
        state_label: None,
        needs: timer.as_ref().is_some_and(|timer| timer.tone == Tone::Act),
        timer,
        room: (!place.0.is_empty()).then(|| place.0.into()),
        provider: (!place.1.is_empty()).then(|| place.1.into()),
        reason: reason.into(),
        marks,
        next: next_of(state),
        others: others_of(state),
        shown: format!("change-{visit}-1 change-{visit}-2"),
    }
}

fn waiting_room() -> Vec<BoardRow> {
    let sketch = |visit, name, second, state, timer, reason, marks| {
        row(Sketch {
            visit,
            name,
            second,
            state,
            timer: Some(timer),
            place: ("", ""),
            reason,
            marks,
        })
    };
    vec![
        sketch(
            "v1",
            "O’Sullivan-Brennan, Fionnuala Máiréad",
            born("1957-02-02", "02 Feb 1957", "69 y"),
            FlowState::Arrived,
            over("41 min", "limit 20", Tone::Act),
            "Sprained ankle",
            vec![Mark::temp()],
        ),
        sketch(
            "v2",
            "Unknown 1 (man, about 40)",
            number("TEMP", "T4K-0131-D"),
            FlowState::Arrived,
            Timer::plain("6 min"),
            "Found confused",
            vec![Mark::temp(), Mark::new("unknown", "Name not known", Tone::Watch)],
        ),
        sketch(
            "v3",
            "Nguyễn, Thị Minh Anh",
            born("1990-08-19", "19 Aug 1990", "35 y"),
            FlowState::Arrived,
            Timer::plain("4 min"),
            "Cough, 3 days",
            vec![Mark::look_alike()],
        ),
        sketch(
            "v4",
            "de la Cruz Villaseñor y Montemayor, María Guadalupe",
            born("1948-11-30", "30 Nov 1948", "77 y"),
            FlowState::Registered,
            over("18 min", "over 15", Tone::Watch),
            "Fever",
            vec![Mark::allergies(3)],
        ),
        sketch(
            "v5",
            HOSTILE_NAME,
            born("2019-01-14", "14 Jan 2019", "7 y"),
            FlowState::Registered,
            Timer::plain("12 min"),
            "Ear pain",
            vec![Mark::new("person", "Minor", Tone::Plain)],
        ),
        sketch(
            "v6",
            "Achterberg-Lindgren, Wilhelmina",
            number("MRN", "087 310"),
            FlowState::Triaged,
            over("22 min", "over 20", Tone::Watch),
            "Back pain",
            vec![Mark::two_values("Birth date")],
        ),
        sketch(
            "v7",
            "Kowalczyk-Ferreira, Zbigniew",
            born("1983-12-24", "24 Dec 1983", "42 y"),
            FlowState::Triaged,
            Timer::plain("9 min"),
            "Cut hand",
            vec![Mark::plain("Work injury")],
        ),
    ]
}

fn in_rooms() -> Vec<BoardRow> {
    let sketch = |visit, name, second, state, timer, place, reason, marks| {
        row(Sketch {
            visit,
            name,
            second,
            state,
            timer: Some(timer),
            place,
            reason,
            marks,
        })
    };
    vec![
        sketch(
            "v8",
            "Ramírez Núñez, José Ángel",
            born("1988-06-16", "16 Jun 1988", "37 y"),
            FlowState::Roomed,
            Timer::plain("1 min"),
            ("1", ""),
            "Rash",
            vec![Mark::new("allergy", "Allergy conflict", Tone::Act)],
        ),
        sketch(
            "v9",
            "Tanaka-Müller, Ren",
            born("2001-03-03", "03 Mar 2001", "25 y"),
            FlowState::Roomed,
            over("16 min", "over 15", Tone::Watch),
            ("8", ""),
            "Sore throat",
            vec![],
        ),
        sketch(
            "v10",
            "Chukwuemeka, Adaeze",
            born("1995-10-08", "08 Oct 1995", "30 y"),
            FlowState::WithProvider,
            Timer::plain("14 min"),
            ("2", "Okafor"),
            "Migraine",
            vec![Mark::allergies(1)],
        ),
        sketch(
            "v11",
            "Papadopoulou, Aikaterini",
            born("1971-05-27", "27 May 1971", "54 y"),
            FlowState::AwaitingResults,
            over("48 min", "over 45", Tone::Watch),
            ("3", "Lindholm"),
            "Abdominal pain",
            vec![Mark::unmatched()],
        ),
        sketch(
            "v12",
            "Smith, John",
            born("1969-04-01", "01 Apr 1969", "57 y"),
            FlowState::ReadyToLeave,
            Timer::plain("3 min"),
            ("7", "Okafor"),
            "Wound check",
            vec![],
        ),
    ]
}

fn expected_and_gone() -> (Vec<BoardRow>, Vec<BoardRow>) {
    let sketch = |visit, name, second, state, reason| {
        row(Sketch {
            visit,
            name,
            second,
            state,
            timer: None,
            place: ("", ""),
            reason,
            marks: vec![],
        })
    };
    let expected = vec![sketch(
        "v13",
        "Begay, Thomas",
        born("1962-09-09", "09 Sep 1962", "63 y"),
        FlowState::Expected,
        "Blood pressure, 11:45",
    )];
    let mut clashing = sketch(
        "v17",
        "Lindqvist, Åsa",
        born("1967-12-09", "09 Dec 1967", "58 y"),
        FlowState::Discharged,
        "Sinus pain",
    );
    clashing.state_label = Some("Discharged, or left?".into());
    clashing.needs = true;
    let gone = vec![
        clashing,
        sketch(
            "v14",
            "Haddad, Noor",
            born("1986-02-11", "11 Feb 1986", "40 y"),
            FlowState::Discharged,
            "Tetanus shot",
        ),
        sketch(
            "v15",
            "Goldberg-Nakamura, Ari",
            born("1981-03-18", "18 Mar 1981", "45 y"),
            FlowState::LeftUnseen,
            "Dizzy",
        ),
        sketch(
            "v16",
            "Whitehorse, Jolene",
            born("1979-07-07", "07 Jul 1979", "46 y"),
            FlowState::Cancelled,
            "Flu shot",
        ),
    ];
    (expected, gone)
}

fn rooms() -> Vec<RoomTile> {
    let tile = |name: &str, state, since: &str| RoomTile {
        room: format!("r{name}"),
        name: name.into(),
        state,
        since: since.into(),
        shown: format!("change-r{name}"),
    };
    let mut tiles: Vec<RoomTile> = [
        "1 min", "22 min", "44 min", "1 h 19", "38 min", "52 min", "15 min", "16 min",
    ]
    .iter()
    .zip(1..)
    .map(|(since, nth)| tile(&nth.to_string(), RoomState::Occupied, since))
    .collect();
    tiles.push(tile("9", RoomState::Clean, "free"));
    tiles.push(tile("10", RoomState::Dirty, "12 min"));
    tiles
}

fn choice(href: &str, label: &str, count: u32, current: bool) -> Choice {
    Choice {
        href: href.into(),
        label: label.into(),
        count,
        current,
    }
}

pub(super) fn board() -> BoardView {
    board_with(banner_cut())
}

fn board_with(banner: Banner) -> BoardView {
    let (expected, gone) = expected_and_gone();
    let mut shell = shell_at(Tab::Board, banner);
    shell.toast = Some(Toast {
        subject: "Ramírez Núñez, José Ángel, 16 Jun 1988".into(),
        what: "moved to Room 1 by you, 11:37".into(),
        undo: Some(Undo {
            action: "/visits/v8/undo".into(),
            shown: "change-v8-2".into(),
        }),
    });
    let group = |title: &str, remark: &str, rows| BoardGroup {
        title: title.into(),
        remark: remark.into(),
        rows,
    };
    BoardView {
        rows: BoardRows {
            keys: shell.keys.clone(),
            fragment_url: "/board?fragment=rows".into(),
            as_of: "Live. Schedule as of 07:40".into(),
            rooms: rooms(),
            load: [("Okafor MD", 3), ("Lindholm PA", 2), ("Rao NP", 1)]
                .map(|(name, patients)| ProviderLoad {
                    name: name.into(),
                    patients,
                })
                .into(),
            choices: vec![
                choice("/board", "All", 17, true),
                choice("/board?show=needs", "Needs someone", 2, false),
                choice("/board?show=waiting", "Waiting", 7, false),
                choice("/board?show=s1", "Okafor", 3, false),
                choice("/board?show=s2", "Lindholm", 2, false),
            ],
            late_left_out: 0,
            groups: vec![
                group("Waiting room", "longest 41 min", waiting_room()),
                group("In rooms", "1 clean, 1 to clean", in_rooms()),
                group("Expected", "", expected),
                group("Gone today", "", gone),
            ],
            next_expected: "Next expected: 11:45.".into(),
        },
        shell,
    }
}

pub(super) fn board_empty() -> BoardView {
    let mut view = board_with(banner_connected());
    view.shell.toast = None;
    view.rows.groups.clear();
    view.rows.choices.truncate(1);
    view
}

pub(super) fn sign_in(state: SignInState) -> SignInView {
    let face = |login: &str, name: &str, remark: &str| Face {
        login: login.into(),
        name: name.into(),
        remark: remark.into(),
    };
    SignInView {
        shell: Shell {
            person: None,
            banner: Banner {
                signed_in: false,
                ..banner_cut()
            },
            ..shell()
        },
        people: vec![
            face("dolores", "Dolores Quiñones-Whitfield", "Front desk · here since 07:52"),
            face("ngozi", "Ngozi Bello", "Front desk · here since 08:05"),
            face("achterberg", "M. Achterberg RN", "Nurse · here since 07:30"),
            face("kai", "Kaʻiulani Mahoe-Stavropoulos", "Manager"),
        ],
        login: "dolores".into(),
        state,
        works_until: "until 14 May".into(),
    }
}

fn arrival_empty() -> ArrivalView {
    ArrivalView {
        shell: shell_at(Tab::Arrive, banner_declared()),
        typed: ArrivalFields::default(),
        wrong: ArrivalWrong::default(),
        read_as: String::new(),
        look_alikes: vec![],
        as_of: "patients on this PC as of 11:38".into(),
        arrived: None,
    }
}

fn typed() -> ArrivalFields {
    ArrivalFields {
        name: "Nguyen, Thi Min An".into(),
        birth_date: "08 19 1990".into(),
        reason: "Cough for 3 days".into(),
        phone: String::new(),
    }
}

pub(super) fn arrival_choosing() -> ArrivalView {
    let names = [
        "Nguyen, Thi Min An",
        "Nguyễn, Thị Minh Anh",
        "Nguyễn, Thị Minh Ánh",
        "Nguyen-Hartmann, Tina",
    ];
    let mut marked = Marked::compare(&names).into_iter().skip(1);
    let mut like = |patient: &str, second, mrn: &str, why: &str, marks| LookAlike {
        patient: patient.into(),
        name: marked.next().unwrap(),
        second,
        numbers: vec![mrn.into()],
        why: why.into(),
        marks,
    };
    ArrivalView {
        typed: typed(),
        read_as: "Read as 19 Aug 1990 · 35 years".into(),
        look_alikes: vec![
            like(
                "p2",
                born("1990-08-19", "19 Aug 1990", "35 y"),
                "MRN 104 882",
                "Same birth date, name sounds the same. Here 11:34 today",
                vec![Mark::new("clock", "On the board now", Tone::Watch)],
            ),
            like(
                "p3",
                born("1990-08-19", "19 Aug 1990", "35 y"),
                "MRN 104 883",
                "Same birth date and address. Last visit 02 Nov 2025",
                vec![Mark::new("twins", "Recorded as a twin", Tone::Plain)],
            ),
            like(
                "p4",
                born("1990-09-18", "18 Sep 1990", "35 y"),
                "MRN 098 117",
                "Name alike, day and month alike. Last visit 16 Jan 2024",
                vec![],
            ),
        ],
        ..arrival_empty()
    }
}

pub(super) fn arrival_wrong() -> ArrivalView {
    ArrivalView {
        typed: ArrivalFields {
            birth_date: "02 31 1990".into(),
            ..typed()
        },
        wrong: ArrivalWrong {
            birth_date: Some("31 Feb is not a day. Check the card, or ask again.".into()),
            ..ArrivalWrong::default()
        },
        ..arrival_empty()
    }
}

pub(super) fn arrival_done() -> ArrivalView {
    ArrivalView {
        arrived: Some(Arrived {
            patient: patient_named("Nguyen, Thi Min An", born("1990-08-19", "19 Aug 1990", "35 y")),
            visit: "v3".into(),
            temp_number: Some("T4K-0132-E".into()),
            at: "11:39".into(),
            tasks: vec![(
                "Registration to the EHR".into(),
                "waits for the line; matched first".into(),
            )],
        }),
        ..arrival_empty()
    }
}

pub(super) fn find() -> FindView {
    let hit = |name: &str, second, mrn: &str, remark: &str, here| FindHit {
        patient: patient_named(name, second),
        numbers: vec![mrn.into()],
        phone: "(503) 555-0188".into(),
        remark: remark.into(),
        here,
        marks: vec![],
    };
    FindView {
        shell: shell_at(Tab::Find, banner_slow()),
        query: "nguyen 1990".into(),
        as_of: "patients on this PC as of 11:38".into(),
        found: Some(Found {
            hits: vec![
                hit(
                    "Nguyễn, Thị Minh Anh",
                    born("1990-08-19", "19 Aug 1990", "35 y"),
                    "MRN 104 882",
                    "Last visit today",
                    Some(FlowState::Arrived),
                ),
                hit(
                    "Nguyễn, Thị Minh Ánh",
                    born("1990-08-19", "19 Aug 1990", "35 y"),
                    "MRN 104 883",
                    "Last visit 02 Nov 2025",
                    None,
                ),
                hit(
                    HOSTILE_NAME,
                    born("1990-01-02", "02 Jan 1990", "36 y"),
                    "TEMP T4K-0099-B",
                    "Sounds alike",
                    None,
                ),
            ],
            more: true,
        }),
    }
}

pub(super) fn conflict() -> Conflict {
    let mut values = Marked::compare(&["12 Mar 1958", "03 Dec 1958"]).into_iter();
    let mut side = |change: &str, where_when: &str, who: &str, said: &str| Side {
        change: change.into(),
        value: values.next().unwrap(),
        where_when: where_when.into(),
        who: who.into(),
        said: said.into(),
    };
    Conflict {
        keys: keys(),
        record: "p6".into(),
        field: "birth_date".into(),
        field_label: "Birth date".into(),
        patient: patient_named("Achterberg-Lindgren, Wilhelmina", number("MRN", "087 310")),
        sides: vec![
            side(
                "change-a",
                "Riverside, today 11:12",
                "Dolores Quiñones-Whitfield",
                "from driver’s licence",
            ),
            side(
                "change-b",
                "Eastgate, today 11:47",
                "Marcus Oyelaran",
                "said on the phone",
            ),
        ],
        until: Some(Until {
            value: Marked::plain("12 Mar 1985"),
            source: "EHR, since 14 Jan 2019".into(),
        }),
        tasks_waiting: 2,
        other: OtherValue::Date,
        may_decide: true,
        wrong: None,
    }
}

pub(super) fn task(state: TaskState) -> TaskRow {
    TaskRow {
        task: format!("t-{}", state.icon()),
        state,
        at: String::new(),
        kind: "Registration".into(),
        target: "EHR".into(),
        patient: patient_named("Ramírez Núñez, José Ángel", born("1988-06-16", "16 Jun 1988", "37 y")),
        happened: String::new(),
        todo: String::new(),
        owner: String::new(),
        due: None,
        offers: TaskOffers {
            withdraw: true,
            retry: true,
            transcribe: true,
        },
        shown: "change-t".into(),
    }
}

fn every_task() -> Vec<TaskGroup> {
    let told = |id: &str, state, at: &str, happened: &str, todo: &str, owner: &str| TaskRow {
        task: id.into(),
        at: at.into(),
        happened: happened.into(),
        todo: todo.into(),
        owner: owner.into(),
        ..task(state)
    };
    let group = |title: &str, remark: &str, rows| TaskGroup {
        title: title.into(),
        remark: remark.into(),
        rows,
    };
    let mut aside = told(
        "t2",
        TaskState::SetAside,
        "",
        "The EHR has not answered since 09:58.",
        "Phone IT on 555 0171, then send again.",
        "Owner: M. Achterberg RN",
    );
    aside.due = Some(Timer {
        label: "12 min late".into(),
        limit: None,
        tone: Tone::Watch,
    });
    aside.patient = patient_named(
        "O’Sullivan-Brennan, Fionnuala Máiréad",
        born("1957-02-02", "02 Feb 1957", "69 y"),
    );
    let mut by_hand = told(
        "t3",
        TaskState::ToEnterByHand,
        "",
        "",
        "12 items to copy.",
        "Owner: Front desk",
    );
    by_hand.target = "EHR, by a person".into();
    by_hand.patient = patient_named(HOSTILE_NAME, born("1990-08-19", "19 Aug 1990", "35 y"));
    let waiting = vec![
        told(
            "t4",
            TaskState::OutcomeUnknown,
            "10:41",
            "",
            "The line dropped before the EHR answered. Nothing to do: the EHR is asked first, it is not sent twice.",
            "",
        ),
        told("t5", TaskState::BeingSent, "", "", "On its way.", ""),
        told("t6", TaskState::Waiting, "", "", "Leaves when the line is back.", ""),
        told(
            "t7",
            TaskState::OnHold,
            "",
            "",
            "Waits for the registration before it.",
            "",
        ),
        told(
            "t8",
            TaskState::WithdrawalAsked,
            "10:40",
            "",
            "You asked to withdraw it; the hub has not said yes. It may already have gone.",
            "",
        ),
    ];
    let done = vec![
        told(
            "t9",
            TaskState::Delivered,
            "10:40",
            "",
            "The EHR said yes, number E-55 201.",
            "",
        ),
        told(
            "t10",
            TaskState::EnteredByHand,
            "10:12",
            "",
            "By Ngozi Bello, number 5520118.",
            "",
        ),
        told(
            "t11",
            TaskState::Withdrawn,
            "11:41",
            "",
            "Withdrawn by you, before it left.",
            "",
        ),
        told(
            "t12",
            TaskState::Superseded,
            "11:02",
            "",
            "A newer one with the corrected phone went instead.",
            "",
        ),
        told(
            "t13",
            TaskState::Expired,
            "11:21",
            "",
            "No answer came before the patient left.",
            "",
        ),
    ];
    vec![
        group(
            "Needs a person",
            "nothing else waits behind these",
            vec![
                told(
                    "t1",
                    TaskState::Refused,
                    "11:31",
                    "The EHR does not take this birth date.",
                    "Look at it with the patient, correct it, then send again.",
                    "Owner: Front desk",
                ),
                aside,
            ],
        ),
        group(
            "To enter by hand",
            "the EHR takes these only from a person",
            vec![by_hand],
        ),
        group("Waiting, being sent, unknown", "", waiting),
        group("Done today", "", done),
    ]
}

fn partner_match() -> PartnerMatch {
    let mut names = Marked::compare(&["Nguyen, Thi Min An", "Nguyen, Thi Minh Anh"])
        .into_iter()
        .skip(1);
    PartnerMatch {
        task: "t20".into(),
        kind: "Registration".into(),
        partner: "the EHR".into(),
        patient: patient_named("Nguyen, Thi Min An", born("1990-08-19", "19 Aug 1990", "35 y")),
        here: vec!["(503) 555-0188".into()],
        candidates: vec![PartnerCandidate {
            number: "E-55201".into(),
            name: names.next().unwrap(),
            born: Marked::plain("19 Aug 1990"),
            facts: vec![Marked::plain("(503) 555-0190")],
        }],
        owner: "Front desk".into(),
        due: Some(Timer::plain("8 min left")),
        may_answer: true,
        shown: "change-t20".into(),
    }
}

fn unmatched() -> UnmatchedResult {
    UnmatchedResult {
        result: "r20".into(),
        name: "CBC with differential".into(),
        received: "12:51 from LAB1".into(),
        said: PatientName {
            name: "Jones, William A.".into(),
            second: born("1961-06-15", "15 Jun 1961", "64 y"),
            href: None,
        },
        said_numbers: vec!["MRN 104 882 of Cascade Laboratory".into()],
        why: "The number belongs to another authority.".into(),
        owner: "Lab nurse".into(),
        due: Some(Timer {
            label: "12 min late".into(),
            limit: None,
            tone: Tone::Watch,
        }),
        candidates: vec![MatchCandidate {
            patient: "p9".into(),
            name: Marked::plain("Jones, William"),
            second: born("1961-06-15", "15 Jun 1961", "64 y"),
            numbers: vec!["MRN 071 202".into()],
            marks: vec![],
        }],
        may_match: true,
        wrong: None,
        shown: "change-r20".into(),
    }
}

pub(super) fn work() -> WorkView {
    let shell = shell_at(Tab::Work, banner_catching_up());
    let mut question = conflict();
    question.keys = shell.keys.clone();
    WorkView {
        list: WorkList {
            keys: shell.keys.clone(),
            fragment_url: "/work?fragment=list".into(),
            as_of: "This list is live. Answers from outside as of 10:42".into(),
            choices: vec![
                choice("/work", "All", 135, true),
                choice("/work?show=person", "Needs a person", 5, false),
                choice("/work?show=hand", "By hand", 1, false),
                choice("/work?show=waiting", "Waiting", 37, false),
                choice("/work?show=done", "Done today", 88, false),
            ],
            notice: None,
            conflicts: vec![question],
            matches: vec![partner_match()],
            unmatched: vec![unmatched()],
            rejected: vec![RejectedMessage {
                message: "m1".into(),
                received: "11:03".into(),
                from: "LAB1, Cascade Laboratory".into(),
                kind: "ADT^A31".into(),
                answered: "AR, error 201".into(),
                why: "This message type is not taken here.".into(),
            }],
            groups: every_task(),
        },
        shell,
    }
}

/// The work list as it looks with every question opened, to be looked at.
fn work_opened() -> String {
    work()
        .render()
        .unwrap()
        .replace(r#"<details class="ask""#, r#"<details open class="ask""#)
}

pub(super) fn work_empty() -> WorkView {
    let mut view = work();
    view.shell.banner = banner_connected();
    view.list.choices.truncate(1);
    view.list.conflicts.clear();
    view.list.matches.clear();
    view.list.unmatched.clear();
    view.list.rejected.clear();
    view.list.groups.clear();
    view
}

fn field(name: &str, label: &str, value: &str, kind: FieldKind, source: &str) -> PatientField {
    PatientField {
        name: name.into(),
        label: label.into(),
        value: value.into(),
        input: value.into(),
        kind,
        source: source.into(),
        beside: vec![],
        shown: format!("change-{name}"),
        disputed: false,
        wrong: None,
    }
}

fn patient_fields() -> Vec<PatientField> {
    let sexes = [("female", "Female"), ("male", "Male"), ("other", "Other")];
    let sexes = FieldKind::OneOf(sexes.map(|(code, label)| (code.to_owned(), label.to_owned())).into());
    let mut phone = field(
        "phone",
        "Phone",
        "(503) 555-0147",
        FieldKind::Phone,
        "Typed here 11:09 by Dolores Quiñones-Whitfield",
    );
    phone.beside = vec!["(503) 555-0199 · Eastgate 10:58, Marcus Oyelaran".into()];
    let mut sex = field("sex", "Sex", "Male", sexes, "EHR, 14 Jan 2025");
    sex.input = "male".into();
    vec![
        field(
            "name",
            "Name",
            "Ramírez Núñez, José Ángel",
            FieldKind::Text,
            "EHR, 14 Jan 2025",
        ),
        field(
            "birth_date",
            "Birth date",
            "16 Jun 1988",
            FieldKind::Date,
            "EHR, 14 Jan 2025",
        ),
        sex,
        phone,
        field("email", "E-mail", "", FieldKind::Email, ""),
    ]
}

fn allergies() -> AllergyPanel {
    let entry = |id: &str, substance: &str, reaction: &str, story: &str| AllergyEntry {
        allergy: id.into(),
        substance: substance.into(),
        reaction: reaction.into(),
        story: story.into(),
        marks: vec![],
        reopened: None,
        shown: format!("change-{id}"),
    };
    let mut amoxicillin = entry("a1", "Amoxicillin", "Throat swelling", "11:02 here, M. Achterberg RN");
    amoxicillin.reopened = Some(
        "“Throat swelling” added here 11:02 by M. Achterberg RN. Refuted at Eastgate 11:20 without seeing it.".into(),
    );
    let mut codeine = entry("a3", "Codeine", "Vomiting", "2016");
    codeine.marks = vec![Mark::new("unknown", "unverified", Tone::Plain)];
    AllergyPanel {
        active: vec![
            amoxicillin,
            entry("a2", "Penicillin", "Hives", "11 Mar 2019"),
            codeine,
            entry("a4", "Contrast dye (iodine)", "Hives", "2022"),
            entry("a5", "Adhesive tape", "Blisters", "2020"),
        ],
        refuted: vec![entry(
            "a6",
            "Latex",
            "Itch",
            "refuted 02 Feb 2026 by Rao NP: “tolerated twice”",
        )],
        none_known: false,
        as_of: "EHR as of 07:40, this site as of now".into(),
    }
}

fn visit_story() -> VisitStory {
    let step = |at: &str, state, detail: &str, by: &str, entered: &str| VisitStep {
        at: at.into(),
        state,
        detail: detail.into(),
        by: by.into(),
        entered: entered.into(),
        undo: None,
    };
    let mut roomed = step("11:37", FlowState::Roomed, "Room 1", "Dolores Quiñones-Whitfield", "");
    roomed.undo = Some(Undo {
        action: "/visits/v8/undo".into(),
        shown: "change-v8-2".into(),
    });
    VisitStory {
        state: FlowState::Roomed,
        place: "Room 1 · 4 min".into(),
        as_of: "live on this network".into(),
        steps: vec![
            step(
                "11:02",
                FlowState::Arrived,
                "Rash after dinner",
                "Dolores Quiñones-Whitfield",
                "",
            ),
            step("11:09", FlowState::Registered, "", "Dolores Quiñones-Whitfield", ""),
            step(
                "11:21",
                FlowState::Triaged,
                "",
                "M. Achterberg RN",
                "entered 11:30, from paper",
            ),
            roomed,
        ],
    }
}

fn result_entry() -> ResultEntry {
    let line = |name: &str, value: &str, unit: &str, range: &str, flag| ResultLine {
        name: name.into(),
        value: value.into(),
        unit: unit.into(),
        range: range.into(),
        flag,
    };
    ResultEntry {
        result: "r1".into(),
        name: "CBC with differential".into(),
        received: "11:51 from LAB1".into(),
        status: "Final".into(),
        lines: vec![
            line(
                "White blood cells",
                "14.2",
                "10*3/µL",
                "4.0–11.0",
                Some(Mark::new("alert", "High", Tone::Watch)),
            ),
            line(
                "Hemoglobin",
                "6.1",
                "g/dL",
                "13.5–17.5",
                Some(Mark::new("alert", "Critical low", Tone::Solid)),
            ),
            line("Platelets", "240", "10*3/µL", "150–400", None),
        ],
    }
}

pub(super) fn patient() -> PatientView {
    let shell = shell_at(Tab::Find, banner_cut());
    let delivered = TaskRow {
        task: "t40".into(),
        at: "10:20".into(),
        ..task(TaskState::Delivered)
    };
    let mut waiting = TaskRow {
        task: "t41".into(),
        kind: "Encounter".into(),
        ..task(TaskState::Waiting)
    };
    waiting.todo = "Leaves when the line is back.".into();
    let mut unknown = TaskRow {
        task: "t42".into(),
        ..task(TaskState::OutcomeUnknown)
    };
    unknown.todo = "The line dropped before the EHR answered. The EHR is asked first; it is not sent twice.".into();
    PatientView {
        head: PatientHead {
            name: "Ramírez Núñez, José Ángel".into(),
            second: born("1988-06-16", "16 Jun 1988", "37 y"),
            numbers: vec![
                PatientNumber {
                    kind: "MRN".into(),
                    value: "102 664".into(),
                    assigner: "Cascade EHR".into(),
                },
                PatientNumber {
                    kind: "TEMP".into(),
                    value: "T4K-0127-H".into(),
                    assigner: String::new(),
                },
            ],
            remarks: vec!["male".into()],
        },
        body: PatientBody {
            keys: shell.keys.clone(),
            patient: "p8".into(),
            notice: None,
            allergies: allergies(),
            conflicts: vec![],
            visit: Some(visit_story()),
            earlier: vec![EarlierVisit {
                date: "02 Feb 2026".into(),
                what: "Asthma flare · Okafor MD · Riverside".into(),
            }],
            results: vec![result_entry()],
            tasks: vec![waiting, unknown, delivered],
            fields: patient_fields(),
            fields_as_of: "EHR as of 07:40, this site as of now".into(),
            coverage: vec![CoverageEntry {
                plan: "Meridian Health Plan, Silver PPO".into(),
                facts: vec![Fact::code("Member", "MHP 4471 9920 03"), Fact::new("Copay", "$35")],
                said: "“Active” by the payer at 07:40, not checked since".into(),
                as_of: "as of 07:40".into(),
            }],
            may_edit: true,
        },
        shell,
    }
}

pub(super) fn patient_in_dispute() -> PatientView {
    let mut view = patient();
    view.head.name = "Achterberg-Lindgren, Wilhelmina".into();
    view.head.second = number("MRN", "087 310");
    view.head.numbers.clear();
    view.body.patient = "p6".into();
    view.body.conflicts = vec![Conflict {
        keys: view.body.keys.clone(),
        ..conflict()
    }];
    for field in &mut view.body.fields {
        field.disputed = field.name == "birth_date";
        if field.name == "name" {
            field.value = "Achterberg-Lindgren, Wilhelmina".into();
            field.input.clone_from(&field.value);
        }
        if field.name == "email" {
            field.input = "wilhelmina at example".into();
            field.wrong = Some("An e-mail address has an @ in it.".into());
        }
    }
    view.body.notice = Some(Notice {
        tone: Tone::Wait,
        happened: "Ngozi Bello saved this patient while you typed.".into(),
        todo: "Her phone is kept; look at yours below and save again.".into(),
    });
    view
}

fn patient_bare() -> PatientView {
    let mut view = patient();
    view.body.allergies.active.clear();
    view.body.allergies.refuted.clear();
    view.body.visit = None;
    view.body.earlier.clear();
    view.body.results.clear();
    view.body.tasks.clear();
    view.body.coverage.clear();
    view
}

pub(super) fn transcription() -> TranscriptionView {
    let section = |title: &str, lines: &[(&str, &str)]| CopySection {
        title: title.into(),
        lines: lines
            .iter()
            .map(|(label, value)| CopyLine {
                label: (*label).into(),
                value: (*value).into(),
            })
            .collect(),
    };
    let entry = |task: &str, name: &str, second, due, current| QueueEntry {
        task: task.into(),
        patient: patient_named(name, second),
        due,
        current,
    };
    TranscriptionView {
        shell: shell_at(Tab::Work, banner_connected()),
        task: "t3".into(),
        kind: "New patient".into(),
        partner: "the EHR".into(),
        patient: patient_named("Nguyễn, Thị Minh Anh", born("1990-08-19", "19 Aug 1990", "35 y")),
        state: TaskState::ToEnterByHand,
        sections: vec![
            section(
                "Patient search",
                &[
                    ("Last name", "Nguyễn"),
                    ("First name", "Thị Minh Anh"),
                    ("Birth date", "08/19/1990"),
                ],
            ),
            section(
                "Demographics",
                &[
                    ("Sex at birth", "Female"),
                    ("Mobile phone", "(503) 555-0188"),
                    ("E-mail", ""),
                ],
            ),
            section(
                "Visit",
                &[("Arrival time", "04/14/2026 11:34"), ("Reason", "Cough, 3 days")],
            ),
        ],
        queue: vec![
            entry(
                "t3",
                "Nguyễn, Thị Minh Anh",
                born("1990-08-19", "19 Aug 1990", "35 y"),
                None,
                true,
            ),
            entry(
                "t31",
                "O’Sullivan-Brennan, Fionnuala Máiréad",
                born("1957-02-02", "02 Feb 1957", "69 y"),
                Some(Timer {
                    label: "due in 18 min".into(),
                    limit: None,
                    tone: Tone::Watch,
                }),
                false,
            ),
        ],
        number_hint: "7 digits.".into(),
        number: String::new(),
        wrong: None,
        entered: None,
        shown: "change-t3".into(),
    }
}

pub(super) fn downtime_standby() -> DowntimeView {
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

pub(super) fn downtime_declared() -> DowntimeView {
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

pub(super) fn connection() -> ConnectionView {
    let shell = shell_at(Tab::Connection, banner_catching_up());
    let part = |name: &str, state, since: &str, detail: &str| PartDetail {
        name: name.into(),
        state,
        since: since.into(),
        detail: detail.into(),
    };
    let lane = |name: &str, cursor: &str, roots| LaneDetail {
        name: name.into(),
        cursor: cursor.into(),
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
            lanes: vec![
                lane(
                    "Safety",
                    "epoch 1, sequence 1204",
                    RootState::Identical { at: "11:37".into() },
                ),
                lane(
                    "Flow",
                    "epoch 1, sequence 8110",
                    RootState::Differ { at: "11:35".into() },
                ),
                lane("Schedule and coverage", "epoch 1, sequence 96", RootState::NotCompared),
            ],
            pending: vec![
                pending(12, "Changes not yet at the hub", "oldest 10:43"),
                pending(37, "Tasks that wait", ""),
                pending(0, "Changes in quarantine", ""),
            ],
            hold: HoldState::NotHeld,
            may_hold: true,
        },
        shell,
    }
}

fn connection_held() -> ConnectionView {
    let mut view = connection();
    view.shell.banner = banner_held();
    view.detail.hold = HoldState::Held(held());
    view.detail.clock = "1 day 3 h ahead of the hub, measured 11:37".into();
    view.detail.clock_is_wrong = true;
    view
}

fn themed(mut view: BoardView, theme: Theme) -> String {
    view.shell.theme = theme;
    view.render().unwrap()
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
