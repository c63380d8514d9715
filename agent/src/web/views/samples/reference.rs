//! Reference data: one set in force, one old, one on its way.

use super::*;

pub(in super::super) fn reference() -> ReferenceView {
    let set = |title: &str, version: &str, stale: bool, state: ReferenceState| ReferenceSet {
        title: title.into(),
        version: version.into(),
        entries: "98262 entries".into(),
        source: "icd10cm.xml.gz".into(),
        age: "loaded 2 h ago, as of 09:12".into(),
        stale,
        state,
    };
    let row = |key: &str, text: &str, mark: &str| ReferenceRow {
        key: key.into(),
        text: text.into(),
        remark: String::new(),
        href: None,
        mark: mark.into(),
    };
    let coming = ReferenceState::Coming {
        what: "Being fetched, 40 %".into(),
        meanwhile: "version 2026 is searched meanwhile".into(),
    };
    let refused = ReferenceState::Refused {
        at: "11:20".into(),
        meanwhile: "nothing is searched until it is here".into(),
    };
    ReferenceView {
        shell: shell_at(Tab::Connection, banner_connected()),
        sets: ReferenceSets {
            as_of: "as of 11:38:07".into(),
            sets: vec![
                set("Diagnoses (ICD-10-CM)", "2027", false, coming),
                set("Payers", "a1b2c3d4e5f6", true, ReferenceState::Current),
                set("Vaccines (CVX)", "2.9", false, refused),
            ],
        },
        query: "acute pharyn".into(),
        places: vec![SearchPlace {
            code: "icd-10-cm".into(),
            label: "Diagnoses (ICD-10-CM)".into(),
            current: true,
        }],
        found: Some(ReferenceFound {
            summary: "2 found".into(),
            columns: ["Code", "Text", ""],
            rows: vec![
                row("J02.9", "Acute pharyngitis, unspecified", ""),
                row("J02", "Acute pharyngitis", "heading, not to be used itself"),
            ],
        }),
    }
}

pub(in super::super) fn reference_empty() -> ReferenceView {
    ReferenceView {
        sets: ReferenceSets {
            as_of: "as of 11:38:07".into(),
            sets: Vec::new(),
        },
        query: String::new(),
        found: None,
        ..reference()
    }
}
