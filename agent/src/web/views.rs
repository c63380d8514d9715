//! What the pages show, and their rendering. Views hold plain text, already formatted; they know no store, no clock and no request, and
//! decide nothing about who may do what: whoever fills them has asked first.
//!
//! Render a view with [`askama::Template::render`]; fragments are views of their own, rendered alone or inside their page.
//!
//! # Routes
//!
//! Ids in addresses are random record ids. Nothing typed by a person and nothing about a patient stands in an address.
//!
//! | route | renders |
//! |---|---|
//! | `GET /sign-in`, `?as={login}` | [`SignInView`] |
//! | `GET /` | redirect to `/board` |
//! | `GET /board?show={filter}` | [`BoardView`]; with `fragment=rows` [`BoardRows`] |
//! | `GET /arrivals`, `GET /arrivals/{visit}` | [`ArrivalView`]; the second with `arrived` set |
//! | `GET /find` | [`FindView`] |
//! | `GET /patients/{id}` | [`PatientView`]; with `fragment=body` [`PatientBody`], with `fragment=head` [`PatientHead`] |
//! | `GET /work?show={filter}` | [`WorkView`]; with `fragment=list` [`WorkList`] |
//! | `GET /tasks/{id}` | [`TranscriptionView`] |
//! | `GET /downtime` | [`DowntimeView`] |
//! | `GET /connection` | [`ConnectionView`]; with `fragment=detail` [`ConnectionDetail`] |
//! | `GET /reference` | [`ReferenceView`]; with `fragment=sets` [`ReferenceSets`] |
//! | `GET /reference/forms/{record}` | a form, as a file |
//! | `GET /banner` | [`Banner`] alone |
//! | `GET /events` | server-sent events, see below |
//! | `GET /assets/{name}` | [`asset`] |
//! | anything else | [`MessageView::not_found`], 404 |
//!
//! # Forms
//!
//! All are `application/x-www-form-urlencoded` and carry three hidden fields made by [`FormKeys`]: `csrf`, to be compared with the
//! sign-in's own token (for `POST /sign-in` with the token in a cookie set by `GET /sign-in`); `request`, a UUID that is the same when
//! the same form is sent twice, so that the second has no effect and gets the same answer; `back`, the path to redirect to (303) after
//! success, taken only if it starts with one `/` and holds neither `\` nor a second `/` after it. Fields named `shown` or `shown_{field}`
//! hold change ids separated by spaces: what the writer was shown. A field may be missing or empty unless it says *required*; the page
//! asks for required ones, the server must check.
//!
//! | route | fields | when wrong |
//! |---|---|---|
//! | `POST /sign-in` | `login`, `passphrase`, both required | [`SignInView`] with [`SignInState::Wrong`] or [`SignInState::LockedOut`] |
//! | `POST /sign-out` | | |
//! | `POST /theme` | `theme`: a [`Theme::code`] | |
//! | `POST /arrivals` | `name`, `birth_date`, `reason` required; `phone`; `person`: a patient id, or `new`; `offered`: ids of the look-alikes that were shown | [`ArrivalView`]: 422 with `wrong`, 200 with `look_alikes` when somebody is alike and `person` is missing, or when somebody alike is not in `offered` |
//! | `POST /find` | `q` | answers with [`FindView`], 200, no redirect |
//! | `POST /reference/search` | `place`: a set or list; `q` | answers with [`ReferenceView`], 200, no redirect |
//! | `POST /visits/{id}/move` | `act`: a [`VisitAct`], required; `shown` | [`MessageView`] |
//! | `POST /visits/{id}/undo` | `shown`, required: the changes taken back, exactly these | [`MessageView`] |
//! | `POST /rooms/{id}/state` | `to`: a [`RoomState::code`], required; `shown` | [`MessageView`] |
//! | `POST /patients/{id}/edit` | per [`PatientField`] that is not disputed `{name}`, `shown_{name}` and `was_{name}`; an unchanged one is sent too and is no change | [`PatientView`] with `wrong` and `input` kept, 422 |
//! | `POST /patients/{id}/allergies` | `substance` required, `reaction` | [`MessageView`] |
//! | `POST /allergies/{id}/refute` | `why` required, `shown` required | [`MessageView`] |
//! | `POST /conflicts/{record}/{field}/decide` | `keep`: a change id, or `other`, required; `value` with `other`; `shown` required | [`MessageView`], or the page with [`Conflict::wrong`] |
//! | `POST /tasks/{id}/withdraw`, `…/retry` | `shown` | [`MessageView`] |
//! | `POST /tasks/{id}/entered` | `number` required, `already`: `yes` or `no`, required; `shown` | [`TranscriptionView`] with `wrong`, 422 |
//! | `POST /tasks/{id}/answer` | `answer`: `same:{partner's number}` or `none`, required; `shown` | [`WorkView`] with `notice` |
//! | `POST /results/{id}/match` | `patient`: a patient id from a button; without it `number`: TEMP number or MRN; `shown` | [`WorkView`] with [`UnmatchedResult::wrong`] |
//! | `POST /downtime/declare` | `reason`: one of the codes, or `other`, required; `other` with it | [`DowntimeView`] with `wrong` |
//! | `POST /downtime/end` | `confirm`: `yes`, required while something is open | [`DowntimeView`] with `wrong` |
//! | `POST /line/hold` | `why`, required | [`MessageView`] |
//! | `POST /line/release` | `confirm`: `yes`, required | [`MessageView`] |
//!
//! A token that is not this sign-in's: [`MessageView::form_too_old`], 403. Not allowed: [`MessageView::not_permitted`], 403. Nobody signed
//! in: 303 to `/sign-in` for a page, 401 for a fragment.
//!
//! # Events
//!
//! `GET /events` sends messages without an event name whose data is `{"fragment":"board"}`: `banner`, `board`, `work`, `connection`, or
//! `{"fragment":"patient","record":"{patient id}"}`, and the same for `patient-head`. The page fetches those fragments again that it
//! shows. An event named `beat` (data is ignored) at least every 10 s lets the page notice that it has lost its server; after 25 s of
//! silence it says so.

mod arrival;
mod assets;
mod banner;
mod board;
mod conflict;
mod connection;
mod downtime;
mod find;
mod message;
mod parts;
mod patient;
mod reference;
#[cfg(test)]
mod samples;
mod shell;
mod sign_in;
mod tasks;
mod transcription;
mod work;

pub use arrival::{ArrivalFields, ArrivalView, ArrivalWrong, Arrived, LookAlike};
pub use assets::{ASSETS, Asset, asset};
pub use banner::{Attention, Banner, Declared, Held, LineParts, LineState, PartState};
pub use board::{
    BoardGroup, BoardRow, BoardRows, BoardView, FlowState, Move, MoveGroup, NextAct, ProviderLoad, RoomState, RoomTile,
    UnknownAct, VisitAct,
};
pub use conflict::{Conflict, OtherValue, Side, Until};
pub use connection::{
    ConnectionDetail, ConnectionView, HoldState, LaneDetail, PartDetail, PendingCount, PolicyDetail, RootState,
};
pub use downtime::{DowntimeState, DowntimeView, OpenCount};
pub use find::{FindHit, FindView, Found};
pub use message::{MessageView, Way};
pub use parts::{
    Badge, Choice, Fact, FormKeys, Mark, Marked, Notice, PatientName, SecondIdentifier, Timer, Tone, Word, icon,
};
pub use patient::{
    AllergyEntry, AllergyPanel, CoverageEntry, EarlierVisit, FieldKind, MaybeSame, PatientBody, PatientField,
    PatientHead, PatientNumber, PatientView, ResultEntry, ResultLine, VisitStep, VisitStory,
};
pub use reference::{
    ReferenceFound, ReferenceRow, ReferenceSet, ReferenceSets, ReferenceState, ReferenceView, SearchPlace,
};
pub use shell::{Hint, PersonBadge, Shell, Tab, Theme, Toast, Undo};
pub use sign_in::{Face, SignInState, SignInView};
pub use tasks::{TaskOffers, TaskRow, TaskState};
pub use transcription::{CopyLine, CopySection, Entered, QueueEntry, TranscriptionView};
pub use work::{
    Contradiction, MatchCandidate, PartnerCandidate, PartnerMatch, RejectedMessage, TaskGroup, UnmatchedResult,
    WorkList, WorkView,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{assets, samples};

    #[test]
    fn no_page_holds_an_inline_style_an_inline_script_or_an_outside_address() {
        for (name, html) in samples::every_page() {
            assert!(!html.contains("style="), "{name} has an inline style");
            assert!(!html.contains("<style"), "{name} has a style element");
            assert_eq!(
                html.matches("<script").count(),
                html.matches("<script src=\"/assets/").count(),
                "{name}"
            );
            assert!(
                !html.contains("http://") && !html.contains("https://"),
                "{name} names an outside address"
            );
            for attribute in [" onclick", " onsubmit", " onload", " onchange", "javascript:"] {
                assert!(!html.contains(attribute), "{name} holds {attribute}");
            }
        }
    }

    #[test]
    fn every_form_that_writes_carries_its_token_and_a_request_id_of_its_own() {
        for (name, html) in samples::every_page() {
            let mut seen = BTreeSet::new();
            for form in html.split("<form").skip(1) {
                let form = &form[..form.find("</form>").unwrap()];
                assert!(form.contains(r#"method="post""#), "{name}: a form without a method");
                assert!(form.contains(r#"name="csrf""#), "{name}: a form without a token");
                let request = form.split(r#"name="request" value=""#).nth(1).unwrap();
                let request = &request[..request.find('"').unwrap()];
                assert!(
                    seen.insert(request.to_owned()),
                    "{name}: two forms share request id {request}"
                );
            }
        }
    }

    #[test]
    fn no_element_id_is_given_twice() {
        for (name, html) in samples::every_page() {
            let mut seen = BTreeSet::new();
            for part in html.split(" id=\"").skip(1) {
                let id = &part[..part.find('"').unwrap()];
                assert!(seen.insert(id), "{name}: id {id} twice");
            }
        }
    }

    #[test]
    fn every_label_and_description_points_to_something_that_is_there() {
        for (name, html) in samples::every_page() {
            for attribute in [" for=\"", " aria-describedby=\"", " aria-labelledby=\""] {
                for part in html.split(attribute).skip(1) {
                    for id in part[..part.find('"').unwrap()].split_whitespace() {
                        assert!(
                            html.contains(&format!(" id=\"{id}\"")),
                            "{name}:{attribute}{id} leads nowhere"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn every_icon_used_is_drawn() {
        let drawn = std::str::from_utf8(assets::asset("icons.svg").unwrap().bytes).unwrap();
        for (name, html) in samples::every_page() {
            for part in html.split("/assets/icons.svg").skip(1) {
                let Some(symbol) = part[..part.find('"').unwrap()].split('#').nth(1) else {
                    continue;
                };
                assert!(
                    drawn.contains(&format!("<symbol id=\"{symbol}\"")),
                    "{name}: icon {symbol} is not drawn"
                );
            }
        }
    }

    #[test]
    fn markup_in_a_name_is_never_markup_on_a_page() {
        for (name, html) in samples::every_page() {
            assert!(!html.contains("<script>"), "{name}");
            assert!(!html.contains("<b>bold"), "{name}");
        }
        assert!(
            samples::every_page()
                .iter()
                .any(|(_, html)| html.contains("&#60;script&#62;"))
        );
    }

    #[test]
    fn no_page_title_names_a_patient() {
        for (name, html) in samples::every_page() {
            let title = &html[html.find("<title>").unwrap()..html.find("</title>").unwrap()];
            assert!(!title.contains("Ramírez") && !title.contains(','), "{name}: {title}");
        }
    }

    /// `MAINSTAY_PAGES_DIR` set: the samples and their assets are written there, to be looked at in a browser.
    #[test]
    fn every_page_renders() {
        let pages = samples::every_page();

        assert!(
            pages
                .iter()
                .all(|(_, html)| html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"))
        );
        if let Some(folder) = std::env::var_os("MAINSTAY_PAGES_DIR") {
            let folder = std::path::PathBuf::from(folder);
            std::fs::create_dir_all(folder.join("assets")).unwrap();
            for (name, html) in pages {
                std::fs::write(folder.join(format!("{name}.html")), html).unwrap();
            }
            for asset in &assets::ASSETS {
                std::fs::write(folder.join("assets").join(asset.name), asset.bytes).unwrap();
            }
        }
    }
}
