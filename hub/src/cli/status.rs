//! `status`.

use std::fmt::Write;

use crate::admin::{InboundStatus, Status};

pub(super) fn text(status: &Status) -> String {
    let mut text = format!("epoch {}\nstore: {}", status.epoch, status.store);
    for begun in &status.begun {
        let _ = write!(text, "\n  epoch {} began {}: {}", begun.epoch, begun.begun, begun.cause);
    }
    let _ = match &status.backup {
        Some(until) => write!(text, "\nbackup confirmed until {until}"),
        None => write!(text, "\nno backup"),
    };
    for site in &status.sites {
        let seen = site.last_seen.as_deref().unwrap_or("never");
        let _ = write!(
            text,
            "\n\n{}  {}\n  last heard of {seen}; {} changes held, {} set aside",
            site.site, site.name, site.accepted, site.quarantined
        );
        if let Some(checked) = &site.proof_checked {
            let _ = write!(text, "\n  rows compared with their sums {checked}");
        }
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
    if let Some(inbound) = &status.inbound {
        of_ehr(&mut text, inbound);
    }
    for warning in &status.warnings {
        let _ = write!(text, "\n{}: {}", warning.severity, warning.text);
    }
    text
}

fn of_ehr(text: &mut String, inbound: &InboundStatus) {
    text.push_str("\n\nread of the EHR:");
    for feed in &inbound.feeds {
        let polled = feed.polled.as_deref().unwrap_or("never to its end");
        let filling = if feed.filling { "; for the first time now" } else { "" };
        let _ = write!(text, "\n  {} {polled}; {} taken{filling}", feed.feed, feed.taken);
        for (count, what) in [
            (feed.unknown, "of a type that is not read"),
            (feed.broken, "that could not be used"),
        ] {
            if count > 0 {
                let _ = write!(text, "; {count} {what}");
            }
        }
        if let Some(problem) = &feed.problem {
            let _ = write!(text, "\n    problem: {problem}");
        }
    }
    for (count, what) in [
        (
            inbound.without_site,
            "appointments name a location that no site has: mainstay-hub site set SITE --ehr-location ID",
        ),
        (
            inbound.without_patient,
            "resources name a patient that the EHR has not told of",
        ),
        (
            inbound.without_provider,
            "appointments name a provider that the EHR has not told of",
        ),
    ] {
        if count > 0 {
            let _ = write!(text, "\n  {count} {what}");
        }
    }
}
