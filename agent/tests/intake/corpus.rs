//! Every `*.hl7` under the folder that MAINSTAY_CORPUS_DIR names, sent one after another. Without it there is nothing to
//! send, and the tests say so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mainstay_agent::store::Outcome;

use super::*;

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("MAINSTAY_CORPUS_DIR").map(PathBuf::from);
    if folder.is_none() {
        println!("MAINSTAY_CORPUS_DIR is not set: no corpus was sent");
    }
    folder
}

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

#[tokio::test]
async fn every_message_of_the_corpus_is_taken_or_refused_by_name_in_time() {
    let Some(folder) = corpus() else { return };
    let mut files = Vec::new();
    hl7_files(&folder, &mut files);
    files.sort();
    assert!(!files.is_empty(), "no *.hl7 under MAINSTAY_CORPUS_DIR");
    let site = Site::open().await;
    let mut sender = site.connect().await;
    let mut counts: BTreeMap<(String, String), u32> = BTreeMap::new();
    let mut slowest = Duration::ZERO;

    for file in &files {
        let name = file.file_name().unwrap().display();
        let bytes = std::fs::read(file).unwrap();
        let began = Instant::now();
        let answer = sender.send(&bytes).await;
        slowest = slowest.max(began.elapsed());
        match Message::parse(&bytes) {
            Ok(message) => {
                let kind = &message.header().message_type;
                let ours = clinic::hl7::Taken::of(kind, clinic::hl7::Receiver::Site).is_ok();
                assert_eq!(answer.code, if ours { "AA" } else { "AR" }, "{name}: {answer:?}");
                // Before v2.5 the code stands in ERR-1, which `error` is not.
                let told = ours || String::from_utf8_lossy(&answer.bytes).contains("201");
                assert!(told, "{name}: {answer:?}");
                let class = if ours { kind.to_string() } else { "other".to_owned() };
                *counts.entry((class, answer.code)).or_default() += 1;
            }
            Err(refused) => {
                println!("{name}: {refused}");
                assert!(matches!(answer.code.as_str(), "AE" | "AR"), "{name}: {answer:?}");
                *counts.entry(("unreadable".to_owned(), answer.code)).or_default() += 1;
            }
        }
    }

    for message in site.messages(None).await {
        assert!(site.original(&message).await.is_some());
        if message.outcome == Outcome::Unmatched || message.outcome == Outcome::Error {
            println!(
                "{}^{}: {}",
                message.kind,
                message.trigger,
                message.error.unwrap_or_default()
            );
        }
    }
    for outcome in Outcome::ALL {
        println!("{outcome:?}: {}", site.messages(Some(outcome)).await.len());
    }
    println!("{} files, slowest answer {slowest:?}: {counts:#?}", files.len());
}

#[tokio::test]
async fn the_corpus_result_of_another_authority_waits_for_a_person() {
    let Some(folder) = corpus() else { return };
    let site = Site::open().await;
    let read = |name: &str| std::fs::read(folder.join("microsoft").join(name)).unwrap();
    let mut sender = site.connect().await;

    let registered = sender.send(&read("ADT-A04-01.hl7")).await;
    let result = sender.send(&read("LRI_2.0-NG_CBC_Typ_Message.hl7")).await;

    assert_eq!((registered.code.as_str(), result.code.as_str()), ("AA", "AA"));
    assert_eq!(site.unmatched().await.len(), 1);
}
