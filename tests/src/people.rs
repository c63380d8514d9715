//! Made-up people for tests and the demo, and the HL7 messages another system would send about them.
//!
//! Nobody here exists: telephone numbers are from the range kept for fiction (555-01xx).

use jiff::{Timestamp, tz::TimeZone};

/// One made-up person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    pub family: &'static str,
    pub given: &'static str,
    /// ISO date.
    pub birth_date: &'static str,
    /// HL7 table 0001.
    pub sex: &'static str,
    pub phone: &'static str,
    pub mrn: &'static str,
    pub reason: &'static str,
}

impl Person {
    /// As a form takes it: last, first.
    pub fn last_first(&self) -> String {
        format!("{}, {}", self.family, self.given)
    }
}

const fn person(
    family: &'static str,
    given: &'static str,
    birth_date: &'static str,
    sex: &'static str,
    phone: &'static str,
    mrn: &'static str,
    reason: &'static str,
) -> Person {
    Person {
        family,
        given,
        birth_date,
        sex,
        phone,
        mrn,
        reason,
    }
}

/// A day's patients: accents, long and short names, two of one name, a minor, an infant.
pub const CLINIC_DAY: [Person; 16] = [
    person(
        "Quiñones-Whitfield",
        "Dolores",
        "1961-03-02",
        "F",
        "312-555-0101",
        "740101",
        "Cough for 3 days",
    ),
    person(
        "Nguyễn",
        "Thị Minh Anh",
        "1990-08-19",
        "F",
        "312-555-0102",
        "740102",
        "Sore throat",
    ),
    person(
        "O'Brien",
        "Séamus",
        "1948-11-30",
        "M",
        "312-555-0103",
        "740103",
        "Dizzy since morning",
    ),
    person(
        "Okonkwo",
        "Adaeze",
        "2016-05-14",
        "F",
        "312-555-0104",
        "740104",
        "Ear pain, with her mother",
    ),
    person(
        "Li",
        "Na",
        "1999-01-05",
        "F",
        "312-555-0105",
        "740105",
        "Cut on the left hand",
    ),
    person(
        "Wolfeschlegelsteinhausen",
        "Maximilian Hubertus",
        "1975-07-07",
        "M",
        "312-555-0106",
        "740106",
        "Back pain",
    ),
    person(
        "García",
        "José Luis",
        "1983-12-12",
        "M",
        "312-555-0107",
        "740107",
        "Work physical",
    ),
    person(
        "Garcia",
        "Jose",
        "1983-12-21",
        "M",
        "312-555-0108",
        "740108",
        "Sprained ankle",
    ),
    person(
        "Müller",
        "Jürgen",
        "1969-02-28",
        "M",
        "312-555-0109",
        "740109",
        "Rash on both arms",
    ),
    person("Åkesson", "Elin", "2004-02-29", "F", "312-555-0110", "740110", "Fever"),
    person(
        "Rzeźnik",
        "Małgorzata",
        "1957-09-23",
        "F",
        "312-555-0111",
        "740111",
        "Burning when passing water",
    ),
    person(
        "de la Cruz y Fernández",
        "María del Carmen",
        "1936-06-01",
        "F",
        "312-555-0112",
        "740112",
        "Fell at home",
    ),
    person(
        "Haddad",
        "Yusuf",
        "2026-02-11",
        "M",
        "312-555-0113",
        "740113",
        "Vomiting, with his father",
    ),
    person(
        "Ka'ahumanu",
        "Leilani",
        "1994-10-10",
        "F",
        "312-555-0114",
        "740114",
        "Migraine",
    ),
    person(
        "Şahin",
        "Gülşen",
        "1979-04-17",
        "F",
        "312-555-0115",
        "740115",
        "Something in the eye",
    ),
    person(
        "Dvořák",
        "Bohumil",
        "1952-08-08",
        "M",
        "312-555-0116",
        "740116",
        "Wound check",
    ),
];

/// The system that sends the messages below.
pub const SENDER: &str = "FRONTDESK";
/// Who assigns the medical record numbers in them.
pub const AUTHORITY: &str = "RIVERSIDE";

fn now() -> String {
    Timestamp::now()
        .to_zoned(TimeZone::UTC)
        .strftime("%Y%m%d%H%M%S+0000")
        .to_string()
}

fn header(event: &str, control_id: &str, at: &str) -> String {
    format!(
        "MSH|^~\\&|{SENDER}|{AUTHORITY}|MAINSTAY|{AUTHORITY}|{at}||{event}|{control_id}|P|2.5.1||||||UNICODE UTF-8\r"
    )
}

fn identity(person: &Person) -> String {
    let Person {
        family,
        given,
        birth_date,
        sex,
        phone,
        mrn,
        ..
    } = person;
    let born = birth_date.replace('-', "");
    format!("PID|1||{mrn}^^^{AUTHORITY}^MR||{family}^{given}^^^^^L||{born}|{sex}|||||{phone}\r")
}

fn adt(trigger: &str, structure: &str, person: &Person, control_id: &str) -> String {
    let at = now();
    let head = header(&format!("ADT^{trigger}^{structure}"), control_id, &at);
    let visit = format!("PV1|1|O|||||||||||||||||V{}\rPV2|||^{}\r", person.mrn, person.reason);
    format!("{head}EVN|{trigger}|{at}\r{}{visit}", identity(person))
}

/// A registration of an outpatient.
pub fn adt_a04(person: &Person, control_id: &str) -> String {
    adt("A04", "ADT_A01", person, control_id)
}

/// A change to a patient's particulars.
pub fn adt_a08(person: &Person, control_id: &str) -> String {
    adt("A08", "ADT_A01", person, control_id)
}

/// The end of a visit.
pub fn adt_a03(person: &Person, control_id: &str) -> String {
    adt("A03", "ADT_A03", person, control_id)
}

/// A glucose result.
pub fn oru_r01(person: &Person, control_id: &str, value: &str) -> String {
    let at = now();
    let head = header("ORU^R01^ORU_R01", control_id, &at);
    let order = format!("OBR|1||{control_id}|2345-7^Glucose^LN|||{at}\r");
    let result = format!("OBX|1|NM|2345-7^Glucose^LN||{value}|mg/dL|70-99||||F|||{at}\r");
    format!("{head}{}{order}{result}", identity(person))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_people_share_a_number() {
        let numbers: std::collections::BTreeSet<_> = CLINIC_DAY.iter().map(|person| person.mrn).collect();

        assert_eq!(numbers.len(), CLINIC_DAY.len());
    }

    #[test]
    fn a_registration_names_its_patient_by_number_and_authority() {
        let message = adt_a04(&CLINIC_DAY[0], "c1");

        let lines: Vec<_> = message.split_terminator('\r').collect();
        assert!(
            lines[0].ends_with("||ADT^A04^ADT_A01|c1|P|2.5.1||||||UNICODE UTF-8"),
            "{}",
            lines[0]
        );
        assert_eq!(
            lines[2],
            "PID|1||740101^^^RIVERSIDE^MR||Quiñones-Whitfield^Dolores^^^^^L||19610302|F|||||312-555-0101"
        );
    }
}
