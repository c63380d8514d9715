//! What the command line prints: JSON for scripts, short lines for people. The only file that writes to the terminal.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the command line's own output")]

use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mainstay_agent::config::Config;
use mainstay_agent::enrol::Enrolled;
use mainstay_agent::fault::Fault;
use mainstay_agent::local::{BoardLine, PatientLine, QueueLine};
use mainstay_agent::service::Ready;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) fn fault(fault: &Fault) -> ExitCode {
    eprintln!("mainstay-agent: {fault}");
    ExitCode::from(fault.exit_code())
}

pub(crate) fn prompt(text: &str) {
    eprintln!("{text}");
}

pub(crate) fn json(value: &impl Serialize) -> Result<(), Fault> {
    let text = serde_json::to_string(value).map_err(|error| Fault::Other(error.to_string()))?;
    println!("{text}");
    Ok(())
}

pub(crate) fn enrolled(enrolled: &Enrolled, as_json: bool) {
    if as_json {
        println!(
            "{}",
            json!({"site": enrolled.site.to_string(), "name": enrolled.name, "hub": enrolled.hub})
        );
    } else {
        println!(
            "Enrolled as {} with the hub at {}. Start it with `mainstay-agent run`.",
            enrolled.name, enrolled.hub
        );
    }
}

pub(crate) fn ready(ready: &Ready, as_json: bool) {
    if as_json {
        println!(
            "{}",
            json!({"ready": true, "page": format!("http://{}", ready.page), "mllp": ready.mllp.to_string()})
        );
    } else {
        println!(
            "The page is at http://{}; HL7 messages are taken at {}.",
            ready.page, ready.mllp
        );
    }
}

pub(crate) fn checked(file: &Path, settings: &Config, as_json: bool) -> Result<(), Fault> {
    if as_json {
        return json(settings);
    }
    if file.exists() {
        println!("{} is right.", file.display());
    } else {
        println!("There is no {}; the defaults hold.", file.display());
    }
    Ok(())
}

pub(crate) fn status(status: &Value, as_json: bool) -> Result<(), Fault> {
    if as_json {
        return json(status);
    }
    let text = |name: &str| status[name].as_str().unwrap_or("unknown").to_owned();
    let number = |name: &str| status[name].as_u64().unwrap_or_default();
    println!("{} ({})", text("name"), text("site"));
    println!(
        "Line: {} since {}",
        text("line"),
        at(status["since_ms"].as_i64(), &text("zone"))
    );
    if let Some(trouble) = status["trouble"].as_str() {
        println!("  {trouble}");
    }
    if let Some(lane) = status["filling"]["lane"].as_str() {
        println!(
            "Receiving the records of this site ({lane}): {} of {}",
            status["filling"]["rows"], status["filling"]["of_rows"]
        );
    }
    println!("EHR: {}", text("ehr"));
    println!(
        "Changes: {} written, {} at the hub, {} pending, {} set aside",
        number("counter"),
        number("accepted"),
        number("pending"),
        number("quarantined")
    );
    let queue: Vec<String> = status["queue"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, count)| count.as_u64() != Some(0))
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    println!(
        "Tasks: {}",
        if queue.is_empty() {
            "none".to_owned()
        } else {
            queue.join(", ")
        }
    );
    println!(
        "Need a person: {} conflicts, {} unmatched results, {} messages not taken, {} without effect",
        number("conflicts"),
        number("unmatched"),
        number("rejected_messages"),
        number("messages_without_effect")
    );
    for (lane, root) in status["roots"].as_object().into_iter().flatten() {
        match root["verified_ms"].as_i64() {
            Some(ms) => println!("Verified identical at {} ({lane})", at(Some(ms), &text("zone"))),
            None => println!("Not verified against the hub ({lane})"),
        }
    }
    for warning in status["warnings"].as_array().into_iter().flatten() {
        println!(
            "{}: {}",
            warning["severity"].as_str().unwrap_or("warning"),
            warning["text"].as_str().unwrap_or_default()
        );
    }
    Ok(())
}

pub(crate) fn board(answer: Value, as_json: bool) -> Result<(), Fault> {
    if as_json {
        return json(&answer);
    }
    let lines: Vec<BoardLine> = read(answer)?;
    if lines.is_empty() {
        println!("Nobody is here.");
    }
    for line in lines {
        println!(
            "{:<16} {:<28} {:<10} {}",
            line.state, line.name, line.birth_date, line.reason
        );
    }
    Ok(())
}

pub(crate) fn queue(answer: Value, as_json: bool) -> Result<(), Fault> {
    if as_json {
        return json(&answer);
    }
    let lines: Vec<QueueLine> = read(answer)?;
    if lines.is_empty() {
        println!("Nothing waits.");
    }
    for line in lines {
        println!("{:<16} {:<28} {} {}", line.state, line.kind, line.task, line.note);
    }
    Ok(())
}

pub(crate) fn patients(answer: Value, as_json: bool) -> Result<(), Fault> {
    if as_json {
        return json(&answer);
    }
    let lines: Vec<PatientLine> = read(answer)?;
    if lines.is_empty() {
        println!("Nobody here is like that.");
    }
    for line in lines {
        let name = line.name.standing.unwrap_or_else(|| "name to be decided".to_owned());
        let birth_date = line
            .birth_date
            .standing
            .unwrap_or_else(|| "birth date not known".to_owned());
        println!("{name}, {birth_date}, {}", line.patient);
        for value in line.birth_date.open {
            println!("  birth date to be decided: {}", value.value);
        }
        line.phone.iter().for_each(|phone| println!("  phone {phone}"));
        line.email.iter().for_each(|email| println!("  e-mail {email}"));
        line.allergies
            .iter()
            .for_each(|allergy| println!("  allergy: {allergy}"));
    }
    Ok(())
}

pub(crate) fn accepted(answer: &Value, as_json: bool) -> Result<(), Fault> {
    if as_json {
        return json(answer);
    }
    let lane = answer["lane"].as_str().unwrap_or_default();
    println!("Accepted: the {lane} lane goes on, and what waited is applied with the next exchange.");
    Ok(())
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Fault> {
    serde_json::from_value(answer).map_err(|error| Fault::Other(format!("the agent's answer cannot be read: {error}")))
}

fn at(ms: Option<i64>, zone: &str) -> String {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let time = ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(
        || "unknown".to_owned(),
        |t| t.to_zoned(zone).strftime("%Y-%m-%d %H:%M").to_string(),
    )
}
