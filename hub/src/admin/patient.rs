//! Finding patients and editing them from the hub. What is edited names the values that the hub held at that moment, as
//! a person's form would.

use clinic::catalogue::{allergy, patient};
use clinic::value::{AllergyStatement, BirthDate};
use clinic::{Action, Writing};
use serde::{Deserialize, Serialize};
use sync_protocol::hub::HubLedger;
use sync_protocol::replica::Written;
use sync_protocol::{Phi, RecordId, RecordState};

use super::{Admin, By};
use crate::db::{Txn, random};
use crate::exit::{Exit, Failure};
use crate::matching::Matcher;

const CONTACT_MAX_CHARS: usize = 200;

/// What is asked about patients, as the hub holds them.
#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum PatientCommand {
    Edit(Edit),
    Find { text: String },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum PatientReply {
    Edited { patient: String, changes: Vec<String> },
    Found { patients: Vec<FoundPatient> },
}

impl PatientCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            PatientCommand::Edit(_) => true,
            PatientCommand::Find { .. } => false,
        }
    }
}

/// What to change of a patient. It holds PHI, so it cannot be printed.
#[derive(Serialize, Deserialize)]
pub struct Edit {
    pub patient: String,
    pub phone: Option<String>,
    pub email: Option<String>,
    pub birth_date: Option<String>,
    pub add_allergy: Option<String>,
}

/// A patient as `patient find` lists one.
#[derive(Serialize, Deserialize)]
pub struct FoundPatient {
    pub patient: String,
    pub name: String,
    pub birth_date: Option<String>,
    pub phone: Option<String>,
    pub email: Option<String>,
    /// Values that a person must decide between.
    pub conflict: bool,
}

impl Admin {
    pub(super) async fn about_patients(&self, by: By, command: PatientCommand) -> Result<PatientReply, Failure> {
        match command {
            PatientCommand::Edit(edit) => self.edit_patient(by, edit).await,
            PatientCommand::Find { text } => self.find_patients(&text).await,
        }
    }

    async fn find_patients(&self, text: &str) -> Result<PatientReply, Failure> {
        let words = clinic::index::search(text);
        if words.is_empty() {
            return Err(Failure::new(
                Exit::Usage,
                "give a name, a birth date, a phone number or an identifier",
            ));
        }
        let found: Vec<RecordState> = self
            .db
            .read(move |txn| Ok::<_, Failure>(txn.search(patient::KIND, &words)?))
            .await?;
        let mut patients: Vec<_> = found.iter().map(FoundPatient::of).collect();
        patients.sort_by(|a, b| (&a.name, &a.patient).cmp(&(&b.name, &b.patient)));
        Ok(PatientReply::Found { patients })
    }

    async fn edit_patient(&self, by: By, edit: Edit) -> Result<PatientReply, Failure> {
        let record = RecordId::parse(&edit.patient)
            .ok_or_else(|| Failure::new(Exit::Usage, "that is not a patient's id: see mainstay-hub patient find"))?;
        let wanted = Wanted::parse(&edit)?;
        let matcher = self.matcher.clone();
        let written = self.db.write(move |txn| write_edit(txn, &matcher, by, record, &wanted));
        let written = written.await?;
        let changes = written.iter().map(|written| written.change.to_string()).collect();
        tracing::info!(patient = %record, changes = written.len(), by = %by, "a patient was edited at the hub");
        Ok(PatientReply::Edited {
            patient: record.to_string(),
            changes,
        })
    }
}

/// An edit, read.
struct Wanted {
    phone: Option<Phi<String>>,
    email: Option<Phi<String>>,
    birth_date: Option<Phi<BirthDate>>,
    allergy: Option<Phi<AllergyStatement>>,
}

impl Wanted {
    fn parse(edit: &Edit) -> Result<Wanted, Failure> {
        let bounded = |what: &str, text: &Option<String>| -> Result<Option<String>, Failure> {
            let Some(text) = text.as_deref().map(str::trim) else {
                return Ok(None);
            };
            if text.is_empty() || text.chars().count() > CONTACT_MAX_CHARS || text.chars().any(char::is_control) {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("{what} must have 1 to {CONTACT_MAX_CHARS} characters"),
                ));
            }
            Ok(Some(text.to_owned()))
        };
        let birth_date = match &edit.birth_date {
            None => None,
            Some(text) => Some(
                BirthDate::parse(text)
                    .filter(BirthDate::is_whole)
                    .ok_or_else(|| Failure::new(Exit::Usage, "the birth date must read YYYY-MM-DD"))?,
            ),
        };
        let substance = bounded("the allergy", &edit.add_allergy)?;
        let wanted = Wanted {
            phone: bounded("the phone number", &edit.phone)?.map(Phi::new),
            email: bounded("the e-mail address", &edit.email)?.map(Phi::new),
            birth_date: birth_date.map(Phi::new),
            allergy: substance.map(|substance| {
                Phi::new(AllergyStatement {
                    substance,
                    ..AllergyStatement::default()
                })
            }),
        };
        let something =
            wanted.phone.is_some() || wanted.email.is_some() || wanted.birth_date.is_some() || wanted.allergy.is_some();
        if !something {
            return Err(Failure::new(
                Exit::Usage,
                "say what to change: --phone, --email, --birth-date or --add-allergy",
            ));
        }
        Ok(wanted)
    }
}

fn write_edit(
    txn: &mut Txn<'_>,
    matcher: &Matcher,
    by: By,
    record: RecordId,
    wanted: &Wanted,
) -> Result<Vec<Written>, Failure> {
    let state = txn
        .state(record)?
        .filter(|state| state.kind == patient::KIND)
        .ok_or_else(|| Failure::failed(format!("there is no patient {record}: see mainstay-hub patient find")))?;
    let (actor, now_ms) = (by.actor(), txn.now_ms() as i64);
    let mut written = Vec::new();

    let mut draft = Writing::new(patient::KIND, record, Action::Edit, actor, now_ms);
    if let Some(phone) = &wanted.phone {
        draft = draft.replace(patient::PHONE, phone, &state.shown(patient::PHONE.id));
    }
    if let Some(email) = &wanted.email {
        draft = draft.replace(patient::EMAIL, email, &state.shown(patient::EMAIL.id));
    }
    if let Some(birth_date) = &wanted.birth_date {
        draft = draft.replace(patient::BIRTH_DATE, birth_date, &state.shown(patient::BIRTH_DATE.id));
    }
    if !draft.is_empty() {
        written.extend(txn.author(&draft.done(), None)?);
    }
    if let Some(statement) = &wanted.allergy {
        let added = RecordId(random()?);
        let draft = Writing::new(allergy::KIND, added, Action::AddAllergy, actor, now_ms)
            .set(allergy::PATIENT, &record)
            .assert(allergy::STATEMENT, statement);
        written.extend(txn.author(&draft.done(), None)?);
        // Whoever has the patient must have the allergy.
        for scope in txn.scopes_of(record)? {
            txn.enter(scope, added)?;
        }
    }
    matcher.consider(txn, &[record])?;
    Ok(written)
}

impl FoundPatient {
    fn of(state: &RecordState) -> FoundPatient {
        let name = patient::NAME.ask(state);
        let birth_date = patient::BIRTH_DATE.ask(state);
        FoundPatient {
            patient: state.record.to_string(),
            name: name.standing().map(|name| name.expose().listed()).unwrap_or_default(),
            birth_date: birth_date.standing().map(|date| date.expose().iso()),
            phone: patient::PHONE.value(state).map(Phi::into_exposed),
            email: patient::EMAIL.value(state).map(Phi::into_exposed),
            conflict: name.is_open() || birth_date.is_open() || patient::SEX.ask(state).is_open(),
        }
    }
}
