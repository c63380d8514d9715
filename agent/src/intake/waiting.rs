//! Results that wait for their patient, tried again when somebody comes to be shown who may be the one: let in again by the
//! hub, registered after the result, or joined with another record. By the same rule as when the message came.
//!
//! It refuses to look more than once a second, however many patients come at once.

use std::time::Duration;

use clinic::catalogue::{link, patient, result};
use clinic::hl7::wanted_numbers;
use clinic::index::{Facet, Wanted, identifier_term};
use clinic::keeping::{self, Found};
use clinic::matching::Identity;
use clinic::write::{Action, Channel, Writing};
use sync_protocol::RecordId;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::results::UNMATCHED_MAX;
use super::sources::Words;
use crate::access::ActError;
use crate::clock;
use crate::store::{Priority, ReadTx, Store, TxError, WriteTx};

const PAUSE: Duration = Duration::from_secs(1);

/// Runs until told to stop.
pub(super) async fn follow(store: Store, stop: CancellationToken) {
    let mut committed = store.committed();
    // What came down just before the last end may not have been looked at.
    let mut is_due = true;
    loop {
        if is_due {
            if let Err(error) = try_again(&store).await {
                tracing::error!(%error, "results that wait for their patient could not be tried again");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
        let news = tokio::select! {
            () = stop.cancelled() => return,
            news = committed.recv() => news,
        };
        is_due = match news {
            Ok(news) => news.kinds.contains(&patient::KIND) || news.kinds.contains(&link::KIND),
            Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => return,
        };
    }
}

async fn try_again(store: &Store) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let carried = store.read(carried).await?;
    if carried.is_empty() {
        return Ok(());
    }
    let matched = store.write(Priority::Desk, move |tx| {
        let mut matched = 0;
        for id in &carried {
            matched += usize::from(match_again(tx, *id)?);
        }
        Ok::<_, ActError>(matched)
    });
    match matched.await? {
        0 => {}
        results => tracing::info!(results, "results that waited have found their patient"),
    }
    Ok(())
}

/// The results that wait and whose number somebody here carries.
fn carried(tx: &ReadTx<'_>) -> Result<Vec<RecordId>, TxError> {
    let mut carried = Vec::new();
    for waiting in tx.with_facet(Facet::RESULT_UNMATCHED, UNMATCHED_MAX)? {
        for number in wanted_numbers(&Identity::of_result(&waiting.state).identifiers) {
            let term = Wanted::Exactly(identifier_term(&number.value));
            if !tx.search(&[vec![term]], patient::KIND, 1)?.is_empty() {
                carried.push(waiting.state.record);
                break;
            }
        }
    }
    Ok(carried)
}

fn match_again(tx: &mut WriteTx<'_>, id: RecordId) -> Result<bool, ActError> {
    // A person may have been quicker.
    let waits = tx
        .state(id)?
        .filter(|state| state.kind == result::KIND && result::PATIENT.value(state).is_none());
    let Some(waiting) = waits else { return Ok(false) };
    let said = Identity::of_result(&waiting);
    // What its sender had said before of somebody counts with its own messages alone.
    let mut words = Words { tx, source: "" };
    let found = keeping::find(&mut words, &said, &wanted_numbers(&said.identifiers))?;
    let Found::One(patient, _) = found else {
        return Ok(false);
    };
    let draft = Writing::new(
        result::KIND,
        id,
        Action::MatchResult,
        Channel::Hl7.program(),
        clock::now_ms(),
    )
    .set(result::PATIENT, &patient.record)
    .done();
    Ok(tx.author(&draft)?.is_some())
}
