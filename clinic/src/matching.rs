//! When two people are the same. Nothing is ever chosen for a person where doubt is left.

use minicbor::Decoder;
use sync_protocol::cbor::Raw;
use sync_protocol::state::RecordState;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::catalogue::patient;
use crate::value::{BirthDate, Identifier, PersonName, TEXT_MAX_BYTES, Value};

/// What a person is known by.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Identity {
    pub name: PersonName,
    pub birth_date: Option<BirthDate>,
    pub phones: Vec<String>,
    pub identifiers: Vec<Identifier>,
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
        }
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

/// Attaches only when an identifier of the same assigning authority agrees and name or birth date confirm it, or name, birth date and phone all do, and
/// only to one; name and birth date alone, or any two of the three, ask; nothing alike creates.
pub fn decide(ours: &Identity, candidates: &[Candidate]) -> Match {
    let by_identifier: Vec<_> = candidates
        .iter()
        .filter(|c| same_identifier(ours, &c.identity))
        .collect();
    if let [one] = by_identifier.as_slice() {
        // A number may be mistyped; it attaches only where name or birth date say the same.
        let contradicts = !confirmed(ours, &one.identity);
        return if contradicts {
            Match::Ask(vec![(*one).clone()])
        } else {
            Match::Attach(one.partner_id.clone())
        };
    }
    let alike: Vec<_> = candidates
        .iter()
        .filter(|c| agreement(ours, &c.identity) >= 2)
        .cloned()
        .collect();
    let certain: Vec<_> = alike.iter().filter(|c| agreement(ours, &c.identity) == 3).collect();
    match (certain.as_slice(), alike.as_slice(), by_identifier.as_slice()) {
        ([one], _, []) => Match::Attach(one.partner_id.clone()),
        (_, [], []) => Match::Create,
        (_, _, several) => {
            let mut all: Vec<Candidate> = several.iter().map(|c| (*c).clone()).collect();
            all.extend(
                alike
                    .iter()
                    .filter(|c| !several.iter().any(|s| s.partner_id == c.partner_id))
                    .cloned(),
            );
            all.truncate(crate::task::CANDIDATES_MAX);
            Match::Ask(all)
        }
    }
}

/// Whether two descriptions may be of one person: what a look-alike warning is made of.
pub fn alike(a: &Identity, b: &Identity) -> bool {
    same_identifier(a, b) || agreement(a, b) >= 2
}

/// Whether what a message says of a person agrees with a record in name or birth date, so that a number alone, which may
/// be another authority's or mistyped, never puts a result on somebody else.
pub fn confirmed(record: &Identity, said: &Identity) -> bool {
    same_name(record, said) || same_birth_date(record, said)
}

fn agreement(a: &Identity, b: &Identity) -> usize {
    [same_name(a, b), same_birth_date(a, b), same_phone(a, b)]
        .into_iter()
        .filter(|agrees| *agrees)
        .count()
}

fn same_identifier(a: &Identity, b: &Identity) -> bool {
    let known = |i: &Identifier| !i.system.is_empty() && !i.value.is_empty();
    a.identifiers.iter().filter(|i| known(i)).any(|i| {
        b.identifiers
            .iter()
            .any(|j| i.system.eq_ignore_ascii_case(&j.system) && i.value == j.value)
    })
}

fn same_name(a: &Identity, b: &Identity) -> bool {
    let family = fold(&a.name.family);
    !family.is_empty() && family == fold(&b.name.family) && fold(&a.name.given) == fold(&b.name.given)
}

fn same_birth_date(a: &Identity, b: &Identity) -> bool {
    a.birth_date.is_some_and(|date| date.is_whole()) && a.birth_date == b.birth_date
}

fn same_phone(a: &Identity, b: &Identity) -> bool {
    a.phones.iter().filter_map(|phone| phone_key(phone)).any(|key| {
        b.phones
            .iter()
            .filter_map(|phone| phone_key(phone))
            .any(|other| other == key)
    })
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
mod tests {
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
    fn name_birth_date_and_phone_together_attach() {
        let ours = person("O’Súilleabháin, Máiréad", "1957-02-02", "(602) 555-0143");
        let theirs = at_partner("p1", person("O'Suilleabhain, Mairead", "1957-02-02", "+1 602-555-0143"));

        assert_eq!(decide(&ours, &[theirs]), Match::Attach("p1".to_owned()));
    }

    #[test]
    fn name_and_birth_date_alone_ask() {
        let ours = person("Smith, John", "1969-04-01", "6025550100");
        let theirs = at_partner("p1", person("Smith, John", "1969-04-01", "6025550199"));

        assert_eq!(decide(&ours, std::slice::from_ref(&theirs)), Match::Ask(vec![theirs]));
    }

    #[test]
    fn two_certain_ones_ask() {
        let ours = person("Smith, John", "1969-04-01", "6025550100");
        let both = [at_partner("p1", ours.clone()), at_partner("p2", ours.clone())];

        assert!(matches!(decide(&ours, &both), Match::Ask(all) if all.len() == 2));
    }

    #[test]
    fn nobody_alike_creates() {
        let ours = person("Smith, John", "1969-04-01", "6025550100");
        let other = at_partner("p1", person("Smith, Joan", "1971-04-01", "6025550177"));

        assert_eq!(decide(&ours, &[other]), Match::Create);
    }

    #[test]
    fn the_same_number_of_another_authority_is_another_number() {
        let mrn = |system: &str| Identifier {
            system: system.into(),
            value: "1234567".into(),
            kind: "MR".into(),
        };
        let mut ours = person("Everyman, Adam", "1988-08-18", "");
        let mut theirs = person("Jones, Beth", "1960-01-01", "");
        ours.identifiers.push(mrn("M11"));
        theirs.identifiers.push(mrn("NIST MPI"));

        assert_eq!(decide(&ours, &[at_partner("p1", theirs)]), Match::Create);
    }

    #[test]
    fn a_number_that_nothing_else_confirms_asks() {
        let mrn = Identifier {
            system: "M11".into(),
            value: "1234567".into(),
            kind: "MR".into(),
        };
        let mut ours = person("Everyman, Adam", "", "");
        let mut theirs = person("Jones, Beth", "1960-01-01", "");
        ours.identifiers.push(mrn.clone());
        theirs.identifiers.push(mrn);
        let theirs = at_partner("p1", theirs);

        assert_eq!(decide(&ours, std::slice::from_ref(&theirs)), Match::Ask(vec![theirs]));
    }

    #[test]
    fn a_candidate_survives_storage() {
        let mut identity = person("Nguyễn, Thị Minh Anh", "1990-08-19", "6025550101");
        identity.identifiers.push(Identifier {
            system: "a".into(),
            value: "1".into(),
            kind: "MR".into(),
        });
        let candidate = at_partner("p9", identity);

        assert_eq!(Candidate::from_raw(&candidate.to_raw()), Some(candidate));
    }
}
