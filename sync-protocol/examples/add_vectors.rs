//! Adds test vectors to a file of `vectors/`: reads cases with a name and an input, asks the engine what comes out, and
//! appends them. It never changes or removes a case that is there: what the engine once said is what others rely on.
//!
//!     cargo run -p sync-protocol --example add_vectors -- vectors/merge.json < cases.json
//!
//! `cases.json` is a list of `{"name": …, "in": …}`; a file that does not exist yet needs `{"about": …, "kind": …, "cases":
//! […]}` instead. What comes out is to be read before it is committed: the engine is not right because it says so.

#![expect(clippy::unwrap_used, reason = "the frozen copy is shared with the tests")]

#[path = "../tests/first/mod.rs"]
mod first;
#[path = "../tests/test_vectors/kinds/mod.rs"]
mod kinds;

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use kinds::{Case, File, outcome};

fn main() -> Result<()> {
    let path = PathBuf::from(std::env::args_os().nth(1).context("which file? name one of vectors/")?);
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let (mut file, new) = if path.exists() {
        let file: File = serde_json::from_slice(&fs::read(&path)?).context("the file cannot be read")?;
        let new: Vec<Case> = serde_json::from_str(&text).context("standard input is not a list of cases")?;
        (file, new)
    } else {
        let whole: File = serde_json::from_str(&text).context("a new file needs about, kind and cases")?;
        let empty = File {
            cases: Vec::new(),
            ..whole
        };
        (empty, whole.cases)
    };

    let added = new.len();
    for mut case in new {
        if file.cases.iter().any(|known| known.name == case.name) {
            bail!(
                "there is a case called {:?} already; a case is never changed, add one under another name",
                case.name
            );
        }
        ensure!(
            case.expected.is_null(),
            "{:?} says what comes out; only the engine does",
            case.name
        );
        case.expected = outcome(&file.kind, &case.given).with_context(|| case.name.clone())?;
        file.cases.push(case);
    }
    let mut json = serde_json::to_string_pretty(&file)?;
    json.push('\n');
    fs::write(&path, json)?;
    writeln!(
        std::io::stdout(),
        "{added} added to {}, which holds {}",
        path.display(),
        file.cases.len()
    )?;
    Ok(())
}
