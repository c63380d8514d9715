//! Telling a partner's encounter what has changed, without touching what others have written into it: the narrow types
//! leave most of a resource out, so the partner's own JSON is changed and sent back.

use serde_json::{Map, Value, json};

use super::resources::VISIT_STATE_EXTENSION;

/// The partner's encounter as it should be, or `None` when it says all that ours does. The status, when the visit began
/// and ended, and our own extension are ours; whatever else the partner has, it keeps.
pub(super) fn merged(theirs: &Value, ours: &Value) -> Option<Value> {
    let mut merged = theirs.as_object()?.clone();
    if let Some(status) = ours.get("status") {
        merged.insert("status".to_owned(), status.clone());
    }
    merge_period(&mut merged, ours.get("period"));
    merge_extension(&mut merged, ours.get("extension"));
    for absent in ["class", "subject", "reasonCode", "location"] {
        if let Some(value) = ours.get(absent).filter(|_| !merged.contains_key(absent)) {
            merged.insert(absent.to_owned(), value.clone());
        }
    }
    let merged = Value::Object(merged);
    (merged != *theirs).then_some(merged)
}

/// A start that the partner has stands; an end is there exactly when the visit has ended.
fn merge_period(merged: &mut Map<String, Value>, ours: Option<&Value>) {
    let part = |name: &str| ours.and_then(|period| period.get(name)).cloned();
    let period = merged.entry("period").or_insert_with(|| json!({}));
    if let Some(period) = period.as_object_mut() {
        if let Some(start) = part("start") {
            period.entry("start").or_insert(start);
        }
        match part("end") {
            Some(end) if !period.contains_key("end") => {
                period.insert("end".to_owned(), end);
            }
            Some(_) => {}
            None => {
                period.remove("end");
            }
        }
    }
    if merged
        .get("period")
        .and_then(Value::as_object)
        .is_some_and(Map::is_empty)
    {
        merged.remove("period");
    }
}

fn merge_extension(merged: &mut Map<String, Value>, ours: Option<&Value>) {
    let is_ours = |extension: &Value| extension["url"] == VISIT_STATE_EXTENSION;
    let theirs = merged
        .get("extension")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut extensions: Vec<Value> = theirs.into_iter().filter(|extension| !is_ours(extension)).collect();
    extensions.extend(ours.and_then(Value::as_array).into_iter().flatten().cloned());
    if extensions.is_empty() {
        merged.remove("extension");
    } else {
        merged.insert("extension".to_owned(), Value::Array(extensions));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn theirs() -> Value {
        json!({
            "resourceType": "Encounter", "id": "e1", "status": "triaged",
            "class": {"code": "AMB"}, "subject": {"reference": "Patient/p1"},
            "period": {"start": "2026-03-02T14:00:00Z"},
            "reasonCode": [{"coding": [{"code": "R05"}]}],
            "participant": [{"individual": {"reference": "Practitioner/7"}}],
            "extension": [{"url": "http://ehr.example/x", "valueString": "kept"}],
        })
    }

    #[test]
    fn what_others_wrote_into_the_encounter_stays() {
        let ours = json!({
            "status": "finished", "class": {"code": "AMB", "display": "ambulatory"},
            "subject": {"reference": "Patient/other"}, "reasonCode": [{"text": "cough"}],
            "period": {"start": "2026-03-02T14:10:00Z", "end": "2026-03-02T15:00:00Z"},
        });

        let merged = merged(&theirs(), &ours).unwrap();

        let mut expected = theirs();
        expected["status"] = json!("finished");
        expected["period"]["end"] = json!("2026-03-02T15:00:00Z");
        assert_eq!(merged, expected);
    }

    #[test]
    fn an_encounter_that_says_it_all_is_not_sent_again() {
        assert_eq!(
            merged(
                &theirs(),
                &json!({"status": "triaged", "period": {"start": "2026-03-02T14:10:00Z"}})
            ),
            None
        );
    }

    #[test]
    fn a_discharge_that_was_taken_back_takes_its_end_along() {
        let mut ended = theirs();
        ended["status"] = json!("finished");
        ended["period"]["end"] = json!("2026-03-02T15:00:00Z");

        let merged = merged(
            &ended,
            &json!({"status": "in-progress", "period": {"start": "2026-03-02T14:10:00Z"}}),
        )
        .unwrap();

        assert_eq!(
            (&merged["status"], merged["period"].get("end")),
            (&json!("in-progress"), None)
        );
    }

    #[test]
    fn our_extension_comes_and_goes_beside_others() {
        let ours =
            json!({"status": "arrived", "extension": [{"url": VISIT_STATE_EXTENSION, "valueCode": "registered"}]});

        let with = merged(&theirs(), &ours).unwrap();
        let without = merged(&with, &json!({"status": "triaged"})).unwrap();

        assert_eq!(with["extension"].as_array().map(Vec::len), Some(2));
        assert_eq!(without["extension"], theirs()["extension"]);
    }
}
