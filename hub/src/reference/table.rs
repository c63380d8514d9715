//! A CSV file as rows of named cells. The first line names the columns, in any order; a byte order mark is nothing. It
//! refuses text that is no UTF-8, a column that nobody knows or that is there twice, a row with more or fewer cells, and
//! control characters.

use csv::ReaderBuilder;

use super::finding::Findings;
use super::{CELL_MAX_BYTES, ROWS_MAX};

pub(super) struct Row {
    pub(super) line: u64,
    cells: Vec<(&'static str, String)>,
}

impl Row {
    /// A cell without the blanks around it; empty where the column is not in the file.
    pub(super) fn cell(&self, column: &str) -> &str {
        let found = self.cells.iter().find(|(name, _)| *name == column);
        found.map_or("", |(_, text)| text)
    }

    /// A cell that must say something.
    pub(super) fn needed(&self, column: &str, findings: &mut Findings) -> String {
        if self.cell(column).is_empty() {
            findings.add(self.line, column, "is empty");
        }
        self.cell(column).to_owned()
    }

    pub(super) fn optional(&self, column: &str) -> Option<String> {
        Some(self.cell(column).to_owned()).filter(|text| !text.is_empty())
    }
}

/// The text of a file, without a byte order mark.
pub(super) fn text<'b>(bytes: &'b [u8], findings: &mut Findings) -> &'b str {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            findings.add(line, "", "is not UTF-8: save the file as UTF-8");
            ""
        }
    }
}

/// All rows. `needed` columns must be there, `optional` ones may.
pub(super) fn read(
    bytes: &[u8],
    needed: &[&'static str],
    optional: &[&'static str],
    findings: &mut Findings,
) -> Vec<Row> {
    let text = text(bytes, findings);
    if text.is_empty() && !bytes.is_empty() {
        return Vec::new();
    }
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let header: Vec<String> = match records.next() {
        Some(Ok(record)) => record.iter().map(|name| name.trim().to_lowercase()).collect(),
        Some(Err(_)) | None => Vec::new(),
    };
    let columns = named(&header, needed, optional, findings);
    let mut rows = Vec::new();
    for record in records {
        let Ok(record) = record else {
            findings.add(1, "", "the file cannot be read as CSV");
            break;
        };
        let line = record.position().map_or(1, csv::Position::line);
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if record.len() != header.len() {
            let reason = format!("has {} cells where the first line names {}", record.len(), header.len());
            findings.add(line, "", reason);
            continue;
        }
        if rows.len() == ROWS_MAX {
            findings.add(line, "", format!("is beyond the {ROWS_MAX} rows that a list may have"));
            break;
        }
        let mut cells = Vec::new();
        for (name, cell) in columns.iter().zip(&record) {
            let (Some(name), cell) = (name, cell.trim()) else {
                continue;
            };
            if cell.len() > CELL_MAX_BYTES {
                findings.add(line, name, format!("is longer than {CELL_MAX_BYTES} bytes"));
            }
            if cell.contains(char::is_control) {
                findings.add(line, name, "holds a line break or another control character");
            }
            cells.push((*name, cell.to_owned()));
        }
        rows.push(Row { line, cells });
    }
    if rows.is_empty() && findings.clone().none().is_ok() {
        // An empty list would end everything that stands; a file that was cut off looks like one.
        findings.add(1, "", "the file has no row");
    }
    rows
}

/// Which known column each place of the header is.
fn named(
    header: &[String],
    needed: &[&'static str],
    optional: &[&'static str],
    findings: &mut Findings,
) -> Vec<Option<&'static str>> {
    let known = || needed.iter().chain(optional).copied();
    let mut columns: Vec<Option<&'static str>> = Vec::new();
    for name in header {
        let column = known().find(|column| column == name);
        match column {
            None => {
                let all: Vec<_> = known().collect();
                let reason = format!(
                    "column {} has no known name: the columns are {}",
                    columns.len() + 1,
                    all.join(", ")
                );
                findings.add(1, "", reason);
            }
            Some(name) if columns.contains(&Some(name)) => findings.add(1, name, "is named twice"),
            Some(_) => {}
        }
        columns.push(column);
    }
    for name in needed.iter().filter(|name| !columns.contains(&Some(name))) {
        findings.add(1, name, "is not among the columns that the first line names");
    }
    columns
}
