//! Questions, tasks in every state, a task to enter by hand.

use super::*;

pub(in crate::web::views) fn conflict() -> Conflict {
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

pub(in crate::web::views) fn task(state: TaskState) -> TaskRow {
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

pub(in crate::web::views) fn work() -> WorkView {
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
            contradictions: vec![Contradiction {
                visit: "v17".into(),
                ends: "Discharged, or Left, not seen?".into(),
                patient: patient_named("Lindqvist, Åsa", born("1967-12-09", "09 Dec 1967", "58 y")),
            }],
            matches: vec![partner_match()],
            unmatched: vec![unmatched()],
            rejected_total: 1,
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
pub(in crate::web::views) fn work_opened() -> String {
    work()
        .render()
        .unwrap()
        .replace(r#"<details class="ask""#, r#"<details open class="ask""#)
}

pub(in crate::web::views) fn work_empty() -> WorkView {
    let mut view = work();
    view.shell.banner = banner_connected();
    view.list.choices.truncate(1);
    view.list.conflicts.clear();
    view.list.contradictions.clear();
    view.list.matches.clear();
    view.list.unmatched.clear();
    view.list.rejected.clear();
    view.list.groups.clear();
    view
}

pub(in crate::web::views) fn transcription() -> TranscriptionView {
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
