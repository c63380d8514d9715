//! What is measured, as a table for people or one JSON object for programs.

use serde_json::{Map, Value, json};

#[derive(clap::Args)]
pub(crate) struct Form {
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) struct Report {
    title: String,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    figure: f64,
    unit: &'static str,
    /// What was aimed at, and whatever else is to be said.
    note: String,
}

impl Report {
    pub(crate) fn new(title: impl Into<String>) -> Report {
        Report {
            title: title.into(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, figure: f64, unit: &'static str) {
        self.add_noted(name, figure, unit, String::new());
    }

    pub(crate) fn add_noted(
        &mut self,
        name: impl Into<String>,
        figure: f64,
        unit: &'static str,
        note: impl Into<String>,
    ) {
        self.rows.push(Row {
            name: name.into(),
            figure,
            unit,
            note: note.into(),
        });
    }

    pub(crate) fn print(&self, form: &Form) {
        if form.json {
            println!("{}", self.to_json());
            return;
        }
        println!("== {}", self.title);
        let widest = self.rows.iter().map(|row| row.name.chars().count()).max();
        let widest = widest.unwrap_or_default();
        for row in &self.rows {
            let line = format!(
                "{:<widest$}  {:>12} {:<14} {}",
                row.name,
                shown(row.figure),
                row.unit,
                row.note
            );
            println!("{}", line.trim_end());
        }
    }

    fn to_json(&self) -> Value {
        let mut figures = Map::new();
        for row in &self.rows {
            let mut told = json!({ "figure": row.figure, "unit": row.unit });
            if !row.note.is_empty() {
                told["note"] = row.note.clone().into();
            }
            figures.insert(row.name.clone(), told);
        }
        json!({ "title": self.title, "figures": figures })
    }
}

fn shown(figure: f64) -> String {
    match figure.abs() {
        small if small < 10.0 => format!("{figure:.2}"),
        middling if middling < 1_000.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_for_programs_names_figure_and_unit() {
        let mut report = Report::new("weights");
        report.add_noted("one edit", 84.5, "bytes", "aim 120");

        let told = report.to_json();

        assert_eq!(
            told["figures"]["one edit"],
            json!({ "figure": 84.5, "unit": "bytes", "note": "aim 120" })
        );
    }
}
