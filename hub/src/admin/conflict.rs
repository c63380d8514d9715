//! What waits for a decision: values of a patient's name, birth date or sex that did not know of each other. Sites decide
//! these, or an administrator here, naming what they were shown; whoever was shown less than there is decides nothing.

use clinic::catalogue::{Field, patient, staff};
use clinic::index::Facet;
use clinic::value::{BirthDate, PersonName, Sex};
use clinic::{Action, Channel, Said, Shown, Value, Writing};
use serde::{Deserialize, Serialize};
use sync_protocol::hub::HubLedger;
use sync_protocol::{ChangeId, Phi, RecordId, RecordState, ReplicaId, ScopeId};

use super::{Admin, By, iso};
use crate::db::Txn;
use crate::exit::{Exit, Failure};
use crate::matching::Matcher;

/// Records with a question that one list shows.
const LISTED_MAX: usize = 500;

#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum ConflictCommand {
    List,
    Decide(ConflictDecision),
}

/// Which of the values that were shown stands.
#[derive(Serialize, Deserialize)]
pub struct ConflictDecision {
    pub patient: String,
    pub field: String,
    /// The change whose value is kept.
    pub keep: String,
    /// The changes of every value that was shown.
    pub shown: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum ConflictReply {
    List { conflicts: Vec<Conflict> },
    Decided { patient: String, field: String },
}

/// One question about one patient. It holds PHI.
#[derive(Serialize, Deserialize)]
pub struct Conflict {
    pub patient: String,
    pub name: String,
    pub birth_date: Option<String>,
    pub numbers: Vec<String>,
    /// The names of the sites that have the patient.
    pub sites: Vec<String>,
    pub field: String,
    pub values: Vec<ConflictValue>,
    /// What is shown meanwhile.
    pub standing: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub struct ConflictValue {
    pub change: String,
    pub value: String,
    pub said_by: String,
    pub place: String,
    pub entered: String,
}

impl ConflictCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            ConflictCommand::List => false,
            ConflictCommand::Decide(_) => true,
        }
    }
}

impl Admin {
    pub(super) async fn about_conflicts(&self, by: By, command: ConflictCommand) -> Result<ConflictReply, Failure> {
        match command {
            ConflictCommand::List => {
                let conflicts = self.db.read(conflicts).await?;
                Ok(ConflictReply::List { conflicts })
            }
            ConflictCommand::Decide(decision) => self.decide(by, decision).await,
        }
    }

    async fn decide(&self, by: By, decision: ConflictDecision) -> Result<ConflictReply, Failure> {
        let ConflictDecision {
            patient: record,
            field,
            keep,
            shown,
        } = decision;
        let record = RecordId::parse(&record).ok_or_else(|| usage("that is not a patient's id"))?;
        let keep = ChangeId::parse(&keep).ok_or_else(|| usage("that is not a value's id"))?;
        let shown: Vec<ChangeId> = shown
            .iter()
            .map(|id| ChangeId::parse(id))
            .collect::<Option<_>>()
            .ok_or_else(|| usage("one of those shown is not a value's id"))?;
        let asked = Asked::parse(&field).ok_or_else(|| {
            let words: Vec<&str> = Asked::ALL.iter().map(|asked| asked.word()).collect();
            Failure::new(Exit::Usage, format!("\"{field}\" is none of {}", words.join(", ")))
        })?;
        let matcher = self.matcher.clone();
        let write = move |txn: &mut Txn<'_>| write_decision(txn, &matcher, by, (record, asked), keep, &shown);
        self.db.write(write).await?;
        tracing::info!(patient = %record, field = asked.word(), by = %by, "a conflict was decided at the hub");
        Ok(ConflictReply::Decided {
            patient: record.to_string(),
            field: asked.word().to_owned(),
        })
    }
}

/// The fields of a patient that a person decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Name,
    BirthDate,
    Sex,
}

impl Asked {
    const ALL: &'static [Asked] = &[Asked::Name, Asked::BirthDate, Asked::Sex];

    fn word(self) -> &'static str {
        match self {
            Asked::Name => "name",
            Asked::BirthDate => "birth_date",
            Asked::Sex => "sex",
        }
    }

    fn parse(word: &str) -> Option<Asked> {
        Asked::ALL.iter().copied().find(|asked| asked.word() == word)
    }
}

fn write_decision(
    txn: &mut Txn<'_>,
    matcher: &Matcher,
    by: By,
    (record, asked): (RecordId, Asked),
    keep: ChangeId,
    shown: &[ChangeId],
) -> Result<(), Failure> {
    txn.lock(&[record.0])?;
    let state = txn
        .state(record)?
        .filter(|state| state.kind == patient::KIND)
        .ok_or_else(|| usage("there is no such patient"))?;
    let draft = Writing::new(patient::KIND, record, Action::Decide, by.actor(), txn.now_ms() as i64);
    let draft = match asked {
        Asked::Name => decided(draft, &state, patient::NAME, keep, shown)?,
        Asked::BirthDate => decided(draft, &state, patient::BIRTH_DATE, keep, shown)?,
        Asked::Sex => decided(draft, &state, patient::SEX, keep, shown)?,
    };
    txn.author(&draft.done(), None)?;
    Ok(matcher.consider(txn, &[record])?)
}

fn usage(what: &str) -> Failure {
    Failure::new(Exit::Usage, format!("{what}: see mainstay-hub conflict list"))
}

fn decided<T: Value>(
    draft: Writing,
    state: &RecordState,
    field: Field<T>,
    keep: ChangeId,
    shown: &[ChangeId],
) -> Result<Writing, Failure> {
    let changed = || {
        Failure::failed("the question has changed since it was shown: look at it again (mainstay-hub conflict list)")
    };
    let Shown::Open { values, .. } = field.ask(state) else {
        return Err(changed());
    };
    if values.iter().any(|said| !shown.contains(&said.change)) {
        return Err(changed());
    }
    let kept = values.iter().find(|said| said.change == keep).ok_or_else(changed)?;
    Ok(draft.replace(field, &kept.value, shown))
}

fn conflicts(txn: &mut Txn<'_>) -> Result<Vec<Conflict>, Failure> {
    let records = txn.with_facet(Facet::CONFLICT, LISTED_MAX)?;
    let mut found = Vec::new();
    for state in records.iter().filter(|state| state.kind == patient::KIND) {
        let name = |name: &Phi<PersonName>| name.expose().listed();
        let date = |date: &Phi<BirthDate>| date.expose().iso();
        let sex = |sex: &Sex| sex.word().to_owned();
        question(txn, state, Asked::Name, patient::NAME, name, &mut found)?;
        question(txn, state, Asked::BirthDate, patient::BIRTH_DATE, date, &mut found)?;
        question(txn, state, Asked::Sex, patient::SEX, sex, &mut found)?;
    }
    Ok(found)
}

fn question<T: Value>(
    txn: &mut Txn<'_>,
    state: &RecordState,
    asked: Asked,
    field: Field<T>,
    words: impl Fn(&T) -> String,
    found: &mut Vec<Conflict>,
) -> Result<(), Failure> {
    let Shown::Open { standing, values } = field.ask(state) else {
        return Ok(());
    };
    let mut sides = Vec::new();
    for said in &values {
        sides.push(ConflictValue {
            change: said.change.to_string(),
            value: words(&said.value),
            said_by: who(txn, said)?,
            place: place(txn, replica_of(state, field, said.change))?,
            entered: iso(said.entered_ms.unsigned_abs()),
        });
    }
    let mut sites = Vec::new();
    for scope in txn.scopes_of(state.record)? {
        sites.extend(txn.site(scope)?.map(|site| site.name));
    }
    let name = patient::NAME.ask(state);
    let numbers = patient::IDENTIFIER.standing(state);
    found.push(Conflict {
        patient: state.record.to_string(),
        name: name.standing().map(|name| name.expose().listed()).unwrap_or_default(),
        birth_date: patient::BIRTH_DATE
            .ask(state)
            .standing()
            .map(|date| date.expose().iso()),
        numbers: numbers.iter().map(|said| said.value.expose().value.clone()).collect(),
        sites,
        field: asked.word().to_owned(),
        values: sides,
        standing: standing.as_ref().map(words),
    });
    Ok(())
}

fn replica_of<T>(state: &RecordState, field: Field<T>, change: ChangeId) -> ReplicaId {
    let live = state
        .register(field.id)
        .and_then(|register| register.values.get(&change));
    live.map_or(ReplicaId::NIL, |live| live.origin.dot.replica)
}

/// Who said it: a person by name, a program by what it is.
fn who<T>(txn: &mut Txn<'_>, said: &Said<T>) -> Result<String, Failure> {
    let channel = Channel::of(said.actor);
    let program = channel.map_or("a newer program", Channel::word);
    if said.actor.who.is_nil() {
        return Ok(program.to_owned());
    }
    let name = match channel {
        Some(Channel::Console) => txn.account(said.actor.who)?.map(|account| account.name),
        Some(Channel::Page | Channel::Hl7 | Channel::Rule | Channel::Hub | Channel::Connector | Channel::Cli)
        | None => {
            let state = txn.state(said.actor.who)?.filter(|state| state.kind == staff::KIND);
            state.and_then(|state| staff::NAME.value(&state))
        }
    };
    Ok(name.unwrap_or_else(|| "somebody who is not known here".to_owned()))
}

fn place(txn: &mut Txn<'_>, replica: ReplicaId) -> Result<String, Failure> {
    if txn
        .epochs_begun()?
        .iter()
        .any(|begun| begun.epoch.hub_replica == replica)
    {
        return Ok("the hub".to_owned());
    }
    let scope: Option<ScopeId> = txn.chain(replica)?.map(|head| head.scope);
    let site = match scope {
        Some(scope) => txn.site(scope)?,
        None => None,
    };
    Ok(site.map_or_else(|| "a site that is not known here".to_owned(), |site| site.name))
}

#[cfg(test)]
mod tests {
    use clinic::link;
    use clinic::linking::link_id;

    use super::*;
    use crate::db::{Db, Place, Policy};

    #[tokio::test]
    async fn who_is_alike_by_what_was_decided_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            file: folder.path().join("hub.db"),
            config: crate::db::Config::default(),
        };
        let db = Db::create(&place, &vault::DataKey::generate().unwrap(), Policy::CATALOGUE).unwrap();
        let (one, other) = (RecordId([1; 16]), RecordId([2; 16]));
        let person = |record, born| {
            Writing::new(patient::KIND, record, Action::Edit, Channel::Page.program(), 1)
                .set(patient::NAME, &Phi::new(PersonName::parse("Whitehorse, Jolene")))
                .set(patient::BIRTH_DATE, &Phi::new(BirthDate::parse(born).unwrap()))
                .done()
        };
        let drafts = [
            person(one, "1987-03-04"),
            person(other, "1961-11-30"),
            person(other, "1987-03-04"),
        ];

        let linked = db.write(move |txn| {
            for draft in &drafts {
                txn.author(draft, None)?;
            }
            let open = txn.state(other)?.expect("it was just written");
            let shown = open.shown(patient::BIRTH_DATE.id);
            assert_eq!(shown.len(), 2, "the two birth dates are not a question");
            let right = BirthDate::parse("1987-03-04").map(Phi::new);
            let Shown::Open { values, .. } = patient::BIRTH_DATE.ask(&open) else {
                return Ok(None);
            };
            let keep = values
                .iter()
                .find(|said| Some(said.value.expose()) == right.as_ref().map(Phi::expose));
            let keep = keep.expect("one of the two").change;
            let asked = (other, Asked::BirthDate);
            write_decision(txn, &Matcher::default(), By::CommandLine, asked, keep, &shown)?;
            Ok::<_, Failure>(txn.state(link_id(one, other))?)
        });

        let link = linked.await.unwrap().expect("the two were not compared");
        assert_eq!(
            link::STANDING.ask(&link).standing(),
            Some(&clinic::value::LinkStanding::Proposed)
        );
        db.close();
    }
}
