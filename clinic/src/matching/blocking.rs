//! Whom to compare with at all: a few questions to the index, each of which finds those who agree in something that
//! spelling and typing errors seldom all spoil together. Nobody else is looked at.

use std::collections::BTreeSet;

use super::Identity;
use super::compare::phonetic_codes;
use crate::index::{
    Wanted, birth_date_term, email_term, identifier_term, member_term, name_pair_term, name_year_term, phone_term,
};
use crate::matching::{fold, phone_key};
use crate::value::BirthDate;

/// A name of more words is looked up by the first so many pairs of sounds.
const NAME_PAIRS_MAX: usize = 24;
/// Of somebody's numbers so many are asked for one by one, and so many of the others together.
const ALONE_MAX: usize = 12;
const TOGETHER_MAX: usize = 32;

/// Questions to the index of patients, the most telling first. Of each, every part must be met by one of its
/// alternatives. Each number is a question of its own, so that one which half a town shares hides no other.
pub fn questions(one: &Identity) -> Vec<Vec<Vec<Wanted>>> {
    let exactly = |terms: Vec<String>| -> Vec<Wanted> { terms.into_iter().map(Wanted::Exactly).collect() };
    let (family, given) = (sounds(&one.name.family), sounds(&one.name.given));
    let numbers = one.identifiers.iter().filter(|id| !id.value.is_empty());
    let phones = one.phones.iter().filter_map(|phone| phone_key(phone));
    let mut questions = each(numbers.map(|id| identifier_term(&id.value)));
    questions.extend(each(phones.map(|key| phone_term(&key))));
    questions.extend(each(one.emails.iter().map(|email| email_term(email))));
    let of_year = one.birth_date.map(|date| {
        let names = family.iter().map(|code| name_year_term(code, date.year()));
        exactly(names.collect())
    });
    if let Some(date) = one.birth_date.filter(BirthDate::is_whole) {
        let turned = date
            .month()
            .zip(date.day())
            .and_then(|(month, day)| BirthDate::new(date.year(), Some(day), Some(month)))
            .filter(|turned| *turned != date);
        let dates = each(
            [Some(date), turned]
                .into_iter()
                .flatten()
                .map(|date| birth_date_term(&date)),
        );
        // On a day that stands for no day too many are born, and fewer of one name.
        let either = dates.iter().flatten().flatten().cloned().collect();
        questions.extend(dates);
        questions.extend(of_year.clone().map(|names| vec![either, names]));
    }
    questions.extend(of_year.map(|names| vec![names]));
    questions.push(vec![exactly(name_pairs(&family, &given).collect())]);
    questions.retain(|question| !question.iter().any(Vec::is_empty));
    questions
}

/// Questions to the index of coverages: who is known to a payer by the same number.
pub fn coverage_questions(one: &Identity) -> Vec<Vec<Vec<Wanted>>> {
    let mut questions = each(one.member_ids.iter().map(|id| member_term(id)));
    questions.retain(|question| !question.iter().any(Vec::is_empty));
    questions
}

/// A question for each of the first terms, and for those that are left as few as can be.
fn each(terms: impl Iterator<Item = String>) -> Vec<Vec<Vec<Wanted>>> {
    let mut terms = terms.collect::<BTreeSet<_>>().into_iter().map(Wanted::Exactly);
    let mut questions: Vec<_> = terms.by_ref().take(ALONE_MAX).map(|term| vec![vec![term]]).collect();
    let left: Vec<Wanted> = terms.collect();
    questions.extend(left.chunks(TOGETHER_MAX).map(|some| vec![some.to_vec()]));
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
