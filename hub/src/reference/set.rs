//! The sets there are: what each is called, and under which names its file is looked for in the watched folder.

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Set {
    IcdTenCm,
    Cvx,
    PlaceOfService,
    Providers,
    Payers,
    Forms,
    Rooms,
    Schedules,
}

impl Set {
    /// In the order in which a folder is taken in: bookings name providers and rooms.
    pub const ALL: [Set; 8] = [
        Set::IcdTenCm,
        Set::Cvx,
        Set::PlaceOfService,
        Set::Providers,
        Set::Payers,
        Set::Forms,
        Set::Rooms,
        Set::Schedules,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Set::IcdTenCm => "icd-10-cm",
            Set::Cvx => "cvx",
            Set::PlaceOfService => "place-of-service",
            Set::Providers => "providers",
            Set::Payers => "payers",
            Set::Forms => "forms",
            Set::Rooms => "rooms",
            Set::Schedules => "schedules",
        }
    }

    pub fn parse(word: &str) -> Option<Set> {
        Set::ALL.into_iter().find(|set| set.word() == word)
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Set::IcdTenCm => "Diagnoses (ICD-10-CM)",
            Set::Cvx => "Vaccines (CVX)",
            Set::PlaceOfService => "Places of service",
            Set::Providers => "Providers",
            Set::Payers => "Payers",
            Set::Forms => "Forms",
            Set::Rooms => "Rooms",
            Set::Schedules => "Schedules",
        }
    }

    /// File names in the watched folder, the first that is there counts.
    pub(crate) fn file_names(self) -> &'static [&'static str] {
        match self {
            Set::IcdTenCm => &["icd-10-cm.txt", "icd-10-cm.txt.gz", "icd-10-cm.xml", "icd-10-cm.xml.gz"],
            Set::Cvx => &["cvx.json", "cvx.txt", "cvx.csv"],
            Set::PlaceOfService => &["place-of-service.json", "place-of-service.csv"],
            Set::Providers => &["providers.csv"],
            Set::Payers => &["payers.csv"],
            Set::Forms => &["forms.csv"],
            Set::Rooms => &["rooms.csv"],
            Set::Schedules => &["schedules.csv"],
        }
    }
}
