//! The board in the middle of the day, and empty.

use super::*;

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
        action: format!("/visits/{visit}/move"),
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

pub(in crate::web::views) fn board() -> BoardView {
    board_with(banner_cut())
}

pub(in crate::web::views) fn board_with(banner: Banner) -> BoardView {
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

pub(in crate::web::views) fn board_empty() -> BoardView {
    let mut view = board_with(banner_connected());
    view.shell.toast = None;
    view.rows.groups.clear();
    view.rows.choices.truncate(1);
    view
}

pub(in crate::web::views) fn themed(mut view: BoardView, theme: Theme) -> String {
    view.shell.theme = theme;
    view.render().unwrap()
}
