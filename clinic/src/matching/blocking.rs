//! Whom to compare with at all: a few questions to the index, each of which finds those who agree in something that
//! spelling and typing errors seldom all spoil together. Nobody else is looked at.

use super::Identity;
use super::compare::phonetic_codes;
use crate::index::{Wanted, birth_date_term, email_term, identifier_term, name_pair_term, name_year_term, phone_term};
use crate::matching::{fold, phone_key};
use crate::value::BirthDate;

/// A name of more words is looked up by the first so many pairs of sounds.
const NAME_PAIRS_MAX: usize = 24;

/// Questions to the index of patients, the most telling first. Of each, every part must be met by one of its
/// alternatives.
pub fn questions(one: &Identity) -> Vec<Vec<Vec<Wanted>>> {
    let exactly = |terms: Vec<String>| -> Vec<Wanted> { terms.into_iter().map(Wanted::Exactly).collect() };
    let (family, given) = (sounds(&one.name.family), sounds(&one.name.given));
    let mut questions = vec![
        vec![exactly(
            one.identifiers
                .iter()
                .filter(|id| !id.value.is_empty())
                .map(|id| identifier_term(&id.value))
                .collect(),
        )],
        vec![exactly(
            one.phones
                .iter()
                .filter_map(|phone| phone_key(phone))
                .map(|key| phone_term(&key))
                .collect(),
        )],
        vec![exactly(one.emails.iter().map(|email| email_term(email)).collect())],
    ];
    if let Some(date) = one.birth_date.filter(BirthDate::is_whole) {
        let turned = date
            .month()
            .zip(date.day())
            .and_then(|(month, day)| BirthDate::new(date.year(), Some(day), Some(month)));
        let dates = [Some(date), turned].into_iter().flatten();
        questions.push(vec![exactly(dates.map(|date| birth_date_term(&date)).collect())]);
    }
    if let Some(date) = one.birth_date {
        let names = family.iter().map(|code| name_year_term(code, date.year()));
        questions.push(vec![exactly(names.collect())]);
    }
    questions.push(vec![exactly(name_pairs(&family, &given).collect())]);
    questions.retain(|question| !question.iter().any(Vec::is_empty));
    questions
}

/// Family and given name by how they sound together.
pub(crate) fn name_pairs<'a>(family: &'a [String], given: &'a [String]) -> impl Iterator<Item = String> + 'a {
    let pairs = family
        .iter()
        .flat_map(move |family| given.iter().map(move |given| name_pair_term(family, given)));
    pairs.take(NAME_PAIRS_MAX)
}

/// How the words of a name sound.
pub(crate) fn sounds(name: &str) -> Vec<String> {
    let mut codes = phonetic_codes(&fold(name));
    for word in name.split([' ', '-']) {
        codes.extend(phonetic_codes(&fold(word)));
    }
    codes.into_iter().collect()
}
