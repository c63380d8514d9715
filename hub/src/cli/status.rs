//! `status`.

use std::fmt::Write;

use crate::admin::Status;

pub(super) fn text(status: &Status) -> String {
    let mut text = format!("epoch {}\nstore: {}", status.epoch, status.store);
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
    for set in &status.references {
        let _ = write!(text, "\nreference {}", super::reference::line_of(set));
    }
    for warning in &status.warnings {
        let _ = write!(text, "\n{}: {}", warning.severity, warning.text);
    }
    text
}
