//! What a store indexes of a record, so that SQL knows no clinic: links to other records, terms to search by, facets to
//! list by.

use std::collections::BTreeSet;

use sync_protocol::state::RecordState;
use sync_protocol::{FieldId, KindId, RecordId};

use crate::catalogue::{
    allergy, appointment, colleague, coverage, form, link as link_record, location, patient, provider, reference_set,
    result, room, staff, task, visit,
};
use crate::flow;
use crate::matching::compare::phonetic_codes;
use crate::matching::{fold, name_pairs, phone_key, sounds};
use crate::numbering;
use crate::task::{TaskState, state_of};
use crate::value::{AppointmentStatus, BirthDate, BlobDigest, LinkStanding};

/// A list that a record is on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Facet(pub u16);

impl Facet {
    /// A visit that has not ended.
    pub const VISIT_OPEN: Facet = Facet(1);
    /// A patient with a value that a person must decide.
    pub const CONFLICT: Facet = Facet(2);
    /// A result without a patient.
    pub const RESULT_UNMATCHED: Facet = Facet(3);
    /// A visit that was ended in ways that exclude each other.
    pub const VISIT_CONTRADICTS: Facet = Facet(4);
    /// A task that is not final.
    pub const TASK_OPEN: Facet = Facet(5);
    /// A task that the hub has something to do about.
    pub const TASK_FOR_HUB: Facet = Facet(6);
    /// A task for the transcription screen.
    pub const TASK_TO_ENTER: Facet = Facet(7);

    /// A booking that stands.
    pub const APPOINTMENT_BOOKED: Facet = Facet(8);
    /// Two patient records of which a person is to say whether they are one person's; the most alike come first.
    pub const LINK_TO_REVIEW: Facet = Facet(9);

    /// Tasks by state.
    pub fn task(state: TaskState) -> Facet {
        Facet(100 + state.code())
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Index {
    pub links: Vec<(FieldId, RecordId)>,
    pub terms: Vec<String>,
    pub facets: Vec<Facet>,
    /// What the lists are ordered by.
    pub order_ms: i64,
}

pub fn index_of(state: &RecordState) -> Index {
    let mut index = Index::default();
    match state.kind {
        patient::KIND => index_patient(state, &mut index),
        coverage::KIND => {
            link(&mut index, coverage::PATIENT, state);
            let member = coverage::MEMBER_ID.value(state);
            index.terms.extend(member.map(|id| member_term(id.expose())));
        }
        allergy::KIND => link(&mut index, allergy::PATIENT, state),
        visit::KIND => index_visit(state, &mut index),
        room::KIND => link(&mut index, room::SITE, state),
        colleague::KIND => link(&mut index, colleague::SITE, state),
        appointment::KIND => index_appointment(state, &mut index),
        link_record::KIND => index_link(state, &mut index),
        provider::KIND => {
            index
                .terms
                .extend(provider::NPI.value(state).map(|npi| identifier_term(&npi)));
            index
                .terms
                .extend(provider::EHR_ID.value(state).map(|id| partner_term(&id)));
        }
        form::KIND => {
            let content = form::CONTENT.value(state);
            index.terms.extend(content.map(|digest| content_term(&digest)));
        }
        reference_set::KIND => {
            let content = reference_set::CONTENT.value(state);
            index.terms.extend(content.map(|digest| content_term(&digest)));
        }
        location::KIND => {
            link(&mut index, location::SITE, state);
            index
                .terms
                .extend(location::EHR_ID.value(state).map(|id| partner_term(&id)));
        }
        task::KIND => index_task(state, &mut index),
        staff::KIND => {
            link(&mut index, staff::SITE, state);
            index
                .terms
                .extend(staff::LOGIN.value(state).map(|login| login_term(&login)));
        }
        result::KIND => {
            link(&mut index, result::PATIENT, state);
            index.order_ms = result::OBSERVED_MS.value(state).unwrap_or_default();
            if result::PATIENT.value(state).is_none() {
                index.facets.push(Facet::RESULT_UNMATCHED);
            }
        }
        _ => {}
    }
    index.terms.sort();
    index.terms.dedup();
    index
}

fn link(index: &mut Index, field: crate::catalogue::Field<RecordId>, state: &RecordState) {
    index.links.extend(field.value(state).map(|target| (field.id, target)));
}

fn index_patient(state: &RecordState, index: &mut Index) {
    // Every value that is live can be searched by, also one that is waiting for a decision.
    let every = |field: FieldId| state.register(field).into_iter().flat_map(|r| r.values.values());
    let mut codes = BTreeSet::new();
    for live in every(patient::NAME.id) {
        if let Some(name) = <crate::PersonName as crate::Value>::from_raw(&live.value) {
            let (family, given) = (sounds(&name.family), sounds(&name.given));
            index.terms.extend(name_pairs(&family, &given));
            codes.extend(family);
            codes.extend(given);
            for part in [&name.family, &name.given, &name.middle] {
                part.split([' ', '-'])
                    .for_each(|word| index.terms.extend(name_terms(word)));
                index.terms.extend(name_terms(part));
            }
        }
    }
    for live in every(patient::BIRTH_DATE.id) {
        let Some(date) = <BirthDate as crate::Value>::from_raw(&live.value) else {
            continue;
        };
        index.terms.push(birth_date_term(&date));
        let years = codes.iter().map(|code| name_year_term(code, date.year()));
        index.terms.extend(years);
    }
    for live in every(patient::EMAIL.id) {
        index.terms.extend(live.value.to_text().map(|email| email_term(&email)));
    }
    for live in every(patient::PHONE.id) {
        index.terms.extend(
            live.value
                .to_text()
                .and_then(|phone| phone_key(&phone))
                .map(|key| phone_term(&key)),
        );
    }
    for said in patient::IDENTIFIER.standing(state) {
        index.terms.push(identifier_term(&said.value.expose().value));
    }
    if patient::NAME.ask(state).is_open()
        || patient::BIRTH_DATE.ask(state).is_open()
        || patient::SEX.ask(state).is_open()
    {
        index.facets.push(Facet::CONFLICT);
    }
}

fn index_visit(state: &RecordState, index: &mut Index) {
    link(index, visit::PATIENT, state);
    link(index, visit::ROOM, state);
    if let Some(number) = visit::NUMBER.value(state) {
        index.terms.push(identifier_term(&number.expose().value));
    }
    if let Some(standing) = flow::standing(state) {
        index.order_ms = standing.steps.first().map_or(standing.since_ms, |step| step.event_ms);
        if !standing.state.is_end() {
            index.facets.push(Facet::VISIT_OPEN);
        }
        if standing.ends.len() > 1 {
            index.facets.push(Facet::VISIT_CONTRADICTS);
        }
    }
}

fn index_appointment(state: &RecordState, index: &mut Index) {
    link(index, appointment::PATIENT, state);
    link(index, appointment::SITE, state);
    link(index, appointment::PROVIDER, state);
    if let Some(number) = appointment::NUMBER.value(state) {
        index.terms.push(identifier_term(&number.expose().value));
    }
    index.order_ms = appointment::STARTS_MS.value(state).unwrap_or_default();
    if appointment::STATUS.value(state) == Some(AppointmentStatus::Booked) {
        index.facets.push(Facet::APPOINTMENT_BOOKED);
    }
}

fn index_link(state: &RecordState, index: &mut Index) {
    link(index, link_record::LEFT, state);
    link(index, link_record::RIGHT, state);
    let standing = link_record::STANDING.ask(state);
    index.order_ms = -link_record::SCORE.value(state).unwrap_or_default();
    if standing.is_open() || standing.standing().copied() == Some(LinkStanding::Proposed) {
        index.facets.push(Facet::LINK_TO_REVIEW);
    }
}

fn index_task(state: &RecordState, index: &mut Index) {
    link(index, task::PATIENT, state);
    link(index, task::VISIT, state);
    let created = state
        .registers
        .values()
        .flat_map(|r| r.values.values())
        .map(|live| live.origin.event_ms)
        .min();
    index.order_ms = created.unwrap_or_default();
    let standing = state_of(state);
    index.facets.push(Facet::task(standing));
    if !standing.is_final() {
        index.facets.push(Facet::TASK_OPEN);
        match task::TARGET.value(state) {
            Some(crate::value::Target::Person) => index.facets.push(Facet::TASK_TO_ENTER),
            Some(crate::value::Target::Machine) | None => index.facets.push(Facet::TASK_FOR_HUB),
        }
    } else if task::INTENT.value(state) == Some(crate::task::Intent::Superseded)
        && task::DELIVERY.value(state).is_none()
    {
        index.facets.push(Facet::TASK_FOR_HUB);
    }
}

fn name_terms(word: &str) -> BTreeSet<String> {
    let folded = fold(word);
    let mut terms = BTreeSet::new();
    if folded.is_empty() {
        return terms;
    }
    terms.extend(phonetic_terms(&folded));
    terms.insert(format!("n:{folded}"));
    terms
}

fn phonetic_terms(folded: &str) -> BTreeSet<String> {
    phonetic_codes(folded)
        .into_iter()
        .map(|code| format!("p:{code}"))
        .collect()
}

pub(crate) fn birth_date_term(date: &BirthDate) -> String {
    format!("d:{}", date.iso())
}

pub(crate) fn phone_term(key: &str) -> String {
    format!("t:{key}")
}

pub(crate) fn email_term(email: &str) -> String {
    format!("m:{}", email.trim().to_lowercase())
}

/// How a name sounds, with a year of birth.
pub(crate) fn name_year_term(code: &str, year: i16) -> String {
    format!("y:{code}:{year}")
}

/// How two words of a name sound, in whichever order they were said: one look-up where each sound alone is half a town's.
pub(crate) fn name_pair_term(one: &str, other: &str) -> String {
    let (first, second) = (one.min(other), one.max(other));
    format!("q:{first}:{second}")
}

/// The number by which a payer knows somebody.
pub fn member_term(member_id: &str) -> String {
    format!("c:{}", fold(member_id))
}

pub fn identifier_term(value: &str) -> String {
    let bare = value
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_uppercase)
        .collect::<String>();
    format!("i:{bare}")
}

/// The EHR's own id of something that is not a patient.
pub fn partner_term(id: &str) -> String {
    format!("e:{id}")
}

/// A content that a record names.
pub fn content_term(digest: &BlobDigest) -> String {
    let digits: Vec<String> = digest.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("b:{}", digits.concat())
}

pub fn login_term(login: &str) -> String {
    format!("l:{}", login.trim().to_lowercase())
}

/// How a term is asked for, so that nothing need be kept for what nobody asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ways {
    /// As a whole.
    pub whole: bool,
    /// By a beginning of so many characters or more.
    pub beginning: Option<usize>,
}

impl Ways {
    pub const WHOLE: Ways = Ways {
        whole: true,
        beginning: None,
    };
}

/// Of people a person types names, telephone numbers and numbers on labels, as far as they are known; [`search`] takes digits
/// for a number from the fourth on. Everything else is asked for as it stands.
pub fn ways(kind: KindId, term: &str) -> Ways {
    let (whole, beginning) = match term.split_once(':') {
        Some(("n", _)) if kind == patient::KIND => (false, Some(1)),
        Some(("t", _)) if kind == patient::KIND => (true, Some("t:".len() + NUMBER_DIGITS_MIN)),
        Some(("i", _)) if kind == patient::KIND => (true, Some(1)),
        _ => (true, None),
    };
    Ways { whole, beginning }
}

/// How one term of a search is compared with the index.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wanted {
    Exactly(String),
    StartingWith(String),
}

/// Fewer digits alone are no number that somebody is looked up by.
const NUMBER_DIGITS_MIN: usize = 4;

/// What a person typed into the search box: every word must be met by one of its alternatives. A birth date, a phone
/// number or a number on a label is recognised by its form; other words are names, however they are spelled.
pub fn search(query: &str) -> Vec<Vec<Wanted>> {
    let query = query.trim();
    if let Some(date) = BirthDate::parse(query).filter(BirthDate::is_whole) {
        return vec![vec![
            Wanted::Exactly(birth_date_term(&date)),
            Wanted::Exactly(identifier_term(query)),
        ]];
    }
    if let Some(number) = numbering::parse(query) {
        return vec![vec![Wanted::Exactly(identifier_term(&number))]];
    }
    let digits = query.chars().filter(char::is_ascii_digit).count();
    if digits >= NUMBER_DIGITS_MIN && query.chars().all(|c| c.is_ascii_digit() || " ()-+.".contains(c)) {
        let key: String = query.chars().filter(char::is_ascii_digit).collect();
        let phone = phone_key(query).unwrap_or_else(|| key.clone());
        return vec![vec![
            Wanted::StartingWith(phone_term(&phone)),
            Wanted::StartingWith(format!("i:{key}")),
        ]];
    }
    query
        .split([' ', ',', ';'])
        .filter(|word| !word.is_empty())
        .map(search_word)
        .filter(|w| !w.is_empty())
        .collect()
}

fn search_word(word: &str) -> Vec<Wanted> {
    if let Some(date) = BirthDate::parse(word).filter(BirthDate::is_whole) {
        return vec![Wanted::Exactly(birth_date_term(&date))];
    }
    let folded = fold(word);
    if folded.is_empty() {
        return Vec::new();
    }
    let mut wanted = vec![Wanted::StartingWith(format!("n:{folded}"))];
    if folded.bytes().any(|b| b.is_ascii_digit()) {
        wanted.push(Wanted::StartingWith(identifier_term(word)));
    }
    if folded.len() >= 3 {
        wanted.extend(phonetic_terms(&folded).into_iter().map(Wanted::Exactly));
    }
    wanted
}

/// The terms of a patient record that says just this.
#[cfg(test)]
pub(crate) fn terms_of(one: &crate::matching::Identity) -> BTreeSet<String> {
    use crate::write::{Action, Channel, Writing};
    use sync_protocol::Phi;
    use sync_protocol::author::{Stamp, compose};
    use sync_protocol::{ChangeId, Dot, HybridTime, ReplicaId};

    let record = RecordId([1; 16]);
    let mut draft = Writing::new(patient::KIND, record, Action::Edit, Channel::Page.program(), 1)
        .set(patient::NAME, &Phi::new(one.name.clone()));
    if let Some(date) = one.birth_date {
        draft = draft.set(patient::BIRTH_DATE, &Phi::new(date));
    }
    if let Some(phone) = one.phones.first() {
        draft = draft.set(patient::PHONE, &Phi::new(phone.clone()));
    }
    let stamp = Stamp {
        change: ChangeId([1; 16]),
        salt: [0; 16],
        at: HybridTime { wall_ms: 1, logical: 0 },
        boot: sync_protocol::ids::BootId([0; 16]),
        monotonic_ms: 0,
    };
    let dot = Dot {
        replica: ReplicaId([1; 16]),
        counter: 1,
    };
    let mut state = RecordState::new(patient::KIND, record);
    if let Some((header, payload)) = compose(&draft.done(), &stamp, dot, None, None) {
        state.apply(&header, &payload, |_| true);
    }
    index_of(&state).terms.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meets(query: &str, terms: &BTreeSet<String>) -> bool {
        let met = |wanted: &Wanted| match wanted {
            Wanted::Exactly(term) => terms.contains(term),
            Wanted::StartingWith(start) => terms.iter().any(|term| term.starts_with(start)),
        };
        let words = search(query);
        !words.is_empty() && words.iter().all(|alternatives| alternatives.iter().any(met))
    }

    #[test]
    fn nothing_that_is_asked_of_people_is_left_out_of_what_is_kept() {
        let queries = [
            "6025",
            "60255",
            "(602) 555-0142",
            "vance",
            "o",
            "O'Sullivan, F",
            "A1",
            "MRN-70",
            "1975-03-02",
            "T7QX-4",
        ];
        for wanted in queries.into_iter().flat_map(search).flatten() {
            let kept = match &wanted {
                Wanted::Exactly(term) => ways(patient::KIND, term).whole,
                Wanted::StartingWith(start) => ways(patient::KIND, start)
                    .beginning
                    .is_some_and(|shortest| shortest <= start.chars().count()),
            };
            assert!(kept, "{wanted:?}");
        }
        assert_eq!(ways(visit::KIND, "i:v1"), Ways::WHOLE);
        assert_eq!(ways(patient::KIND, "d:1975-03-02"), Ways::WHOLE);
    }

    #[test]
    fn a_name_is_found_however_it_is_spelled() {
        let mut terms = name_terms("Fionnuala");
        terms.extend(name_terms("O’Sullivan"));
        terms.extend(name_terms("Brennan"));
        for query in ["osullivan", "O'Sulivan", "brenan fionuala", "Brennan, F", "fionnuala"] {
            assert!(meets(query, &terms), "{query}");
        }
        assert!(!meets("Whitehorse", &terms));
    }

    #[test]
    fn a_birth_date_and_a_phone_are_recognised_by_their_form() {
        let terms = BTreeSet::from([
            "d:1988-06-16".to_owned(),
            "t:6025550143".to_owned(),
            "i:T0A00051".to_owned(),
        ]);
        assert!(meets("6/16/1988", &terms) && meets("16 Jun 1988", &terms));
        assert!(meets("(602) 555-0143", &terms) && meets("+1 602 555 0143", &terms) && meets("602555", &terms));
    }
}
