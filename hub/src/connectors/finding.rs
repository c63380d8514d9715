//! Finding out who at the partner may be our patient, before one is ever created there. It asks for no more of other
//! people than it must: by numbers, by birth date with the initial of the family name, by phone.

use std::collections::BTreeMap;

use clinic::matching::{Candidate, Identity, Match, confirmed, decide, fold, phone_key};
use clinic::task::Answer;
use formats::date::PartialDate;
use formats::fhir::{Bundle, DatePrefix, Patient, SearchQuery, TextMatch};
use sync_protocol::RecordId;

use super::failure::Failure;
use super::partner::{Cause, Partner, is_id};
use super::resources::{PATIENT_SYSTEM, candidate};

const PER_PAGE: u32 = 100;
/// Numbers and spellings that one search asks for.
const ALTERNATIVES_MAX: usize = 16;

/// Who was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The partner's ids of those that carry our own record's identifier: an earlier attempt created them.
    pub(super) own: Vec<String>,
    /// Those that carry the number which somebody brought back from the EHR, and agree in name or birth date.
    pub(super) by_hand: Vec<String>,
    pub(super) candidates: Vec<Candidate>,
}

pub(super) async fn find(
    partner: &Partner,
    ours: &Identity,
    record: RecordId,
    number_by_hand: Option<&str>,
    cause: Cause,
) -> Result<Found, Failure> {
    let mut hits = BTreeMap::new();
    let mut take = |bundle: &Bundle| {
        for patient in bundle.patients() {
            if let Some(id) = patient.id.clone().filter(|id| is_id(id)) {
                hits.insert(id, patient.clone());
            }
        }
    };
    let by_number = partner.search("Patient", &by_number(ours), cause).await?;
    take(&whole(by_number)?);
    if let Some(number) = number_by_hand {
        let form = SearchQuery::new()
            .token_of_any_system("identifier", number)
            .count(PER_PAGE);
        take(&whole(
            partner.search("Patient", &form.to_query_string(), cause).await?,
        )?);
    }
    if let Some((wide, narrow)) = by_birth_date(ours) {
        let mut bundle = partner.search("Patient", &wide, cause).await?;
        if bundle.next_url().is_some() {
            bundle = partner.search("Patient", &narrow, cause).await?;
        }
        take(&whole(bundle)?);
    }
    if let Some(form) = by_phone(ours) {
        match partner.search("Patient", &form, cause).await {
            Ok(bundle) => take(&whole(bundle)?),
            // Not every EHR can be asked for a phone number.
            Err(Failure::Refused {
                class: clinic::task::ErrorClass::Validation | clinic::task::ErrorClass::Refused,
                ..
            }) => {}
            Err(failure) => return Err(failure),
        }
    }
    let is_own = |patient: &&Patient| patient.identifier_of(PATIENT_SYSTEM) == Some(&record.to_string());
    let candidates: Vec<Candidate> = hits.values().filter_map(|patient| candidate(patient, ours)).collect();
    let carries = |one: &&Candidate| {
        let mut numbers = one.identity.identifiers.iter().map(|id| id.value.as_str());
        number_by_hand.is_some_and(|number| numbers.any(|value| value == number)) && confirmed(ours, &one.identity)
    };
    Ok(Found {
        own: hits
            .values()
            .filter(is_own)
            .filter_map(|patient| patient.id.clone())
            .collect(),
        by_hand: candidates
            .iter()
            .filter(carries)
            .map(|one| one.partner_id.clone())
            .collect(),
        candidates,
    })
}

/// Those that carry our own record's identifier: what an attempt without an answer may have created.
pub(super) async fn find_own(partner: &Partner, record: RecordId, cause: Cause) -> Result<Vec<String>, Failure> {
    let form = own_query(record).to_query_string();
    let bundle = partner.search("Patient", &form, cause).await?;
    let hex = record.to_string();
    let own = bundle
        .patients()
        .filter(|patient| patient.identifier_of(PATIENT_SYSTEM) == Some(&hex));
    Ok(own
        .filter_map(|patient| patient.id.clone().filter(|id| is_id(id)))
        .collect())
}

/// The search for our own record's identifier.
pub(super) fn own_query(record: RecordId) -> SearchQuery {
    SearchQuery::new().token("identifier", PATIENT_SYSTEM, &record.to_string())
}

/// Deciding on a part of those who match could choose the wrong one.
fn whole(bundle: Bundle) -> Result<Bundle, Failure> {
    match bundle.next_url() {
        None => Ok(bundle),
        Some(_) => Err(Failure::Conflict {
            note: "more people at the EHR match than can be compared".to_owned(),
        }),
    }
}

fn by_number(ours: &Identity) -> String {
    let numbers = ours
        .identifiers
        .iter()
        .filter(|id| !id.system.is_empty() && !id.value.is_empty());
    let tokens = numbers.map(|id| SearchQuery::new().token("identifier", &id.system, &id.value));
    any_of("identifier", tokens)
}

/// A wide search that finds the family name however it is accented and apostrophised, and a narrow one for when too many
/// were born on that day. Without a whole birth date a name decides nothing, so it is not asked for.
fn by_birth_date(ours: &Identity) -> Option<(String, String)> {
    let date = PartialDate::parse_fhir(&ours.birth_date.filter(|date| date.is_whole())?.iso())?;
    let family = ours.name.family.trim();
    let initial: String = family.chars().take(1).collect();
    let plain: String = fold(family).chars().take(1).collect();
    if initial.is_empty() {
        return None;
    }
    let born = SearchQuery::new()
        .date("birthdate", DatePrefix::Equal, date)
        .count(PER_PAGE)
        .to_query_string();
    let starting = |texts: Vec<String>| {
        let texts = texts.into_iter().filter(|text| !text.is_empty());
        any_of(
            "family",
            texts.map(|text| SearchQuery::new().text("family", TextMatch::Begins, &text)),
        )
    };
    let wide = starting(if plain == initial.to_lowercase() {
        vec![plain]
    } else {
        vec![initial, plain]
    });
    let narrow = starting(vec![family.to_owned(), family.replace('\u{2019}', "'")]);
    Some((format!("{wide}&{born}"), format!("{narrow}&{born}")))
}

/// By phone, in the ways that such a number is written: servers compare it as text.
fn by_phone(ours: &Identity) -> Option<String> {
    let mut spellings: Vec<String> = Vec::new();
    for phone in &ours.phones {
        let Some(key) = phone_key(phone) else { continue };
        spellings.push(phone.trim().to_owned());
        spellings.push(key.clone());
        if let (10, Some(area), Some(exchange), Some(line)) = (key.len(), key.get(..3), key.get(3..6), key.get(6..)) {
            spellings.extend([
                format!("({area}) {exchange}-{line}"),
                format!("{area}-{exchange}-{line}"),
                format!("{area} {exchange} {line}"),
                format!("+1 {area} {exchange} {line}"),
                format!("+1 {area}-{exchange}-{line}"),
                format!("+1-{area}-{exchange}-{line}"),
                format!("+1{key}"),
            ]);
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    spellings.retain(|spelling| seen.insert(spelling.clone()));
    if spellings.is_empty() {
        return None;
    }
    let any = any_of(
        "phone",
        spellings
            .iter()
            .map(|phone| SearchQuery::new().token_of_any_system("phone", phone)),
    );
    Some(format!("{any}&_count={PER_PAGE}"))
}

/// One parameter with several values, of which one is to match (R4 search, 3.1.1.5.1).
fn any_of(name: &str, queries: impl Iterator<Item = SearchQuery>) -> String {
    let start = format!("{name}=");
    let values: Vec<String> = queries
        .take(ALTERNATIVES_MAX)
        .map(|query| query.to_query_string())
        .filter_map(|query| query.strip_prefix(&start).map(str::to_owned))
        .collect();
    format!("{start}{}", values.join("%2C"))
}

/// What is to be done about the patient, in the light of a person's answer if there is one.
pub(super) fn verdict(found: &Found, ours: &Identity, answer: Option<&Answer>, offered: &[String]) -> Match {
    match (found.own.as_slice(), answer) {
        ([one], _) => Match::Attach(one.clone()),
        ([], None) if found.by_hand.len() == 1 => Match::Attach(found.by_hand.concat()),
        ([], Some(Answer::Create)) => {
            let unseen: Vec<Candidate> = found
                .candidates
                .iter()
                .filter(|one| !offered.contains(&one.partner_id))
                .cloned()
                .collect();
            match decide(ours, &unseen) {
                Match::Create => Match::Create,
                // Whoever answered has not been shown this one.
                Match::Attach(id) => Match::Ask(unseen.into_iter().filter(|one| one.partner_id == id).collect()),
                Match::Ask(new) => Match::Ask(new),
            }
        }
        ([], Some(Answer::Attach(_)) | None) => decide(ours, &found.candidates),
        (several, _) => Match::Ask(
            found
                .candidates
                .iter()
                .filter(|one| several.contains(&one.partner_id))
                .cloned()
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use clinic::{BirthDate, Identifier, PersonName};

    use super::*;

    fn person(name: &str, birth_date: &str, phone: &str) -> Identity {
        Identity {
            name: PersonName::parse(name),
            birth_date: BirthDate::parse(birth_date),
            phones: vec![phone.to_owned()],
            identifiers: Vec::new(),
        }
    }

    fn at_partner(id: &str, identity: Identity) -> Candidate {
        Candidate {
            partner_id: id.to_owned(),
            identity,
        }
    }

    #[test]
    fn a_search_by_birth_date_asks_for_an_initial_only() {
        let ours = person("Ó Súilleabháin, Máiréad", "1957-02-02", "");

        let (wide, narrow) = by_birth_date(&ours).unwrap();

        assert_eq!(wide, "family=%C3%93%2Co&birthdate=1957-02-02&_count=100");
        assert!(narrow.starts_with("family=%C3%93%20S%C3%BAilleabh%C3%A1in"));
        assert_eq!(by_birth_date(&person("Quill, Orla", "1957-02", "")), None);
    }

    #[test]
    fn a_phone_is_asked_for_in_every_way_it_is_written() {
        let form = by_phone(&person("Quill, Orla", "1957-02-02", "602.555.0143")).unwrap();

        for spelling in ["602.555.0143", "6025550143", "%28602%29%20555-0143", "%2B16025550143"] {
            assert!(form.contains(spelling), "{spelling} in {form}");
        }
        assert_eq!(by_phone(&person("Quill, Orla", "1957-02-02", "none")), None);
    }

    #[test]
    fn numbers_are_asked_for_together_with_their_authorities() {
        let mut ours = person("Quill, Orla", "1957-02-02", "");
        for value in ["7", "a,b"] {
            ours.identifiers.push(Identifier {
                system: "urn:x".into(),
                value: value.into(),
                kind: "MR".into(),
            });
        }

        assert_eq!(by_number(&ours), "identifier=urn%3Ax%7C7%2Curn%3Ax%7Ca%5C%2Cb");
    }

    #[test]
    fn what_an_earlier_attempt_created_is_ours_whoever_else_is_alike() {
        let ours = person("Quill, Orla", "1957-02-02", "6025550143");
        let found = Found {
            own: vec!["p2".into()],
            by_hand: Vec::new(),
            candidates: vec![at_partner("p1", ours.clone()), at_partner("p2", ours.clone())],
        };

        assert_eq!(verdict(&found, &ours, None, &[]), Match::Attach("p2".into()));
    }

    #[test]
    fn a_number_brought_back_from_the_ehr_finds_the_patient() {
        let ours = person("Quill, Orla", "1957-02-02", "");
        let found = Found {
            own: Vec::new(),
            by_hand: vec!["p1".into()],
            candidates: vec![at_partner("p1", ours.clone()), at_partner("p2", ours.clone())],
        };

        assert_eq!(verdict(&found, &ours, None, &[]), Match::Attach("p1".into()));
    }

    #[test]
    fn none_of_those_shown_creates_unless_somebody_new_is_alike() {
        let ours = person("Quill, Orla", "1957-02-02", "6025550143");
        let shown = at_partner("p1", person("Quill, Orla", "1957-02-02", "6025550199"));
        let new = at_partner("p2", ours.clone());
        let found = |candidates: Vec<Candidate>| Found {
            own: Vec::new(),
            by_hand: Vec::new(),
            candidates,
        };
        let offered = ["p1".to_owned()];

        let answered = verdict(&found(vec![shown.clone()]), &ours, Some(&Answer::Create), &offered);
        let asked_anew = verdict(&found(vec![shown, new.clone()]), &ours, Some(&Answer::Create), &offered);

        assert_eq!(answered, Match::Create);
        assert_eq!(asked_anew, Match::Ask(vec![new]));
    }
}
