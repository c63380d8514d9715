//! `patient`.

use std::fmt::Write;

use clap::{Args, Subcommand};

use crate::admin::{Command, Edit, FoundPatient, PatientCommand, PatientReply};

#[derive(Subcommand)]
pub(super) enum PatientVerb {
    /// Find patients by name however spelled, birth date, phone number or identifier.
    Find { text: String },
    /// Change what the hub holds of a patient; sites hear of it with their next exchange.
    Edit(EditArguments),
}

#[derive(Args)]
pub(super) struct EditArguments {
    /// The patient's id, as `patient find` gave it.
    patient: String,
    #[arg(long)]
    phone: Option<String>,
    #[arg(long)]
    email: Option<String>,
    #[arg(long, value_name = "YYYY-MM-DD")]
    birth_date: Option<String>,
    /// What the patient is allergic to.
    #[arg(long, value_name = "TEXT")]
    add_allergy: Option<String>,
}

impl PatientVerb {
    pub(super) fn command(self) -> Command {
        Command::Patient(match self {
            PatientVerb::Find { text } => PatientCommand::Find { text },
            PatientVerb::Edit(edit) => PatientCommand::Edit(Edit {
                patient: edit.patient,
                phone: edit.phone,
                email: edit.email,
                birth_date: edit.birth_date,
                add_allergy: edit.add_allergy,
            }),
        })
    }
}

pub(super) fn text(reply: &PatientReply) -> String {
    match reply {
        PatientReply::Edited { patient, changes } if changes.is_empty() => {
            format!("patient {patient} says that already")
        }
        PatientReply::Edited { patient, changes } => format!("patient {patient}: {} changes", changes.len()),
        PatientReply::Found { patients } if patients.is_empty() => "nobody found".to_owned(),
        PatientReply::Found { patients } => patients.iter().map(line_of).collect::<Vec<_>>().join("\n"),
    }
}

fn line_of(patient: &FoundPatient) -> String {
    let mut line = format!("{}  {}", patient.patient, patient.name);
    for part in [&patient.birth_date, &patient.phone, &patient.email]
        .into_iter()
        .flatten()
    {
        let _ = write!(line, "  {part}");
    }
    if patient.conflict {
        line.push_str("  (values wait for a decision)");
    }
    line
}
