//! At the door: sign-in, arrival, search.

use super::*;

pub(in crate::web::views) fn sign_in(state: SignInState) -> SignInView {
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

pub(in crate::web::views) fn arrival_empty() -> ArrivalView {
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

pub(in crate::web::views) fn arrival_choosing() -> ArrivalView {
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

pub(in crate::web::views) fn arrival_wrong() -> ArrivalView {
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

pub(in crate::web::views) fn arrival_done() -> ArrivalView {
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

pub(in crate::web::views) fn find() -> FindView {
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
