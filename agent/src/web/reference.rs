//! Reference data on the page: how each set stands, a search over codes and lists, and forms to fetch. What is searched
//! for travels in the body of the form.

use axum::extract::{Path, Query};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clinic::catalogue::{EHR_SOURCE, form, payer, provider, room};
use clinic::code_set::{CodeEntry, CodeStanding};
use clinic::policies::ReferencePolicy;
use serde::Deserialize;
use sync_protocol::{Hash, KindId, RecordId, RecordState};

use super::desk::Desk;
use super::frame::shell;
use super::reading::Reading;
use super::refusal::{Built, Refusal};
use super::sent::Sent;
use super::views::{
    ReferenceFound, ReferenceRow, ReferenceSet, ReferenceSets, ReferenceState, ReferenceView, SearchPlace, Tab,
};
use crate::clock::span;
use crate::policies;
use crate::reference::{SetStanding, SetState, standing};
use crate::store::{ContentStanding, TxError};

/// Codes shown of one search; more ask for a better question.
const CODES_SHOWN: u32 = 50;
/// Entries shown of a list.
const LISTED_MAX: usize = 300;
/// Records of a kind that a list is made of.
const RECORDS_MAX: u32 = 20_000;
const HOUR_MS: i64 = 60 * 60 * 1000;

/// The lists that are searched beside the code sets.
const LISTS: [(&str, &str); 4] = [
    ("providers", "Providers"),
    ("payers", "Payers"),
    ("rooms", "Rooms"),
    ("forms", "Forms"),
];

#[derive(Deserialize)]
pub(super) struct ReferenceQuery {
    fragment: Option<String>,
}

pub(super) async fn show(desk: Desk, Query(asked): Query<ReferenceQuery>) -> Response {
    let built = match asked.fragment {
        Some(_) => desk.page(StatusCode::OK, |reading| Ok(sets(reading)?)).await,
        None => {
            desk.page(StatusCode::OK, |reading| Ok(view(reading, String::new(), "")?))
                .await
        }
    };
    desk.answer(built).await
}

pub(super) async fn search(mut sent: Sent) -> Response {
    // The answer stands under an address of its own; going back from it leads to the page without words.
    sent.desk.back = "/reference".to_owned();
    let (query, place) = (sent.fields.text("q"), sent.fields.text("place"));
    let built = sent
        .desk
        .page(StatusCode::OK, move |reading| Ok(view(reading, query, &place)?));
    let built = built.await;
    sent.desk.answer(built).await
}

fn view(reading: &Reading<'_, '_>, query: String, place: &str) -> Result<ReferenceView, TxError> {
    let all = standing(reading.tx)?;
    let codes = all.iter().filter(|set| set.is_code_set);
    let places = codes.map(|set| (set.set.clone(), set.title.clone()));
    let places = places.chain(LISTS.map(|(code, label)| (code.to_owned(), label.to_owned())));
    let places: Vec<SearchPlace> = places
        .map(|(code, label)| SearchPlace {
            current: code == place,
            code,
            label,
        })
        .collect();
    let is_list = LISTS.iter().any(|(code, _)| *code == place);
    let found = match places.iter().any(|one| one.current) {
        true if is_list => Some(listed(reading, place, &query)?),
        true if !query.is_empty() => Some(coded(reading.tx.search_codes(place, &query, CODES_SHOWN + 1)?)),
        true | false => None,
    };
    Ok(ReferenceView {
        shell: shell(reading, Some(Tab::Connection))?,
        sets: sets_of(reading, all)?,
        query,
        places,
        found,
    })
}

fn sets(reading: &Reading<'_, '_>) -> Result<ReferenceSets, TxError> {
    sets_of(reading, standing(reading.tx)?)
}

fn sets_of(reading: &Reading<'_, '_>, all: Vec<SetStanding>) -> Result<ReferenceSets, TxError> {
    let policy = policies::reference(reading.tx, &reading.asked.web.app.enrolment)?;
    let set = |set: SetStanding| {
        let since = |ms: i64| reading.clock.now_ms.saturating_sub(ms).max(0);
        let loaded = format!(
            "loaded {} ago, as of {}",
            span(since(set.loaded_ms)),
            reading.clock.at(set.loaded_ms)
        );
        let checked =
            (set.checked_ms > set.loaded_ms).then(|| format!("; found unchanged {} ago", span(since(set.checked_ms))));
        ReferenceSet {
            age: loaded + &checked.unwrap_or_default(),
            stale: is_stale(&set, &policy, reading.clock.now_ms),
            state: state_of(reading, &set),
            entries: format!("{} entries", set.entries),
            title: set.title,
            version: set.version,
            source: set.source,
        }
    };
    Ok(ReferenceSets {
        as_of: format!("as of {}", reading.clock.to_the_second(reading.clock.now_ms)),
        sets: all.into_iter().map(set).collect(),
    })
}

/// What the EHR lists and what is booked change by the day; other lists and codes stand until there is a new one.
fn is_stale(set: &SetStanding, policy: &ReferencePolicy, now_ms: i64) -> bool {
    let after_ms = match set.source == EHR_SOURCE || set.set == "schedules" {
        true => policy.stale_after_hours.saturating_mul(HOUR_MS),
        false => policy.code_set_stale_after_days.saturating_mul(24 * HOUR_MS),
    };
    now_ms.saturating_sub(set.checked_ms) > after_ms
}

fn state_of(reading: &Reading<'_, '_>, set: &SetStanding) -> ReferenceState {
    let meanwhile = match &set.searched {
        Some(version) => format!("version {version} is searched meanwhile"),
        None => "nothing is searched until it is here".to_owned(),
    };
    match set.state {
        SetState::Current => ReferenceState::Current,
        SetState::Fetching { percent } => ReferenceState::Coming {
            what: format!("Being fetched, {percent} %"),
            meanwhile,
        },
        SetState::Building { percent } => ReferenceState::Coming {
            what: format!("Being made ready, {percent} %"),
            meanwhile,
        },
        SetState::Refused { at_ms } => ReferenceState::Refused {
            at: reading.clock.at(at_ms),
            meanwhile,
        },
    }
}

fn summary(shown: usize, more: bool) -> String {
    match (shown, more) {
        (0, _) => "Nothing found".to_owned(),
        (shown, false) => format!("{shown} found"),
        (shown, true) => format!("The first {shown}; more were found: type more to narrow it"),
    }
}

fn coded(mut entries: Vec<CodeEntry>) -> ReferenceFound {
    let more = entries.len() > CODES_SHOWN as usize;
    entries.truncate(CODES_SHOWN as usize);
    let row = |entry: CodeEntry| ReferenceRow {
        key: entry.code,
        text: entry.text,
        remark: String::new(),
        href: None,
        mark: match entry.standing {
            CodeStanding::Usable => String::new(),
            CodeStanding::Heading => "heading, not to be used itself".to_owned(),
            CodeStanding::Retired => "retired".to_owned(),
        },
    };
    ReferenceFound {
        summary: summary(entries.len(), more),
        columns: ["Code", "Text", ""],
        rows: entries.into_iter().map(row).collect(),
    }
}

fn listed(reading: &Reading<'_, '_>, list: &str, query: &str) -> Result<ReferenceFound, TxError> {
    let (kind, columns): (KindId, [&'static str; 3]) = match list {
        "providers" => (provider::KIND, ["NPI", "Name", "Specialty"]),
        "payers" => (payer::KIND, ["Payer id", "Name", "Phone"]),
        "rooms" => (room::KIND, ["Room", "", ""]),
        _ => (form::KIND, ["Form", "Title", "Version"]),
    };
    let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
    let mut rows = Vec::new();
    for stored in reading.tx.records_of_kind(kind, RECORDS_MAX)? {
        let Some(row) = row_of(reading, kind, &stored.state) else {
            continue;
        };
        let all = format!("{} {} {}", row.key, row.text, row.remark).to_lowercase();
        if words.iter().all(|word| all.contains(word)) {
            rows.push(row);
        }
    }
    rows.sort_by(|a, b| (!a.mark.is_empty(), &a.text, &a.key).cmp(&(!b.mark.is_empty(), &b.text, &b.key)));
    let more = rows.len() > LISTED_MAX;
    rows.truncate(LISTED_MAX);
    Ok(ReferenceFound {
        summary: summary(rows.len(), more),
        columns,
        rows,
    })
}

fn row_of(reading: &Reading<'_, '_>, kind: KindId, state: &RecordState) -> Option<ReferenceRow> {
    let row = |key: Option<String>, text: Option<String>, remark: Option<String>, ended: Option<i64>| ReferenceRow {
        key: key.unwrap_or_default(),
        text: text.unwrap_or_default(),
        remark: remark.unwrap_or_default(),
        href: None,
        mark: ended
            .map(|ms| format!("ended {}", reading.clock.day(ms)))
            .unwrap_or_default(),
    };
    if kind == provider::KIND {
        let ended = provider::ENDED_MS.value(state);
        return Some(row(
            provider::NPI.value(state),
            provider::NAME.value(state),
            provider::SPECIALTY.value(state),
            ended,
        ));
    }
    if kind == payer::KIND {
        let ended = payer::ENDED_MS.value(state);
        return Some(row(
            payer::PAYER_ID.value(state),
            payer::NAME.value(state),
            payer::PHONE.value(state),
            ended,
        ));
    }
    if kind == room::KIND {
        // Rooms of other sites are not this desk's.
        let here = room::SITE.value(state).is_none_or(|site| site == reading.site.id);
        return here.then(|| row(room::NAME.value(state), None, None, None));
    }
    let ended = form::ENDED_MS.value(state);
    let mut shown = row(
        form::NAME.value(state),
        form::TITLE.value(state),
        form::VERSION.value(state),
        ended,
    );
    if ended.is_none() {
        shown.href = Some(format!("/reference/forms/{}", state.record));
    }
    Some(shown)
}

/// A form as a file to be kept or printed, never as a page: nothing in it runs here.
pub(super) async fn fetch_form(desk: Desk, Path(id): Path<String>) -> Response {
    let built = form_file(&desk, &id).await;
    desk.answer(built).await
}

async fn form_file(desk: &Desk, id: &str) -> Built<Response> {
    let record = RecordId::parse(id).ok_or(Refusal::NotFound)?;
    desk.read(move |reading| {
        let state = reading.state(record)?.filter(|state| state.kind == form::KIND);
        let state = state.ok_or(Refusal::NotFound)?;
        let digest = form::CONTENT.value(&state).ok_or(Refusal::NotFound)?;
        let bytes = content(reading, Hash(digest.0))?;
        let bytes =
            bytes.ok_or_else(|| Refusal::NotNow("This form is still on its way here. Try again soon.".to_owned()))?;
        let media = form::MEDIA.value(&state).unwrap_or_default();
        let ending = match media.as_str() {
            "application/pdf" => "pdf",
            "text/plain" => "txt",
            "image/png" => "png",
            "image/jpeg" => "jpg",
            "application/vnd.oasis.opendocument.text" => "odt",
            _ => "docx",
        };
        let name = form::NAME.value(&state).unwrap_or_default();
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let mut response = bytes.into_response();
        let headers = response.headers_mut();
        let media = HeaderValue::from_str(&media).unwrap_or(HeaderValue::from_static("application/octet-stream"));
        headers.insert(header::CONTENT_TYPE, media);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let named = HeaderValue::from_str(&format!("attachment; filename=\"{name}.{ending}\""));
        headers.insert(
            header::CONTENT_DISPOSITION,
            named.unwrap_or(HeaderValue::from_static("attachment")),
        );
        Ok(response)
    })
    .await
}

/// A content that is here and proven.
fn content(reading: &Reading<'_, '_>, digest: Hash) -> Result<Option<Vec<u8>>, TxError> {
    let all = reading.tx.contents()?;
    let proven =
        |content: &&crate::store::Content| content.digest == digest && content.standing == ContentStanding::Proven;
    let Some(content) = all.iter().find(proven) else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < content.bytes {
        match reading.tx.content_piece(digest, bytes.len() as u64)? {
            Some(piece) if !piece.is_empty() => bytes.extend_from_slice(&piece),
            Some(_) | None => return Err(TxError::Damaged { what: "a form" }),
        }
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_old_when_it_was_last_found_to_be_so_too_long_ago() {
        let now_ms = 1_800_000_000_000;
        let is_old = |set: &str, source: &str, loaded_hours: i64, checked_hours: i64| {
            let standing = SetStanding {
                set: set.to_owned(),
                title: String::new(),
                version: String::new(),
                entries: 1,
                source: source.to_owned(),
                loaded_ms: now_ms - loaded_hours * HOUR_MS,
                checked_ms: now_ms - checked_hours * HOUR_MS,
                state: SetState::Current,
                searched: None,
                is_code_set: false,
            };
            is_stale(&standing, &ReferencePolicy::default(), now_ms)
        };

        assert!(!is_old("providers", EHR_SOURCE, 700, 5), "the EHR has nothing new");
        assert!(is_old("providers", EHR_SOURCE, 700, 30), "the EHR was not asked");
        assert!(!is_old("payers", "payers.csv", 700, 700), "a file that stands");
        assert!(
            is_old("schedules", "schedules.csv", 30, 30),
            "the bookings of the day before"
        );
        assert!(is_old("cvx", "cvx.json", 500 * 24, 500 * 24));
    }
}
