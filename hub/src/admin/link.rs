//! Patient records that may be one person's: listing them, looking at two side by side, and saying what they are.

use std::sync::Arc;

use clinic::linking::{ends, standing};
use clinic::matching::bits;
use clinic::value::LinkStanding;
use clinic::{index::Facet, link, patient};
use serde::{Deserialize, Serialize};
use sync_protocol::hub::HubLedger;
use sync_protocol::{Phi, RecordId, RecordState};

use super::{Admin, By, iso};
use crate::db::Txn;
use crate::exit::{Exit, Failure};
use crate::matching::{Decided, Refusal, cluster_of, decide};

/// Pairs of one page of the list.
const PAGE_MAX: usize = 200;
/// Nobody pages further than this: the list is worked off from its head.
const SKIP_MAX: usize = 100_000;

#[derive(Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum MatchCommand {
    /// What waits for a person, the most alike first.
    List {
        skip: usize,
        at_most: usize,
    },
    Show {
        a: String,
        b: String,
    },
    Link {
        a: String,
        b: String,
    },
    /// Takes the link away and leaves the question open.
    Unlink {
        a: String,
        b: String,
    },
    /// Two people.
    Distinct {
        a: String,
        b: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum MatchReply {
    List {
        waiting: u64,
        pairs: Vec<Pair>,
    },
    Shown(Box<Compared>),
    Decided {
        a: String,
        b: String,
        standing: String,
        as_before: bool,
    },
}

/// Two records that wait for a person.
#[derive(Serialize, Deserialize)]
pub struct Pair {
    pub a: String,
    pub b: String,
    pub name_a: String,
    pub name_b: String,
    /// Bits of evidence, such as "+22.87".
    pub score: String,
    /// People have said different things of it.
    pub contradicts: bool,
}

/// Two records side by side.
#[derive(Serialize, Deserialize)]
pub struct Compared {
    pub left: Person,
    pub right: Person,
    /// "proposed", "linked", "distinct"; nothing was said of them otherwise.
    pub standing: Option<String>,
    pub since: Option<String>,
    pub contradicts: bool,
    pub score: Option<String>,
    /// How each comparison came out, one a line.
    pub why: Vec<String>,
}

/// A patient record as it is compared. It holds PHI, so it cannot be printed.
#[derive(Serialize, Deserialize)]
pub struct Person {
    pub patient: String,
    pub name: String,
    pub birth_date: Option<String>,
    pub sex: Option<String>,
    pub phone: Option<String>,
    pub email: Option<String>,
    pub address: Option<String>,
    pub numbers: Vec<String>,
    /// Other records that are linked with it.
    pub linked: Vec<String>,
}

impl MatchCommand {
    pub(super) fn changes(&self) -> bool {
        match self {
            MatchCommand::List { .. } | MatchCommand::Show { .. } => false,
            MatchCommand::Link { .. } | MatchCommand::Unlink { .. } | MatchCommand::Distinct { .. } => true,
        }
    }
}

impl Admin {
    pub(super) async fn about_matches(&self, by: By, command: MatchCommand) -> Result<MatchReply, Failure> {
        match command {
            MatchCommand::List { skip, at_most } => self.list_matches(skip, at_most).await,
            MatchCommand::Show { a, b } => self.show_match(&a, &b).await,
            MatchCommand::Link { a, b } => self.decide_match(by, &a, &b, LinkStanding::Linked).await,
            MatchCommand::Unlink { a, b } => self.decide_match(by, &a, &b, LinkStanding::Proposed).await,
            MatchCommand::Distinct { a, b } => self.decide_match(by, &a, &b, LinkStanding::Distinct).await,
        }
    }

    async fn list_matches(&self, skip: usize, at_most: usize) -> Result<MatchReply, Failure> {
        if at_most == 0 || at_most > PAGE_MAX || skip > SKIP_MAX {
            return Err(Failure::new(
                Exit::Usage,
                format!("a page has 1 to {PAGE_MAX} pairs, and begins after {SKIP_MAX} at most"),
            ));
        }
        self.db
            .read(move |txn| {
                let waiting = txn.count_with_facet(Facet::LINK_TO_REVIEW)?;
                let mut pairs = Vec::new();
                for state in txn
                    .with_facet(Facet::LINK_TO_REVIEW, skip + at_most)?
                    .into_iter()
                    .skip(skip)
                {
                    pairs.extend(pair(txn, &state)?);
                }
                Ok(MatchReply::List { waiting, pairs })
            })
            .await
    }

    async fn show_match(&self, a: &str, b: &str) -> Result<MatchReply, Failure> {
        let (a, b) = both(a, b)?;
        self.db
            .read(move |txn| {
                let (left, right) = (person(txn, a)?, person(txn, b)?);
                let link = txn.state(clinic::linking::link_id(a, b))?;
                let said = link.as_deref().map_or(clinic::Shown::Nothing, standing);
                let since = match &said {
                    clinic::Shown::One(one) => Some(iso(one.entered_ms.max(0).unsigned_abs())),
                    clinic::Shown::Nothing | clinic::Shown::Open { .. } => None,
                };
                let why = link.as_ref().and_then(|link| link::WHY.value(link));
                Ok(MatchReply::Shown(Box::new(Compared {
                    left,
                    right,
                    standing: said.standing().map(|standing| standing.word().to_owned()),
                    since,
                    contradicts: said.is_open(),
                    score: link.as_ref().and_then(|link| link::SCORE.value(link)).map(bits),
                    why: why
                        .map(|why| why.expose().lines().map(str::to_owned).collect())
                        .unwrap_or_default(),
                })))
            })
            .await
    }

    async fn decide_match(&self, by: By, a: &str, b: &str, to: LinkStanding) -> Result<MatchReply, Failure> {
        let (a, b) = both(a, b)?;
        let (matcher, actor) = (self.matcher.clone(), by.actor());
        let decided = self
            .db
            .write(move |txn| decide(&matcher, txn, (a, b), to, actor))
            .await
            .map_err(|refusal| match refusal {
                Refusal::Same | Refusal::NoSuchPatient(_) | Refusal::NotLinked | Refusal::TooMany => {
                    Failure::failed(refusal.to_string())
                }
                Refusal::Store(error) => Failure::from(error),
            })?;
        tracing::info!(%a, %b, standing = to.word(), "somebody said of two patient records what they are");
        Ok(MatchReply::Decided {
            a: a.to_string(),
            b: b.to_string(),
            standing: to.word().to_owned(),
            as_before: decided == Decided::AsBefore,
        })
    }
}

fn both(a: &str, b: &str) -> Result<(RecordId, RecordId), Failure> {
    let read = |text: &str| {
        RecordId::parse(text)
            .ok_or_else(|| Failure::new(Exit::Usage, "that is not a patient's id: see mainstay-hub match list"))
    };
    Ok((read(a)?, read(b)?))
}

fn listed(state: &RecordState) -> String {
    let name = patient::NAME.ask(state);
    name.standing().map(|name| name.expose().listed()).unwrap_or_default()
}

fn pair(txn: &mut Txn<'_>, link: &RecordState) -> Result<Option<Pair>, Failure> {
    let Some((a, b)) = ends(link) else { return Ok(None) };
    let name = |state: Option<Arc<RecordState>>| state.as_deref().map(listed).unwrap_or_default();
    Ok(Some(Pair {
        a: a.to_string(),
        b: b.to_string(),
        name_a: name(txn.state(a)?),
        name_b: name(txn.state(b)?),
        score: bits(link::SCORE.value(link).unwrap_or_default()),
        contradicts: standing(link).is_open(),
    }))
}

fn person(txn: &mut Txn<'_>, id: RecordId) -> Result<Person, Failure> {
    let state = txn
        .state(id)?
        .filter(|state| state.kind == patient::KIND)
        .ok_or_else(|| Failure::failed(format!("there is no patient {id}: see mainstay-hub patient find")))?;
    let mut linked = cluster_of(txn, id)?;
    linked.remove(&id);
    let address = patient::ADDRESS.value(&state).map(Phi::into_exposed);
    Ok(Person {
        patient: id.to_string(),
        name: listed(&state),
        birth_date: patient::BIRTH_DATE
            .ask(&state)
            .standing()
            .map(|date| date.expose().iso()),
        sex: patient::SEX.ask(&state).standing().map(|sex| sex.word().to_owned()),
        phone: patient::PHONE.value(&state).map(Phi::into_exposed),
        email: patient::EMAIL.value(&state).map(Phi::into_exposed),
        address: address.map(|address| {
            let parts = [address.line, address.city, address.state, address.postal_code];
            let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            parts.join(", ")
        }),
        numbers: patient::IDENTIFIER
            .standing(&state)
            .into_iter()
            .map(|said| said.value.into_exposed())
            .map(|number| format!("{} ({})", number.value, number.system))
            .collect(),
        linked: linked.into_iter().map(|record| record.to_string()).collect(),
    })
}
