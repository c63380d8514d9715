//! Lists that become records: providers, payers, forms, rooms. Each says its columns once; `--help` says the same.

use std::collections::BTreeMap;

use super::finding::Findings;
use super::{FORM_MAX_BYTES, FORMS_MAX, File, table};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Provider {
    pub(crate) npi: Option<String>,
    pub(crate) name: String,
    pub(crate) specialty: Option<String>,
    pub(crate) ehr_id: Option<String>,
}

impl Provider {
    /// By what a provider is the same in the next file.
    pub(crate) fn key(&self) -> String {
        match (&self.npi, &self.ehr_id) {
            (Some(npi), _) => npi.clone(),
            (None, id) => format!("EHR {}", id.as_deref().unwrap_or_default()),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Payer {
    pub(crate) payer_id: String,
    pub(crate) name: String,
    pub(crate) phone: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Form {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) version: String,
    pub(crate) media: &'static str,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    pub(crate) line: u64,
    /// Its name or id.
    pub(crate) site: String,
    pub(crate) name: String,
}

pub(super) fn providers(bytes: &[u8], findings: &mut Findings) -> Vec<Provider> {
    let rows = table::read(bytes, &["npi", "name"], &["specialty", "ehr_id"], findings);
    let (mut npis, mut ids) = (BTreeMap::new(), BTreeMap::new());
    let mut all = Vec::new();
    for row in &rows {
        let provider = Provider {
            npi: row.optional("npi"),
            name: row.needed("name", findings),
            specialty: row.optional("specialty"),
            ehr_id: row.optional("ehr_id"),
        };
        match &provider.npi {
            Some(npi) if !is_npi(npi) => {
                findings.add(row.line, "npi", "is not ten digits with a right check digit");
            }
            None if provider.ehr_id.is_none() => {
                findings.add(
                    row.line,
                    "npi",
                    "is empty, and so is ehr_id: one of them names the provider",
                );
            }
            Some(_) | None => {}
        }
        findings.unique(&mut npis, provider.npi.clone().unwrap_or_default(), row.line, "npi");
        findings.unique(
            &mut ids,
            provider.ehr_id.clone().unwrap_or_default(),
            row.line,
            "ehr_id",
        );
        all.push(provider);
    }
    all
}

/// A National Provider Identifier: ten digits, the first 1 or 2, of which the last makes the Luhn sum right once 80840,
/// the prefix of health applications in the United States, stands before them (45 CFR 162.406, CMS).
pub(crate) fn is_npi(text: &str) -> bool {
    if text.len() != 10 || !text.starts_with(['1', '2']) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let digits = format!("80840{text}");
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0');
            match place % 2 {
                0 => digit,
                _ => digit * 2 / 10 + digit * 2 % 10,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

pub(super) fn payers(bytes: &[u8], findings: &mut Findings) -> Vec<Payer> {
    let rows = table::read(bytes, &["payer_id", "name"], &["phone"], findings);
    let mut seen = BTreeMap::new();
    let mut all = Vec::new();
    for row in &rows {
        let payer = Payer {
            payer_id: row.needed("payer_id", findings),
            name: row.needed("name", findings),
            phone: row.optional("phone"),
        };
        findings.unique(&mut seen, payer.payer_id.clone(), row.line, "payer_id");
        all.push(payer);
    }
    all
}

/// What a form may be, by the end of its file's name. A page that a browser would run is none of them.
const MEDIA: [(&str, &str); 7] = [
    ("pdf", "application/pdf"),
    ("txt", "text/plain"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    (
        "docx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ),
    ("odt", "application/vnd.oasis.opendocument.text"),
];

const FORM_COLUMNS: [&str; 4] = ["name", "title", "version", "file"];

/// The files that a list of forms names. Only names without a folder: a list cannot reach for other files.
pub(super) fn files_named(bytes: &[u8]) -> Vec<String> {
    let rows = table::read(bytes, &FORM_COLUMNS, &[], &mut Findings::default());
    let names = rows.iter().map(|row| row.cell("file"));
    names.filter(|name| is_bare(name)).map(str::to_owned).collect()
}

fn is_bare(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\', ':']) && !name.starts_with('.')
}

pub(super) fn forms(file: &File, findings: &mut Findings) -> Vec<Form> {
    let rows = table::read(&file.bytes, &FORM_COLUMNS, &[], findings);
    let mut seen = BTreeMap::new();
    let mut all = Vec::new();
    for row in &rows {
        if all.len() == FORMS_MAX {
            findings.add(
                row.line,
                "",
                format!("is beyond the {FORMS_MAX} forms that a list may have"),
            );
            break;
        }
        let named = row.needed("file", findings);
        let ending = named.rsplit_once('.').map(|(_, ending)| ending.to_lowercase());
        let media = MEDIA.iter().find(|(known, _)| Some(*known) == ending.as_deref());
        let bytes = file.named.get(&named);
        if !named.is_empty() && !is_bare(&named) {
            findings.add(row.line, "file", "must be the bare name of a file beside the list");
        } else if media.is_none() {
            let known: Vec<_> = MEDIA.iter().map(|(ending, _)| *ending).collect();
            findings.add(row.line, "file", format!("must end in one of {}", known.join(", ")));
        } else if bytes.is_none() {
            let reason = format!("is not beside the list, cannot be read, or is larger than {FORM_MAX_BYTES} bytes");
            findings.add(row.line, "file", reason);
        }
        let form = Form {
            name: row.needed("name", findings),
            title: row.needed("title", findings),
            version: row.needed("version", findings),
            media: media.map_or("", |(_, media)| media),
            bytes: bytes.cloned().unwrap_or_default(),
        };
        findings.unique(&mut seen, form.name.clone(), row.line, "name");
        all.push(form);
    }
    all
}

pub(super) fn rooms(bytes: &[u8], findings: &mut Findings) -> Vec<Room> {
    let rows = table::read(bytes, &["site", "name"], &[], findings);
    let mut seen = BTreeMap::new();
    let mut all = Vec::new();
    for row in &rows {
        let room = Room {
            line: row.line,
            site: row.needed("site", findings),
            name: row.needed("name", findings),
        };
        let key = format!("{}\n{}", room.site.to_lowercase(), room.name.to_lowercase());
        findings.unique(&mut seen, key, row.line, "name");
        all.push(room);
    }
    all
}
