//! One patient: known well, in dispute, hardly known.

use super::*;

fn field(name: &str, label: &str, value: &str, kind: FieldKind, source: &str) -> PatientField {
    PatientField {
        name: name.into(),
        label: label.into(),
        value: value.into(),
        input: value.into(),
        was: value.into(),
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
    sex.was = "male".into();
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
        may_refute: true,
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
        status: "preliminary".into(),
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

pub(in crate::web::views) fn patient() -> PatientView {
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
            patient: "p8".into(),
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
            same_person: vec![],
            maybe_same: vec![],
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

pub(in crate::web::views) fn patient_in_dispute() -> PatientView {
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

pub(in crate::web::views) fn patient_bare() -> PatientView {
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
