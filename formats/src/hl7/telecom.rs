//! XTN: numbers and addresses to reach somebody at, through all the ways senders have put them.

use super::datatypes::text;
use super::fields::Repetition;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelecomSystem {
    Phone,
    Fax,
    Pager,
    Email,
    /// A modem, a network address that is no e-mail.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TelecomUse {
    Home,
    Work,
    Mobile,
    /// Neither the field nor XTN says.
    Unstated,
}

/// XTN: one number or address to reach somebody at. One XTN that holds a number and an e-mail address is read as two.
#[derive(Clone, PartialEq, Eq)]
pub struct Telecom {
    pub system: TelecomSystem,
    pub used_for: TelecomUse,
    /// As the sender writes it; a number sent in parts is `+1 555 5550123 x12`.
    pub value: String,
}

conceal_debug!(Telecom);

impl Telecom {
    /// What one XTN says, for a field whose numbers are `usually` for that use.
    pub(super) fn read(xtn: &Repetition<'_>, usually: TelecomUse) -> Vec<Self> {
        let (use_code, equipment) = (upper(xtn, 2), upper(xtn, 3));
        let system = match equipment.as_str() {
            "FX" => TelecomSystem::Fax,
            "BP" => TelecomSystem::Pager,
            "MD" | "SAT" => TelecomSystem::Other,
            _ => TelecomSystem::Phone,
        };
        let used_for = match use_code.as_str() {
            _ if equipment == "CP" => TelecomUse::Mobile,
            "PRN" | "ORN" | "VHN" | "HOME" => TelecomUse::Home,
            "WPN" => TelecomUse::Work,
            "PRS" | "CELL" => TelecomUse::Mobile,
            _ => usually,
        };
        let email = [4, 1]
            .into_iter()
            .filter_map(|n| text(xtn, n))
            .find(|text| text.contains('@'));
        let networked = use_code == "NET" || matches!(equipment.as_str(), "INTERNET" | "X.400");
        let number_system = if networked && email.is_none() && number(xtn).is_none() {
            TelecomSystem::Other
        } else {
            system
        };
        let address = (number_system == TelecomSystem::Other).then(|| text(xtn, 4)).flatten();
        let email_use = if used_for == TelecomUse::Mobile {
            usually
        } else {
            used_for
        };
        let email = email.map(|value| Self {
            system: TelecomSystem::Email,
            used_for: email_use,
            value,
        });
        let number = number(xtn).or(address).map(|value| Self {
            system: number_system,
            used_for,
            value,
        });
        number.into_iter().chain(email).collect()
    }
}

/// The number as one text (XTN.1, before v2.7), in parts (XTN.5 to XTN.8), or unformatted (XTN.12, from v2.7).
fn number(xtn: &Repetition<'_>) -> Option<String> {
    let as_text = |n| text(xtn, n).filter(|text| !text.contains('@') && text.bytes().any(|b| b.is_ascii_digit()));
    let in_parts = || {
        let local = text(xtn, 7)?;
        let country = text(xtn, 5).map(|code| format!("+{} ", code.trim_start_matches('+')));
        let area = text(xtn, 6).map(|code| format!("{code} "));
        let extension = text(xtn, 8).map(|digits| format!(" x{digits}"));
        let around = |part: Option<String>| part.unwrap_or_default();
        Some(format!(
            "{}{}{local}{}",
            around(country),
            around(area),
            around(extension)
        ))
    };
    as_text(1).or_else(in_parts).or_else(|| as_text(12))
}

fn upper(repetition: &Repetition<'_>, n: usize) -> String {
    text(repetition, n).unwrap_or_default().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7::Message;

    fn read(xtn: &str) -> Vec<(TelecomSystem, TelecomUse, String)> {
        let bytes = format!("MSH|^~\\&|||||||ADT^A04|1|P|2.5\rPID|||7||||||||||{xtn}\r");
        let patient = Message::parse(bytes.as_bytes())
            .and_then(|message| message.patient())
            .unwrap();
        let telecoms = patient.home_telecoms.into_value().unwrap_or_default();
        telecoms
            .into_iter()
            .map(|telecom| (telecom.system, telecom.used_for, telecom.value))
            .collect()
    }

    #[test]
    fn a_number_is_found_wherever_a_version_puts_it() {
        use TelecomSystem::{Email, Fax, Other, Pager, Phone};
        use TelecomUse::{Home, Mobile, Work};
        let one = |system, used_for, value: &str| vec![(system, used_for, value.to_owned())];
        let expected = [
            ("(555)010-0142", one(Phone, Home, "(555)010-0142")),
            ("5550100142^PRN^CP", one(Phone, Mobile, "5550100142")),
            ("^WPN^PH^^1^555^0100142^12", one(Phone, Work, "+1 555 0100142 x12")),
            ("^PRN^PH^^^^^^^^^555-010-0142", one(Phone, Home, "555-010-0142")),
            ("5550100142^WPN^FX", one(Fax, Work, "5550100142")),
            ("5550100142^^BP", one(Pager, Home, "5550100142")),
            ("^NET^Internet^a@example.org", one(Email, Home, "a@example.org")),
            ("a@example.org^NET", one(Email, Home, "a@example.org")),
            ("^NET^X.400^c=us", one(Other, Home, "c=us")),
            ("^PRN^PH", Vec::new()),
            ("none", Vec::new()),
        ];
        for (xtn, telecoms) in expected {
            assert!(read(xtn) == telecoms, "{xtn}: {:?}", read(xtn));
        }
    }

    #[test]
    fn a_number_and_an_address_in_one_xtn_are_two() {
        let both = read("^^Internet^a@example.org^1^555^0100142");

        let values: Vec<&str> = both.iter().map(|(_, _, value)| value.as_str()).collect();
        assert_eq!(values, ["+1 555 0100142", "a@example.org"]);
    }
}
