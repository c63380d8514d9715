//! When two people are the same. Nothing is ever chosen for a person where doubt is left: weights say whom a person is
//! asked about, and only the written rule joins without asking.

use minicbor::Decoder;
use sync_protocol::Phi;
use sync_protocol::cbor::Raw;
use sync_protocol::state::RecordState;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use self::compare::compare;
use self::traits::Numbers;
use crate::catalogue::{coverage, patient, result};
use crate::value::{Address, BirthDate, Identifier, PersonName, Sex, TEXT_MAX_BYTES, Value};

mod blocking;
pub(crate) mod compare;
mod traits;
pub mod weights;

pub use blocking::{coverage_questions, questions};
pub(crate) use blocking::{name_pairs, sounds};
pub use compare::{Comparison, Score, bits};
pub use traits::Traits;
pub use weights::{Agreement, Chances, Compared, Thresholds, Unsound, Weights};

/// What a person is known by.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Identity {
    pub name: PersonName,
    pub birth_date: Option<BirthDate>,
    pub phones: Vec<String>,
    pub identifiers: Vec<Identifier>,
    pub sex: Option<Sex>,
    pub emails: Vec<String>,
    pub addresses: Vec<Address>,
    /// The numbers that payers know the person by.
    pub member_ids: Vec<String>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

/// A person at a partner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    pub partner_id: String,
    pub identity: Identity,
}

impl Value for Candidate {
    fn to_raw(&self) -> Raw {
        let identity = &self.identity;
        Raw::build(|w| {
            w.array(5).ok();
            w.str(&self.partner_id).ok();
            w.writer_mut().extend_from_slice(identity.name.to_raw().as_bytes());
            w.str(&identity.birth_date.map(|date| date.iso()).unwrap_or_default())
                .ok();
            w.array(identity.phones.len() as u64).ok();
            identity.phones.iter().for_each(|phone| {
                w.str(phone).ok();
            });
            w.array(identity.identifiers.len() as u64).ok();
            for identifier in &identity.identifiers {
                w.writer_mut().extend_from_slice(identifier.to_raw().as_bytes());
            }
        })
    }

    fn from_raw(raw: &Raw) -> Option<Candidate> {
        let bytes = raw.as_bytes();
        if bytes.len() > TEXT_MAX_BYTES {
            return None;
        }
        let mut d = Decoder::new(bytes);
        if d.array().ok()?? < 5 {
            return None;
        }
        let item = |d: &mut Decoder<'_>| -> Option<Raw> {
            let start = d.position();
            d.skip().ok()?;
            Raw::from_bytes(bytes[start..d.position()].to_vec()).ok()
        };
        let partner_id = d.str().ok()?.to_owned();
        let name = PersonName::from_raw(&item(&mut d)?)?;
        let birth_date = BirthDate::parse(d.str().ok()?);
        let phones = (0..d.array().ok()??)
            .map(|_| d.str().ok().map(str::to_owned))
            .collect::<Option<_>>()?;
        let count = d.array().ok()??;
        let identifiers = (0..count)
            .map(|_| Identifier::from_raw(&item(&mut d)?))
            .collect::<Option<Vec<_>>>()?;
        Some(Candidate {
            partner_id,
            identity: Identity {
                name,
                birth_date,
                phones,
                identifiers,
                ..Identity::default()
            },
        })
    }
}

impl Identity {
    /// What our own record says, by what stands.
    pub fn of_patient(state: &RecordState) -> Identity {
        let name = patient::NAME
            .ask(state)
            .standing()
            .map(|name| name.expose().clone())
            .unwrap_or_default();
        Identity {
            name,
            birth_date: patient::BIRTH_DATE.ask(state).standing().map(|date| *date.expose()),
            phones: patient::PHONE
                .value(state)
                .map(|phone| phone.into_exposed())
                .into_iter()
                .collect(),
            identifiers: patient::IDENTIFIER
                .standing(state)
                .into_iter()
                .map(|said| said.value.into_exposed())
                .collect(),
            sex: patient::SEX.ask(state).standing().copied(),
            emails: patient::EMAIL
                .value(state)
                .map(|email| email.into_exposed())
                .into_iter()
                .collect(),
            addresses: patient::ADDRESS
                .value(state)
                .map(|address| address.into_exposed())
                .into_iter()
                .collect(),
            member_ids: Vec::new(),
        }
    }

    /// What a result goes on saying of whom it is about.
    pub fn of_result(state: &RecordState) -> Identity {
        Identity {
            name: result::SAID_NAME
                .value(state)
                .map(Phi::into_exposed)
                .unwrap_or_default(),
            birth_date: result::SAID_BIRTH_DATE.value(state).map(Phi::into_exposed),
            identifiers: result::SAID_IDENTIFIER
                .value(state)
                .map(Phi::into_exposed)
                .into_iter()
                .collect(),
            ..Identity::default()
        }
    }

    /// With the member ids of the patient's coverages.
    pub fn covered<'a>(mut self, coverages: impl IntoIterator<Item = &'a RecordState>) -> Identity {
        let ids = coverages
            .into_iter()
            .filter_map(|state| coverage::MEMBER_ID.value(state));
        self.member_ids.extend(ids.map(|id| id.into_exposed()));
        self
    }
}

/// What is to be done about a patient that a partner may know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Match {
    /// Surely the same.
    Attach(String),
    /// Nobody alike.
    Create,
    /// A person decides.
    Ask(Vec<Candidate>),
}

/// How sure it is that two descriptions are of one person.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Likeness {
    /// Nobody would ask.
    Unlike,
    /// A person decides.
    Alike,
    /// An identifier of the same assigning authority agrees and name or birth date confirm it, or name, birth date and
    /// phone or member id all agree.
    Certain,
}

/// Judges two descriptions by the rule first and by the weights where the rule is silent.
pub fn judge(a: &Traits<'_>, b: &Traits<'_>, weights: &Weights) -> (Likeness, Score) {
    judge_by(Numbers::All, a, b, weights)
}

/// As [`judge`], for two records of our own: a TEMP number is minted for one record, so on two it is a mistake that a
/// person looks at, and never a proof.
pub fn judge_own(a: &Traits<'_>, b: &Traits<'_>, weights: &Weights) -> (Likeness, Score) {
    let (likeness, score) = judge_by(Numbers::Lasting, a, b, weights);
    match a.shares_number(b, Numbers::All) {
        true => (likeness.max(Likeness::Alike), compare(Numbers::All, a, b, weights)),
        false => (likeness, score),
    }
}

fn judge_by(numbers: Numbers, a: &Traits<'_>, b: &Traits<'_>, weights: &Weights) -> (Likeness, Score) {
    let score = compare(numbers, a, b, weights);
    let member = score.of(Compared::MemberId) == Some(Agreement::Exact);
    let likeness = if a.shares_number(b, numbers) {
        // A number may be mistyped; it joins only where name or birth date say the same.
        if a.has_same_name(b) || a.has_same_birth_date(b) {
            Likeness::Certain
        } else {
            Likeness::Alike
        }
    } else if a.has_same_name(b) && a.has_same_birth_date(b) && (a.shares_phone(b) || member) {
        Likeness::Certain
    } else if a.agreement(b) >= 2 || score.total >= weights.thresholds.propose_at {
        Likeness::Alike
    } else {
        Likeness::Unlike
    };
    (likeness, score)
}

/// What is to be done about somebody who is known by these descriptions. Attaches only to one who is certain; whoever is
/// alike is asked about; where nobody is, creates.
pub fn decide(ours: &[Identity], candidates: &[Candidate], weights: &Weights) -> Match {
    let ours: Vec<_> = ours.iter().map(Traits::of).collect();
    let judged: Vec<(Likeness, i64, bool, &Candidate)> = candidates
        .iter()
        .filter_map(|candidate| {
            let theirs = Traits::of(&candidate.identity);
            let judged = ours.iter().map(|one| judge(one, &theirs, weights));
            let best = judged.map(|(likeness, score)| (likeness, score.total)).max()?;
            let numbered = ours.iter().any(|one| one.shares_number(&theirs, Numbers::All));
            Some((best.0, best.1, numbered, candidate))
        })
        .collect();
    let certain: Vec<_> = judged
        .iter()
        .filter(|(likeness, ..)| *likeness == Likeness::Certain)
        .collect();
    let doubted = judged
        .iter()
        .any(|(likeness, _, numbered, _)| *numbered && *likeness != Likeness::Certain);
    if let ([(.., one)], false) = (certain.as_slice(), doubted) {
        return Match::Attach(one.partner_id.clone());
    }
    let mut alike: Vec<_> = judged
        .into_iter()
        .filter(|(likeness, ..)| *likeness != Likeness::Unlike)
        .collect();
    if alike.is_empty() {
        return Match::Create;
    }
    alike.sort_by_key(|(likeness, total, _, candidate)| {
        (std::cmp::Reverse((*likeness, *total)), candidate.partner_id.clone())
    });
    let all = alike.into_iter().map(|(.., candidate)| candidate.clone());
    Match::Ask(all.take(crate::task::CANDIDATES_MAX).collect())
}

/// Whether two descriptions may be of one person: what a look-alike warning is made of.
pub fn alike(a: &Identity, b: &Identity) -> bool {
    let (a, b) = (Traits::of(a), Traits::of(b));
    a.shares_number(&b, Numbers::All) || a.agreement(&b) >= 2
}

/// Whether what a message says of a person agrees with a record in name or birth date, so that a number alone, which may
/// be another authority's or mistyped, never puts a result on somebody else.
pub fn confirmed(record: &Identity, said: &Identity) -> bool {
    let (record, said) = (Traits::of(record), Traits::of(said));
    record.has_same_name(&said) || record.has_same_birth_date(&said)
}

/// Whether both carry the same number of the same authority.
pub fn same_identifier(a: &Identity, b: &Identity) -> bool {
    Traits::of(a).shares_number(&Traits::of(b), Numbers::All)
}

/// The last ten digits of a phone number, or all where it has seven to nine: how a number is compared however it is
/// written. An extension after `x` or `ext` is left out.
pub fn phone_key(phone: &str) -> Option<String> {
    let lower = phone.to_lowercase();
    let main = lower.split(['x', 'e']).next().unwrap_or_default();
    let digits: String = main.chars().filter(char::is_ascii_digit).collect();
    (digits.len() >= 7).then(|| digits[digits.len().saturating_sub(10)..].to_owned())
}

/// A name without case, marks, spaces and punctuation, so that "O'Súilleabháin" is "osuilleabhain".
pub fn fold(text: &str) -> String {
    let mut folded = String::new();
    for c in text
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
    {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            'đ' | 'ð' => folded.push('d'),
            'þ' => folded.push_str("th"),
            'ı' => folded.push('i'),
            c if c.is_alphanumeric() => folded.push(c),
            _ => {}
        }
    }
    folded
}

#[cfg(test)]
mod tests;
