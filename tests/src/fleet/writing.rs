//! What people at a simulated site do: somebody comes, moves on, is edited, has an allergy noted.

use anyhow::{Context as _, Result};
use clinic::catalogue::{allergy, appointment, patient, visit};
use clinic::flow::VisitState;
use clinic::value::{AllergyStatement, AppointmentStatus, BirthDate, PersonName};
use clinic::{Action, Channel, Writing, rules};
use sync_protocol::{ChangeId, Phi, RecordId, RecordState};

use super::agent::SimAgent;
use super::{now_ms, random};

fn now() -> i64 {
    i64::try_from(now_ms()).unwrap_or_default()
}

impl SimAgent {
    fn site_record(&self) -> RecordId {
        RecordId(self.site.0)
    }

    fn edit(&self, patient: RecordId) -> Writing {
        Writing::new(patient::KIND, patient, Action::Edit, Channel::Page.program(), now())
    }

    /// Somebody new comes, and is seen as far as a room: four changes on two records. Answers the patient.
    pub fn arrival(&self, number: usize) -> Result<RecordId> {
        let patient = RecordId(random());
        let born = born(number)?;
        let name = PersonName::new(&syllables(number), &syllables(number / 7 + 3));
        let phone = format!("(602) 555-{:04}", number % 10_000);
        self.write(
            Writing::new(patient::KIND, patient, Action::Arrive, Channel::Page.program(), now())
                .set(patient::NAME, &Phi::new(name))
                .set(patient::BIRTH_DATE, &Phi::new(born))
                .set(patient::PHONE, &Phi::new(phone)),
        )?;
        let visit = self.come(patient)?;
        for state in [VisitState::Triaged, VisitState::Roomed] {
            self.write(
                Writing::new(visit::KIND, visit, Action::Move, Channel::Page.program(), now())
                    .assert(visit::TRANSITION, &state),
            )?;
        }
        Ok(patient)
    }

    /// Somebody is registered, as no other number is: one change.
    pub fn register(&self, number: usize) -> Result<RecordId> {
        let patient = RecordId(random());
        let born = born(number)?;
        let name = PersonName::new(&syllables(number), &syllables(number / 7 + number / 20_736 + 3));
        let phone = format!("({:03}) 555-{:04}", 200 + number / 10_000, number % 10_000);
        self.write(
            Writing::new(patient::KIND, patient, Action::Arrive, Channel::Page.program(), now())
                .set(patient::NAME, &Phi::new(name))
                .set(patient::BIRTH_DATE, &Phi::new(born))
                .set(patient::PHONE, &Phi::new(phone)),
        )?;
        Ok(patient)
    }

    /// A patient, known here or not, comes to this site. Answers the visit.
    pub fn come(&self, patient: RecordId) -> Result<RecordId> {
        let visit = RecordId(random());
        let reason = Phi::new("Cough for 3 days".to_owned());
        let arrival = rules::arrive(visit, patient, self.site_record(), Channel::Page.program(), now());
        self.write(arrival.set(visit::REASON, &reason))?;
        Ok(visit)
    }

    /// Books a time tomorrow for a patient, known here or not. Answers the appointment.
    pub fn book(&self, patient: RecordId) -> Result<RecordId> {
        const DAY_MS: i64 = 86_400_000;
        let booking = RecordId(random());
        let writing = Writing::new(appointment::KIND, booking, Action::Edit, Channel::Page.program(), now());
        self.write(
            writing
                .set(appointment::PATIENT, &patient)
                .set(appointment::SITE, &self.site_record())
                .set(appointment::STARTS_MS, &(now() + DAY_MS))
                .set(appointment::STATUS, &AppointmentStatus::Booked),
        )?;
        Ok(booking)
    }

    pub fn rebook(&self, booking: RecordId, status: AppointmentStatus) -> Result<()> {
        let shown = self.shown(booking).context("the booking is not known here")?;
        let writing = Writing::new(appointment::KIND, booking, Action::Edit, Channel::Page.program(), now());
        self.write(writing.replace(appointment::STATUS, &status, &shown.shown(appointment::STATUS.id)))?;
        Ok(())
    }

    pub fn set_phone(&self, patient: RecordId, phone: &str) -> Result<Option<ChangeId>> {
        let shown = self.shown(patient).map(|state| state.shown(patient::PHONE.id));
        let writing = self.edit(patient);
        self.write(writing.replace(patient::PHONE, &Phi::new(phone.to_owned()), &shown.unwrap_or_default()))
    }

    /// Notes an allergy, a record of its own. Answers it.
    pub fn add_allergy(&self, patient: RecordId, substance: &str) -> Result<RecordId> {
        let allergy = RecordId(random());
        let statement = AllergyStatement {
            substance: substance.to_owned(),
            ..AllergyStatement::default()
        };
        self.write(
            Writing::new(
                allergy::KIND,
                allergy,
                Action::AddAllergy,
                Channel::Page.program(),
                now(),
            )
            .set(allergy::PATIENT, &patient)
            .assert(allergy::STATEMENT, &Phi::new(statement)),
        )?;
        Ok(allergy)
    }
}

/// What an allergy's record says, one text for every statement that stands.
pub fn substances(allergy: &RecordState) -> Vec<String> {
    let statements = allergy::STATEMENT.standing(allergy);
    statements
        .into_iter()
        .map(|said| said.value.expose().substance.clone())
        .collect()
}

/// A birth date as people of a town have them: 30,240 of them, so that few share one.
fn born(number: usize) -> Result<BirthDate> {
    let (year, month, day) = (1930 + number % 90, 1 + number / 90 % 12, 1 + number / 1_080 % 28);
    BirthDate::new(year as i16, Some(month as i8), Some(day as i8)).context("a birth date")
}

/// A made-up name that is another for every number.
fn syllables(number: usize) -> String {
    const PARTS: [&str; 12] = [
        "Ma", "ri", "ko", "len", "to", "vas", "hu", "ber", "qui", "san", "dor", "wei",
    ];
    (0..4).map(|place| PARTS[number / 12usize.pow(place) % 12]).collect()
}
