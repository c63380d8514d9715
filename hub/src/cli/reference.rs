//! `reference`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use clap::Subcommand;
use data_encoding::BASE64;

use crate::admin::{Command, ReferenceCommand, ReferenceReply, ReferenceStatus};
use crate::exit::{Exit, Failure};
use crate::reference::{File, Set};

const COLUMNS: &str = "\
Sets, and what their files are:
  icd-10-cm         the official tabular list (XML), order file or file of codes with texts; each also as .gz
  cvx               FHIR R4 CodeSystem (JSON), CDC's text with bars, or CSV: code, text, [status]
  place-of-service  FHIR R4 CodeSystem (JSON), or CSV: code, text, [status]
  providers         CSV: npi, name, [specialty], [ehr_id]; a provider without NPI has an ehr_id
  payers            CSV: payer_id, name, [phone]
  forms             CSV: name, title, version, file; the files lie beside the list (pdf, txt, png, jpg, docx, odt)
  rooms             CSV: site, name; site by name or id. Rooms are added, never taken away
  schedules         CSV: site, system, number, patient_system, patient_number, starts, [ends], [npi], [reason], [status];
                    the patient is found by the number alone, and must be known; times on the site's clock or with offset

The first line of a CSV file names the columns, in any order; UTF-8. Columns in brackets may be left out.
A file with a broken row is refused whole. Providers, payers and forms that a new file no longer names are ended, not deleted.";

#[derive(Subcommand)]
pub(super) enum ReferenceVerb {
    /// Load a file of reference data. The same content twice changes nothing.
    #[command(after_help = COLUMNS)]
    Load {
        /// Which set.
        #[arg(value_parser = Set::ALL.map(Set::word))]
        set: String,
        file: PathBuf,
        /// What this version is called; left out: what the file says, else the beginning of its digest.
        #[arg(long)]
        version: Option<String>,
    },
    /// List the sets with their versions, and what came of their last files.
    List,
    /// Show one set.
    Show {
        #[arg(value_parser = Set::ALL.map(Set::word))]
        set: String,
    },
}

impl ReferenceVerb {
    pub(super) fn command(self) -> Result<Command, Failure> {
        Ok(Command::Reference(match self {
            ReferenceVerb::Load { set, file, version } => load(set, file, version)?,
            ReferenceVerb::List => ReferenceCommand::List,
            ReferenceVerb::Show { set } => ReferenceCommand::Show { set },
        }))
    }
}

/// The file is read here, as the user who asks.
fn load(word: String, path: PathBuf, version: Option<String>) -> Result<ReferenceCommand, Failure> {
    let set = Set::parse(&word).ok_or_else(|| Failure::new(Exit::Usage, "there is no such set"))?;
    let file = File::open(set, &path).map_err(Failure::failed)?;
    let named = file
        .named
        .iter()
        .map(|(name, bytes)| (name.clone(), BASE64.encode(bytes)));
    Ok(ReferenceCommand::Load {
        set: word,
        content: BASE64.encode(&file.bytes),
        named: named.collect::<BTreeMap<_, _>>(),
        file: file.name,
        version,
    })
}

pub(super) fn text(reply: &ReferenceReply) -> String {
    match reply {
        ReferenceReply::Loaded {
            set,
            version,
            entries,
            written: 0,
            ..
        } => format!("{set} says what it said: version {version}, {entries} entries, nothing written"),
        ReferenceReply::Loaded {
            set,
            version,
            entries,
            ended,
            ..
        } => match ended {
            0 => format!("loaded {set}, version {version}: {entries} entries"),
            ended => format!("loaded {set}, version {version}: {entries} entries; {ended} ended"),
        },
        ReferenceReply::Sets { sets } if sets.is_empty() => {
            "no reference data is loaded: mainstay-hub reference load --help".to_owned()
        }
        ReferenceReply::Sets { sets } => sets.iter().map(line_of).collect::<Vec<_>>().join("\n"),
        ReferenceReply::Set { set } => line_of(set),
    }
}

pub(super) fn line_of(set: &ReferenceStatus) -> String {
    let mut line = set.set.clone();
    let _ = match (&set.version, &set.loaded) {
        (Some(version), Some(loaded)) => {
            let source = set.source.as_deref().unwrap_or("the EHR");
            write!(
                line,
                "  version {version}, {} entries, from {source}, loaded {loaded}",
                set.entries
            )
        }
        _ => write!(line, "  never loaded"),
    };
    if let Some(taken) = set.taken.as_ref().filter(|taken| Some(*taken) != set.loaded.as_ref()) {
        let _ = write!(line, ", found unchanged {taken}");
    }
    if let (Some(bytes), Some(content)) = (set.bytes, &set.content) {
        let _ = write!(line, "\n  {bytes} bytes, SHA-256 {content}");
    }
    if let Some(refused) = &set.refused {
        let _ = write!(line, "\n  refused {} at {}: {}", refused.file, refused.at, refused.why);
    }
    line
}
