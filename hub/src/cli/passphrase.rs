//! Reading a passphrase: from a file, from standard input, or from the terminal without showing it. Never from the
//! command line, which every user of the machine can see.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};

const LINE_MAX_BYTES: u64 = 4096;

pub(super) fn read(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    match file {
        Some(path) if path == Path::new("-") => first_line("standard input", std::io::stdin().lock()),
        Some(path) => {
            let name = path.display().to_string();
            let opened = std::fs::File::open(path)
                .map_err(|error| Failure::new(Exit::Usage, format!("the passphrase file {name}: {error}")))?;
            first_line(&name, opened)
        }
        None if std::io::stdin().is_terminal() => ask(),
        None => Err(Failure::new(
            Exit::Usage,
            "there is no terminal to ask for the passphrase on: give --passphrase-file FILE, or - for standard input",
        )),
    }
}

fn first_line(name: &str, source: impl Read) -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::new());
    BufReader::new(source.take(LINE_MAX_BYTES))
        .read_line(&mut line)
        .map_err(|error| Failure::new(Exit::Usage, format!("the passphrase from {name}: {error}")))?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn ask() -> Result<Zeroizing<String>, Failure> {
    let first = ask_once("Passphrase: ")?;
    let second = ask_once("Again: ")?;
    if first != second {
        return Err(Failure::new(Exit::Usage, "the two passphrases differ: try again"));
    }
    Ok(first)
}

fn ask_once(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("the terminal: {error}"));
    let mut out = std::io::stderr();
    write!(out, "{prompt}").and_then(|()| out.flush()).map_err(failed)?;
    let silent = Silent::begin().map_err(|error| failed(error.into()))?;
    let line = first_line("the terminal", std::io::stdin().lock());
    drop(silent);
    writeln!(out).map_err(failed)?;
    line
}

/// The terminal shows nothing of what is typed until this is dropped.
struct Silent(Termios);

impl Silent {
    fn begin() -> rustix::io::Result<Silent> {
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Silent(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}
