//! What the command line prints. The only place of the hub's where PHI goes to a screen: what `patient find` was asked.

use std::fmt::Write;

use zeroize::Zeroizing;

use crate::admin::{FoundPatient, Reply, Status};
use crate::exit::Failure;

/// One line of JSON, without the tag by which replies are told apart on the local socket.
pub(super) fn json(reply: &Reply) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: serde_json::Error| Failure::failed(format!("the answer cannot be shown: {error}"));
    let mut value = serde_json::to_value(reply).map_err(failed)?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("reply");
    }
    Ok(Zeroizing::new(value.to_string()))
}

pub(super) fn failure(failure: &Failure) -> String {
    serde_json::json!({ "error": failure.message, "exit": failure.exit as u8 }).to_string()
}

pub(super) fn text(reply: &Reply) -> Zeroizing<String> {
    Zeroizing::new(match reply {
        Reply::Site { site, name } => {
            format!("added {name}, site {site}\nnext: mainstay-hub token --site {site}")
        }
        Reply::Token { token, site, expires } => {
            format!(
                "{}\nfor site {site}, once, until {expires}: mainstay-agent enrol",
                token.as_str()
            )
        }
        Reply::Revoked { agent } => format!("agent {agent} is refused from now on"),
        Reply::Staff { staff } => format!("added staff {staff}"),
        Reply::Edited { patient, changes } if changes.is_empty() => format!("patient {patient} says that already"),
        Reply::Edited { patient, changes } => format!("patient {patient}: {} changes", changes.len()),
        Reply::Patients { patients } if patients.is_empty() => "nobody found".to_owned(),
        Reply::Patients { patients } => patients.iter().map(line_of).collect::<Vec<_>>().join("\n"),
        Reply::Status(status) => text_of_status(status),
    })
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

fn text_of_status(status: &Status) -> String {
    let mut text = format!("epoch {}", status.epoch);
    for site in &status.sites {
        let seen = site.last_seen.as_deref().unwrap_or("never");
        let _ = write!(
            text,
            "\n\n{}  {}\n  last heard of {seen}; {} changes held, {} set aside",
            site.site, site.name, site.accepted, site.quarantined
        );
        for agent in &site.agents {
            let _ = match &agent.revoked {
                None => write!(text, "\n  agent {} enrolled {}", agent.agent, agent.enrolled),
                Some(revoked) => write!(text, "\n  agent {} revoked {revoked}", agent.agent),
            };
        }
    }
    let tasks: Vec<String> = status
        .tasks
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let _ = write!(
        text,
        "\n\ntasks: {}",
        if tasks.is_empty() {
            "none".to_owned()
        } else {
            tasks.join(", ")
        }
    );
    for warning in &status.warnings {
        let _ = write!(text, "\n{}: {}", warning.severity, warning.text);
    }
    text
}
