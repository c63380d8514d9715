//! Every `*.hl7` under the folder that MAINSTAY_CORPUS_DIR names: none panics, and the messages Mainstay takes give a usable
//! patient. Without it there is nothing to read, and the test says so.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use formats::hl7::ack::{Envelope, Stamp, Verdict};
use formats::hl7::{Hl7Error, Message};

fn hl7_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            hl7_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "hl7") {
            found.push(path);
        }
    }
}

/// Reads every view; gives the first refusal.
fn read_all(message: &Message) -> Result<(), Hl7Error> {
    message.event()?;
    message.visit()?;
    message.allergies()?;
    message.coverages()?;
    if message.header().message_type.is("ORU", "R01") {
        message.results()?;
    } else {
        message.patient()?;
    }
    Ok(())
}

#[test]
fn real_messages_are_read_or_refused_by_name() {
    let Ok(folder) = std::env::var("MAINSTAY_CORPUS_DIR") else {
        println!("MAINSTAY_CORPUS_DIR is not set: no corpus read");
        return;
    };
    let mut files = Vec::new();
    hl7_files(Path::new(&folder), &mut files);
    files.sort();
    assert!(!files.is_empty(), "no *.hl7 under MAINSTAY_CORPUS_DIR");

    let (mut parsed, mut taken) = (0, 0);
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        let name = file.file_name().unwrap().display();
        let stamp = Stamp {
            time: "20260101000000+0000",
            control_id: "1",
        };
        let message = match Message::parse(&bytes) {
            Ok(message) => message,
            Err(refused) => {
                println!("{name}: {refused}");
                let envelope = Envelope::salvage(&bytes);
                for code in envelope.wanted(Verdict::Refused(&refused)) {
                    Message::parse(&envelope.acknowledgement(code, Verdict::Refused(&refused), stamp)).unwrap();
                }
                continue;
            }
        };
        parsed += 1;
        let kind = &message.header().message_type;
        *kinds.entry(kind.to_string()).or_default() += 1;
        if let Err(refused) = read_all(&message) {
            println!("{name} {kind}: {refused}");
        }
        for code in Envelope::from(message.header()).wanted(Verdict::Accepted) {
            let ack = Envelope::from(message.header()).acknowledgement(code, Verdict::Accepted, stamp);
            Message::parse(&ack).unwrap();
        }
        if ["A03", "A04", "A08"].iter().any(|event| kind.is("ADT", event)) {
            let patient = message.patient().unwrap();
            assert_eq!(patient.require_identity(), Ok(()), "{name}");
            message.visit().unwrap();
            taken += 1;
        }
        if kind.is("ORU", "R01") {
            for results in message.results().unwrap() {
                assert!(!results.patient.identifiers.is_empty(), "{name}");
                assert!(!results.reports.is_empty(), "{name}");
            }
            taken += 1;
        }
    }
    println!(
        "{} files, {parsed} parsed, {taken} of the kinds Mainstay takes; {kinds:?}",
        files.len()
    );
}
