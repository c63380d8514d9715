//! Finding out who at the partner may be our patient, before one is ever created there. It asks for no more of other
//! people than it must: by numbers, by birth date, also a mistyped one, with the initial of a name, by phone.

use std::collections::{BTreeMap, BTreeSet};

use clinic::BirthDate;
use clinic::matching::{Candidate, Identity, Match, Weights, confirmed, decide, fold, phone_key};
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
/// Birth dates that one search asks for: all that one wrong digit makes of one.
const DATES_MAX: usize = 64;

/// Who was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The partner's ids of those that carry our own record's identifier: an earlier attempt created them.
    pub(super) own: Vec<String>,
    /// Those that carry the number which somebody brought back from the EHR, and agree in name or birth date.
    pub(super) by_hand: Vec<String>,
    pub(super) candidates: Vec<Candidate>,
}

/// Looks for a person who is known to us by these descriptions, one for each of their records.
pub(super) async fn find(
    partner: &Partner,
    ours: &[Identity],
    records: &BTreeSet<RecordId>,
    number_by_hand: Option<&str>,
    cause: Cause,
) -> Result<Found, Failure> {
    let mut hits = Hits::default();
    for one in ours {
        hits.take(&whole(partner.search("Patient", &by_number(one), cause).await?)?);
        if let Some((wide, narrow)) = by_birth_date(one) {
            hits.take(&whole(wide_or_narrow(partner, &wide, &narrow, cause).await?)?);
        }
        for (wide, narrow) in [by_given_name(one), by_mistyped_date(one)].into_iter().flatten() {
            hits.take_if_served(wide_or_narrow(partner, &wide, &narrow, cause).await)?;
        }
        if let Some(form) = by_phone(one) {
            hits.take_if_served(partner.search("Patient", &form, cause).await)?;
        }
    }
    if let Some(number) = number_by_hand {
        let form = SearchQuery::new()
            .token_of_any_system("identifier", number)
            .count(PER_PAGE);
        hits.take(&whole(
            partner.search("Patient", &form.to_query_string(), cause).await?,
        )?);
    }
    let candidates: Vec<Candidate> = hits.0.values().filter_map(|patient| candidate(patient, ours)).collect();
    let carries = |one: &&Candidate| {
        let mut numbers = one.identity.identifiers.iter().map(|id| id.value.as_str());
        number_by_hand.is_some_and(|number| numbers.any(|value| value == number))
            && ours.iter().any(|ours| confirmed(ours, &one.identity))
    };
    Ok(Found {
        own: hits
            .0
            .values()
            .filter(|patient| is_of(patient, records))
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

/// Everybody who was found, once.
#[derive(Default)]
struct Hits(BTreeMap<String, Patient>);

impl Hits {
    fn take(&mut self, bundle: &Bundle) {
        for patient in bundle.patients() {
            if let Some(id) = patient.id.clone().filter(|id| is_id(id)) {
                self.0.insert(id, patient.clone());
            }
        }
    }

    /// Not every EHR can be asked everything.
    fn take_if_served(&mut self, answered: Result<Bundle, Failure>) -> Result<(), Failure> {
        match answered {
            Ok(bundle) => self.take(&whole(bundle)?),
            Err(Failure::Refused {
                class: clinic::task::ErrorClass::Validation | clinic::task::ErrorClass::Refused,
                ..
            }) => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}

async fn wide_or_narrow(partner: &Partner, wide: &str, narrow: &str, cause: Cause) -> Result<Bundle, Failure> {
    let bundle = partner.search("Patient", wide, cause).await?;
    match bundle.next_url() {
        None => Ok(bundle),
        Some(_) => partner.search("Patient", narrow, cause).await,
    }
}

fn is_of(patient: &Patient, records: &BTreeSet<RecordId>) -> bool {
    let number = patient.identifier_of(PATIENT_SYSTEM);
    records.iter().any(|record| number == Some(&record.to_string()))
}

/// Those that carry the identifier of one of our own records: what an attempt without an answer may have created.
pub(super) async fn find_own(
    partner: &Partner,
    records: &BTreeSet<RecordId>,
    cause: Cause,
) -> Result<Vec<String>, Failure> {
    let bundle = partner.search("Patient", &own_query(records), cause).await?;
    let own = bundle.patients().filter(|patient| is_of(patient, records));
    Ok(own
        .filter_map(|patient| patient.id.clone().filter(|id| is_id(id)))
        .collect())
}

/// The search for the identifiers of our own records.
pub(super) fn own_query(records: &BTreeSet<RecordId>) -> String {
    let tokens = records
        .iter()
        .map(|record| SearchQuery::new().token("identifier", PATIENT_SYSTEM, &record.to_string()));
    any_of("identifier", tokens)
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
    let born = born_on(&[ours.birth_date.filter(BirthDate::is_whole)?])?;
    let family = ours.name.family.trim();
    let wide = starting("family", &initials(&[family])?);
    let narrow = starting("family", &spellings(family));
    Some((format!("{wide}&{born}"), format!("{narrow}&{born}")))
}

/// The same by the given name, which stays when the family name changes; and by both names in each other's place.
fn by_given_name(ours: &Identity) -> Option<(String, String)> {
    let born = born_on(&[ours.birth_date.filter(BirthDate::is_whole)?])?;
    let (family, given) = (ours.name.family.trim(), ours.name.given.trim());
    let wide = starting("given", &initials(&[given, family])?);
    let all: Vec<String> = [given, family].into_iter().flat_map(spellings).collect();
    Some((format!("{wide}&{born}"), format!("{}&{born}", starting("given", &all))))
}

/// By the family name with every birth date that one wrong digit, or day and month in each other's place, makes of this.
fn by_mistyped_date(ours: &Identity) -> Option<(String, String)> {
    let born = born_on(&mistyped(ours.birth_date.filter(BirthDate::is_whole)?))?;
    let family = ours.name.family.trim();
    let wide = starting("family", &initials(&[family])?);
    let narrow = starting("family", &spellings(family));
    Some((format!("{wide}&{born}"), format!("{narrow}&{born}")))
}

fn mistyped(date: BirthDate) -> Vec<BirthDate> {
    let text = date.iso();
    let turned = date
        .month()
        .zip(date.day())
        .and_then(|(month, day)| BirthDate::new(date.year(), Some(day), Some(month)));
    let mut dates: BTreeSet<BirthDate> = turned.into_iter().collect();
    // The century is seldom mistyped.
    for at in (2..text.len()).filter(|at| text.as_bytes()[*at].is_ascii_digit()) {
        for digit in '0'..='9' {
            let mut other = text.clone();
            other.replace_range(at..=at, digit.encode_utf8(&mut [0; 4]));
            dates.extend(BirthDate::parse(&other));
        }
    }
    dates.remove(&date);
    dates.into_iter().collect()
}

fn born_on(dates: &[BirthDate]) -> Option<String> {
    let dates = dates.iter().filter_map(|date| PartialDate::parse_fhir(&date.iso()));
    let queries: Vec<_> = dates
        .map(|date| SearchQuery::new().date("birthdate", DatePrefix::Equal, date))
        .collect();
    if queries.is_empty() {
        return None;
    }
    let any = any_of_up_to("birthdate", queries.into_iter(), DATES_MAX);
    Some(format!("{any}&_count={PER_PAGE}"))
}

/// With and without marks, each once.
fn initials(names: &[&str]) -> Option<Vec<String>> {
    let mut initials: Vec<String> = Vec::new();
    for name in names {
        let initial: String = name.chars().take(1).collect();
        let plain: String = fold(name).chars().take(1).collect();
        if initial.to_lowercase() != plain {
            initials.push(initial);
        }
        initials.push(plain);
    }
    initials.retain(|initial| !initial.is_empty());
    (!initials.is_empty()).then_some(initials)
}

fn spellings(name: &str) -> Vec<String> {
    vec![name.to_owned(), name.replace('\u{2019}', "'")]
}

fn starting(parameter: &str, texts: &[String]) -> String {
    let texts = texts.iter().filter(|text| !text.is_empty());
    any_of(
        parameter,
        texts.map(|text| SearchQuery::new().text(parameter, TextMatch::Begins, text)),
    )
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
    let mut seen = BTreeSet::new();
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
    any_of_up_to(name, queries, ALTERNATIVES_MAX)
}

fn any_of_up_to(name: &str, queries: impl Iterator<Item = SearchQuery>, most: usize) -> String {
    let start = format!("{name}=");
    let values: Vec<String> = queries
        .take(most)
        .map(|query| query.to_query_string())
        .filter_map(|query| query.strip_prefix(&start).map(str::to_owned))
        .collect();
    format!("{start}{}", values.join("%2C"))
}

/// What a person has said of the question, and whom they were shown.
#[derive(Clone, Copy, Default)]
pub(super) struct Said<'a> {
    pub(super) answer: Option<&'a Answer>,
    pub(super) offered: &'a [String],
}

/// What is to be done about the patient, in the light of a person's answer if there is one.
pub(super) fn verdict(found: &Found, ours: &[Identity], said: Said<'_>, weights: &Weights) -> Match {
    match (found.own.as_slice(), said.answer) {
        ([one], _) => Match::Attach(one.clone()),
        ([], None) if found.by_hand.len() == 1 => Match::Attach(found.by_hand.concat()),
        ([], Some(Answer::Create)) => {
            let unseen: Vec<Candidate> = found
                .candidates
                .iter()
                .filter(|one| !said.offered.contains(&one.partner_id))
                .cloned()
                .collect();
            match decide(ours, &unseen, weights) {
                Match::Create => Match::Create,
                // Whoever answered has not been shown this one.
                Match::Attach(id) => Match::Ask(unseen.into_iter().filter(|one| one.partner_id == id).collect()),
                Match::Ask(new) => Match::Ask(new),
            }
        }
        ([], Some(Answer::Attach(_)) | None) => decide(ours, &found.candidates, weights),
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
    use clinic::{Identifier, PersonName};

    use super::*;

    fn person(name: &str, birth_date: &str, phone: &str) -> Identity {
        Identity {
            name: PersonName::parse(name),
            birth_date: BirthDate::parse(birth_date),
            phones: vec![phone.to_owned()],
            ..Identity::default()
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

        assert_eq!(
            verdict(
                &found,
                std::slice::from_ref(&ours),
                Said::default(),
                &Weights::default()
            ),
            Match::Attach("p2".into())
        );
    }

    #[test]
    fn a_number_brought_back_from_the_ehr_finds_the_patient() {
        let ours = person("Quill, Orla", "1957-02-02", "");
        let found = Found {
            own: Vec::new(),
            by_hand: vec!["p1".into()],
            candidates: vec![at_partner("p1", ours.clone()), at_partner("p2", ours.clone())],
        };

        assert_eq!(
            verdict(
                &found,
                std::slice::from_ref(&ours),
                Said::default(),
                &Weights::default()
            ),
            Match::Attach("p1".into())
        );
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

        let said = Said {
            answer: Some(&Answer::Create),
            offered: &offered,
        };
        let judged =
            |people: Vec<Candidate>| verdict(&found(people), std::slice::from_ref(&ours), said, &Weights::default());

        let answered = judged(vec![shown.clone()]);
        let asked_anew = judged(vec![shown, new.clone()]);

        assert_eq!(answered, Match::Create);
        assert_eq!(asked_anew, Match::Ask(vec![new]));
    }
}
