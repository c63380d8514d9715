//! Runs the test vectors of `vectors/` against the engine. The same files can be run against any other implementation.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../first/mod.rs"]
mod first;
mod kinds;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kinds::File;

fn files() -> Vec<(PathBuf, File)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                let file = serde_json::from_slice(&fs::read(&path).unwrap());
                found.push((
                    path.clone(),
                    file.unwrap_or_else(|error| panic!("{}: {error}", path.display())),
                ));
            }
        }
    }
    found.sort_by(|(one, _), (two, _)| one.cmp(two));
    found
}

#[test]
fn the_engine_makes_of_every_test_vector_what_its_file_says() {
    let mut wrong = Vec::new();
    let mut run = 0;
    for (path, file) in files() {
        for case in &file.cases {
            run += 1;
            let place = format!("{}: {}", path.file_name().unwrap().display(), case.name);
            match kinds::outcome(&file.kind, &case.given) {
                Err(error) => wrong.push(format!("{place}: {error:#}")),
                Ok(outcome) if outcome != case.expected => {
                    wrong.push(format!(
                        "{place}: the engine says {outcome}, the file {}",
                        case.expected
                    ));
                }
                Ok(_) => {}
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {run} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(run >= 100, "only {run} test vectors were found");
}

#[test]
fn no_two_test_vectors_of_a_file_have_the_same_name() {
    for (path, file) in files() {
        let names: BTreeSet<&str> = file.cases.iter().map(|case| case.name.as_str()).collect();

        assert_eq!(names.len(), file.cases.len(), "{}", path.display());
    }
}

/// Written from SPEC.md, in another language, with nothing of the engine's.
#[test]
fn a_second_implementation_says_the_same_as_the_files() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/check.py");

    let run = Command::new("python3").arg(script).output().unwrap();

    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.contains(" 0 differ"), "{said}");
}
