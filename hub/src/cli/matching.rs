//! `match`.

use std::fmt::Write;

use clap::{Args, Subcommand};

use crate::admin::{Command, Compared, MatchCommand, MatchReply, Pair, Person};

#[derive(Subcommand)]
pub(super) enum MatchVerb {
    /// List the pairs of records of which a person is to say whether they are one person's, the most alike first.
    List {
        /// Leave out so many at the head.
        #[arg(long, default_value_t = 0, value_name = "PAIRS")]
        skip: usize,
        #[arg(long, default_value_t = 50, value_name = "PAIRS")]
        at_most: usize,
    },
    /// Show two records side by side, and how they were compared.
    Show(Two),
    /// They are one person's: from now on they are shown and delivered as one. Nothing is merged.
    Link(Two),
    /// Take a link away; both records are as they were, and the question is open again.
    Unlink(Two),
    /// They are two people: they are not proposed again.
    Distinct(Two),
}

#[derive(Args)]
pub(super) struct Two {
    /// A patient's id, as `match list` or `patient find` gave it.
    a: String,
    /// The other patient's id.
    b: String,
}

impl MatchVerb {
    pub(super) fn command(self) -> Command {
        Command::Match(match self {
            MatchVerb::List { skip, at_most } => MatchCommand::List { skip, at_most },
            MatchVerb::Show(Two { a, b }) => MatchCommand::Show { a, b },
            MatchVerb::Link(Two { a, b }) => MatchCommand::Link { a, b },
            MatchVerb::Unlink(Two { a, b }) => MatchCommand::Unlink { a, b },
            MatchVerb::Distinct(Two { a, b }) => MatchCommand::Distinct { a, b },
        })
    }
}

pub(super) fn text(reply: &MatchReply) -> String {
    match reply {
        MatchReply::List { pairs, .. } if pairs.is_empty() => "nothing waits".to_owned(),
        MatchReply::List { waiting, pairs } => {
            let lines: Vec<String> = pairs.iter().map(line_of).collect();
            format!("{waiting} wait\n{}", lines.join("\n"))
        }
        MatchReply::Shown(compared) => text_of(compared),
        MatchReply::Decided {
            a,
            b,
            standing,
            as_before,
        } => {
            let as_before = if *as_before { ", as before" } else { "" };
            format!("{a} and {b}: {standing}{as_before}")
        }
    }
}

fn line_of(pair: &Pair) -> String {
    let mut line = format!(
        "{} {}  {}  {} | {}",
        pair.a, pair.b, pair.score, pair.name_a, pair.name_b
    );
    if pair.contradicts {
        line.push_str("  (people said different things)");
    }
    line
}

fn text_of(compared: &Compared) -> String {
    let mut text = String::new();
    let mut row = |what: &str, of: fn(&Person) -> &str| {
        let _ = writeln!(text, "{what:<11}{:<40}{}", of(&compared.left), of(&compared.right));
    };
    row("patient", |person| &person.patient);
    row("name", |person| &person.name);
    row("born", |person| person.birth_date.as_deref().unwrap_or("-"));
    row("sex", |person| person.sex.as_deref().unwrap_or("-"));
    row("phone", |person| person.phone.as_deref().unwrap_or("-"));
    row("e-mail", |person| person.email.as_deref().unwrap_or("-"));
    row("address", |person| person.address.as_deref().unwrap_or("-"));
    for at in 0..compared.left.numbers.len().max(compared.right.numbers.len()) {
        let of = |person: &Person| person.numbers.get(at).cloned().unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<11}{:<40}{}",
            "number",
            of(&compared.left),
            of(&compared.right)
        );
    }
    let standing = compared.standing.as_deref().unwrap_or("nothing was said of them");
    let _ = write!(text, "standing   {standing}");
    if let Some(since) = &compared.since {
        let _ = write!(text, " since {since}");
    }
    if compared.contradicts {
        text.push_str(" (people said different things)");
    }
    for line in &compared.why {
        let _ = write!(text, "\n  {line}");
    }
    text
}
