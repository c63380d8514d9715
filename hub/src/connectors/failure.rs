//! What an answer that is not a success means for the task. Pure. It keeps apart what certainly did not take effect from
//! what may have, and quotes nothing of the partner's but codes that FHIR itself defines.

use clinic::task::ErrorClass;
use formats::fhir::{OperationOutcome, decode};

/// Why a request did not do what it was for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// The partner said no to this content, or to us.
    Refused { class: ErrorClass, note: String },
    /// It certainly had no effect and may succeed later; not before the pause that the partner asked for.
    Unavailable {
        class: ErrorClass,
        note: String,
        pause_ms: Option<i64>,
    },
    /// Somebody else changed the same thing, or more than one there is meant: look again.
    Conflict { note: String },
    /// It may have taken effect.
    Unknown { class: ErrorClass, note: String },
}

/// What a request can bring about at the partner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    Reads,
    Writes,
}

/// How the attempt to send a request and hear its answer failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Broken {
    /// No connection came about, so nothing was sent.
    NotConnected,
    TimedOut,
    /// The connection ended before the answer did.
    CutOff,
}

/// How long everything waits when the EHR does not take the hub's credentials.
const LAPSED_PAUSE_MS: i64 = 60 * 1000;

/// The longest pause that a partner can ask for with Retry-After.
const PAUSE_MAX_MS: i64 = 60 * 60 * 1000;

pub(super) fn of_broken(broken: Broken, effect: Effect) -> Failure {
    let (class, note) = match broken {
        Broken::NotConnected => (ErrorClass::Unavailable, "not connected"),
        Broken::TimedOut => (ErrorClass::Timeout, "no answer in time"),
        Broken::CutOff => (ErrorClass::Unavailable, "cut off before the answer"),
    };
    let note = note.to_owned();
    match (broken, effect) {
        (Broken::NotConnected, _) | (_, Effect::Reads) => Failure::Unavailable {
            class,
            note,
            pause_ms: None,
        },
        (Broken::TimedOut | Broken::CutOff, Effect::Writes) => Failure::Unknown { class, note },
    }
}

/// What a status other than a success means. A gateway that answers 502 or 504, and a server that answers 500, do not
/// know whether the EHR has committed.
pub(super) fn of_status(status: u16, effect: Effect, pause_ms: Option<i64>, body: &[u8]) -> Failure {
    let note = note(status, body);
    let pause_ms = pause_ms.map(|pause| pause.clamp(0, PAUSE_MAX_MS));
    let may_have_taken_effect = |class, note| match effect {
        Effect::Writes => Failure::Unknown { class, note },
        Effect::Reads => Failure::Unavailable { class, note, pause_ms },
    };
    match status {
        // Credentials that have lapsed are the hub's to mend, not each task's: all wait.
        401 => Failure::Unavailable {
            class: ErrorClass::Authentication,
            note,
            pause_ms: pause_ms.or(Some(LAPSED_PAUSE_MS)),
        },
        403 => Failure::Refused {
            class: ErrorClass::Authentication,
            note,
        },
        408 => may_have_taken_effect(ErrorClass::Timeout, note),
        409 | 412 => Failure::Conflict { note },
        429 => Failure::Unavailable {
            class: ErrorClass::Unavailable,
            note,
            pause_ms,
        },
        400 | 413 | 415 | 422 => Failure::Refused {
            class: ErrorClass::Validation,
            note,
        },
        500 | 502 | 504 => may_have_taken_effect(ErrorClass::Unavailable, note),
        501..=599 => Failure::Unavailable {
            class: ErrorClass::Unavailable,
            note,
            pause_ms,
        },
        _ => Failure::Refused {
            class: ErrorClass::Refused,
            note,
        },
    }
}

/// Whether the partner did not serve the request at all, as the breaker counts it.
pub(super) fn is_outage(status: u16) -> bool {
    matches!(status, 408 | 500..=599)
}

/// Retry-After in seconds or as a date (RFC 9110, 10.2.3).
pub(super) fn retry_after_ms(header: &str, now_ms: i64) -> Option<i64> {
    let header = header.trim();
    if let Ok(secs) = header.parse::<u32>() {
        return Some(i64::from(secs) * 1_000);
    }
    let date = jiff::fmt::rfc2822::parse(header).ok()?;
    Some((date.timestamp().as_millisecond() - now_ms).max(0))
}

fn note(status: u16, body: &[u8]) -> String {
    let mut note = format!("HTTP {status}");
    let Ok(outcome) = decode::<OperationOutcome>(body) else {
        return note;
    };
    let mut codes: Vec<&str> = Vec::new();
    for code in outcome.issue.iter().filter_map(|issue| issue.code.as_deref()) {
        // Free text where a code belongs could be anything, a name included.
        if let Some(known) = ISSUE_TYPES
            .iter()
            .find(|known| **known == code)
            .filter(|known| !codes.contains(known))
        {
            codes.push(known);
        }
    }
    codes.truncate(4);
    if !codes.is_empty() {
        note.push(' ');
        note.push_str(&codes.join(", "));
    }
    note
}

/// <http://hl7.org/fhir/R4/valueset-issue-type.html>
const ISSUE_TYPES: &[&str] = &[
    "invalid",
    "structure",
    "required",
    "value",
    "invariant",
    "security",
    "login",
    "unknown",
    "expired",
    "forbidden",
    "suppressed",
    "processing",
    "not-supported",
    "duplicate",
    "multiple-matches",
    "not-found",
    "deleted",
    "too-long",
    "code-invalid",
    "extension",
    "too-costly",
    "business-rule",
    "conflict",
    "transient",
    "lock-error",
    "no-store",
    "exception",
    "timeout",
    "incomplete",
    "throttled",
    "informational",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(status: u16, effect: Effect) -> &'static str {
        match of_status(status, effect, None, b"") {
            Failure::Refused {
                class: ErrorClass::Authentication,
                ..
            } => "authentication",
            Failure::Refused {
                class: ErrorClass::Validation,
                ..
            } => "validation",
            Failure::Refused { .. } => "refused",
            Failure::Unavailable { .. } => "unavailable",
            Failure::Conflict { .. } => "conflict",
            Failure::Unknown { .. } => "unknown",
        }
    }

    #[test]
    fn every_status_has_its_class() {
        for (status, reading, writing) in [
            (302, "refused", "refused"),
            (400, "validation", "validation"),
            (401, "unavailable", "unavailable"),
            (403, "authentication", "authentication"),
            (404, "refused", "refused"),
            (408, "unavailable", "unknown"),
            (409, "conflict", "conflict"),
            (412, "conflict", "conflict"),
            (422, "validation", "validation"),
            (429, "unavailable", "unavailable"),
            (500, "unavailable", "unknown"),
            (502, "unavailable", "unknown"),
            (503, "unavailable", "unavailable"),
            (504, "unavailable", "unknown"),
        ] {
            assert_eq!(
                (class_of(status, Effect::Reads), class_of(status, Effect::Writes)),
                (reading, writing),
                "{status}"
            );
        }
    }

    #[test]
    fn only_what_was_surely_not_sent_may_be_sent_again_at_once() {
        assert!(matches!(
            of_broken(Broken::NotConnected, Effect::Writes),
            Failure::Unavailable { .. }
        ));
        assert!(matches!(
            of_broken(Broken::TimedOut, Effect::Writes),
            Failure::Unknown {
                class: ErrorClass::Timeout,
                ..
            }
        ));
        assert!(matches!(
            of_broken(Broken::CutOff, Effect::Writes),
            Failure::Unknown { .. }
        ));
        assert!(matches!(
            of_broken(Broken::TimedOut, Effect::Reads),
            Failure::Unavailable {
                class: ErrorClass::Timeout,
                ..
            }
        ));
    }

    #[test]
    fn a_note_has_codes_of_the_standard_and_none_of_the_partners_words() {
        let body = br#"{"resourceType":"OperationOutcome","issue":[
            {"severity":"error","code":"invalid","diagnostics":"Quill, Orla is no name"},
            {"severity":"error","code":"Quill"}, {"severity":"error","code":"invalid"}]}"#;

        let failure = of_status(422, Effect::Writes, None, body);

        assert_eq!(
            failure,
            Failure::Refused {
                class: ErrorClass::Validation,
                note: "HTTP 422 invalid".to_owned()
            }
        );
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        assert_eq!(retry_after_ms("7", 0), Some(7_000));
        assert_eq!(retry_after_ms("Thu, 01 Jan 1970 00:01:00 GMT", 10_000), Some(50_000));
        assert_eq!(retry_after_ms("soon", 0), None);
        let asked = of_status(429, Effect::Writes, Some(i64::MAX), b"");
        assert!(matches!(
            asked,
            Failure::Unavailable {
                pause_ms: Some(PAUSE_MAX_MS),
                ..
            }
        ));
    }
}
