//! ICD-10-CM as it is published: the order file (fixed columns), the file of codes with their texts, and the tabular list
//! (XML), each also packed by gzip. Codes of the tabular list that take a seventh character are written out with it, an
//! X in each empty place before it, as the list's own conventions say.
//!
//! It refuses the bare list of codes, which has no texts to search.

use std::io::Read;

use clinic::code_set::CodeStanding;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::code_list::CodeList;
use super::finding::Findings;
use super::{FILE_MAX_BYTES, table};

/// Elements inside each other; the list has about ten.
const DEPTH_MAX: usize = 40;

pub(super) fn read(bytes: &[u8], version: &mut Option<String>, findings: &mut Findings) -> CodeList {
    let unpacked;
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        unpacked = unpack(bytes, findings);
        &unpacked
    } else {
        bytes
    };
    let text = table::text(bytes, findings);
    let list = match text.trim_start().starts_with('<') {
        true => tabular(text, version, findings),
        false => lines(text, findings),
    };
    if list.is_empty() && findings.clone().none().is_ok() {
        findings.add(1, "", "the file has no code of ICD-10-CM");
    }
    list
}

fn unpack(bytes: &[u8], findings: &mut Findings) -> Vec<u8> {
    let mut unpacked = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(bytes)
        .take(FILE_MAX_BYTES as u64 + 1)
        .read_to_end(&mut unpacked);
    if read.is_err() {
        findings.add(1, "", "the packed file is damaged or cut off: fetch it again");
        return Vec::new();
    }
    if unpacked.len() > FILE_MAX_BYTES {
        findings.add(1, "", format!("the file unfolds to more than {FILE_MAX_BYTES} bytes"));
        return Vec::new();
    }
    unpacked
}

/// `J029` as `J02.9`; nothing for what is no code.
fn dotted(bare: &str) -> Option<String> {
    let bytes = bare.as_bytes();
    let sound = (3..=7).contains(&bytes.len())
        && bytes[0].is_ascii_uppercase()
        && bytes.iter().any(u8::is_ascii_digit)
        && bytes[1..].iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if !sound {
        return None;
    }
    let (category, rest) = bare.split_at(3);
    Some(match rest {
        "" => category.to_owned(),
        rest => format!("{category}.{rest}"),
    })
}

/// The order file has `order code flag short long` in fixed columns; the other `code text`, all of them billable.
fn lines(text: &str, findings: &mut Findings) -> CodeList {
    let mut list = CodeList::default();
    for (number, line) in (1u64..).zip(text.lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let (code, flag, text) = match order_line(line) {
            Some(parts) => parts,
            None => {
                let (code, text) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
                (code, "1", text)
            }
        };
        let Some(code) = dotted(code) else {
            findings.add(
                number,
                "code",
                "is no code of ICD-10-CM: three to seven letters and digits without a dot",
            );
            continue;
        };
        if text.trim().is_empty() {
            let reason = "is not there: this is the bare list of codes; load the tabular list (XML) or the order file";
            findings.add(number, "text", reason);
            continue;
        }
        let standing = match flag {
            "1" => CodeStanding::Usable,
            "0" => CodeStanding::Heading,
            _ => {
                findings.add(number, "flag", "is neither 0 nor 1");
                continue;
            }
        };
        list.add(number, &code, standing, text, findings);
    }
    list
}

/// Places 1-5 the order, 7-13 the code, 15 the flag, 17-76 the short text, from 78 the long one.
fn order_line(line: &str) -> Option<(&str, &str, &str)> {
    let order = line.get(..6)?;
    if !order.ends_with(' ') || !order.get(..5)?.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let long = line.get(77..).filter(|text| !text.trim().is_empty());
    let short = line.get(16..).unwrap_or_default();
    let short = short.get(..60).unwrap_or(short);
    Some((line.get(6..14)?.trim_end(), line.get(14..15)?, long.unwrap_or(short)))
}

/// One `diag` element that is open.
#[derive(Default)]
struct Diag {
    line: u64,
    name: String,
    text: String,
    /// Seventh characters for all codes below: its own, or those of the nearest one above that has any.
    sevenths: Vec<(String, String)>,
    own_sevenths: bool,
    has_parts: bool,
}

fn tabular(text: &str, version: &mut Option<String>, findings: &mut Findings) -> CodeList {
    let mut list = CodeList::default();
    let mut reader = Reader::from_str(text);
    let mut lines = LineCount { text, at: 0, line: 1 };
    let (mut path, mut open): (Vec<String>, Vec<Diag>) = (Vec::new(), Vec::new());
    loop {
        let line = lines.up_to(reader.buffer_position() as usize);
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
                if path.len() >= DEPTH_MAX {
                    findings.add(line, "", "elements lie too deep inside each other");
                    return list;
                }
                begin(&name, &start, line, &mut open);
                path.push(name);
            }
            Ok(Event::End(_)) => {
                if path.pop().as_deref() == Some("diag")
                    && let Some(diag) = open.pop()
                {
                    end(diag, &mut list, findings);
                }
            }
            Ok(Event::Text(words)) => match words.unescape() {
                Ok(words) => said(&path, &words, &mut open, version),
                Err(_) => findings.add(line, "", "holds a character reference that cannot be read"),
            },
            Ok(Event::Eof) if path.is_empty() => return list,
            Ok(Event::Eof) => {
                findings.add(line, "", "the file ends inside an element: it was cut off");
                return list;
            }
            Ok(_) => {}
            Err(_) => {
                findings.add(line, "", "is no well-formed XML");
                return list;
            }
        }
    }
}

fn begin(name: &str, start: &BytesStart<'_>, line: u64, open: &mut Vec<Diag>) {
    match name {
        "diag" => {
            let sevenths = open.last().map(|above| above.sevenths.clone()).unwrap_or_default();
            if let Some(above) = open.last_mut() {
                above.has_parts = true;
            }
            open.push(Diag {
                line,
                sevenths,
                ..Diag::default()
            });
        }
        "extension" => {
            let Ok(Some(character)) = start.try_get_attribute("char") else {
                return;
            };
            let character = String::from_utf8_lossy(&character.value).into_owned();
            if let Some(diag) = open.last_mut() {
                if !std::mem::replace(&mut diag.own_sevenths, true) {
                    diag.sevenths.clear();
                }
                diag.sevenths.push((character, String::new()));
            }
        }
        _ => {}
    }
}

fn said(path: &[String], words: &str, open: &mut [Diag], version: &mut Option<String>) {
    let element = |nth: usize| {
        path.len()
            .checked_sub(nth)
            .and_then(|at| path.get(at))
            .map(String::as_str)
    };
    match (element(2), element(1), open.last_mut()) {
        (Some("diag"), Some("name"), Some(diag)) => diag.name.push_str(words.trim()),
        (Some("diag"), Some("desc"), Some(diag)) => diag.text.push_str(words),
        (_, Some("extension"), Some(diag)) => {
            if let Some((_, text)) = diag.sevenths.last_mut() {
                text.push_str(words.trim());
            }
        }
        (Some("ICD10CM.tabular"), Some("version"), None) => *version = Some(words.trim().to_owned()),
        _ => {}
    }
}

fn end(diag: Diag, list: &mut CodeList, findings: &mut Findings) {
    let bare: String = diag.name.chars().filter(|c| *c != '.').collect();
    let Some(code) = dotted(&bare) else {
        findings.add(diag.line, "name", "is no code of ICD-10-CM");
        return;
    };
    let text = diag.text.trim();
    let spread = !diag.has_parts && !diag.sevenths.is_empty() && bare.len() < 7;
    let standing = match diag.has_parts || spread {
        true => CodeStanding::Heading,
        false => CodeStanding::Usable,
    };
    list.add(diag.line, &code, standing, text, findings);
    if !spread {
        return;
    }
    for (character, words) in &diag.sevenths {
        let Some(code) = dotted(&format!("{bare:X<6}{character}")) else {
            findings.add(diag.line, "extension", "is no seventh character");
            return;
        };
        // A code that the list also spells out itself keeps its own words.
        if list.standing_of(&code).is_none() {
            list.add(
                diag.line,
                &code,
                CodeStanding::Usable,
                &format!("{text}, {words}"),
                findings,
            );
        }
    }
}

/// Which line a place of the text is on, counted as the places come.
struct LineCount<'t> {
    text: &'t str,
    at: usize,
    line: u64,
}

impl LineCount<'_> {
    fn up_to(&mut self, place: usize) -> u64 {
        let passed = self.text.as_bytes().get(self.at..place).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.at = place.max(self.at);
        self.line
    }
}
