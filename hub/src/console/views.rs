//! What pages are made of. Text is put into pages by the templates alone, which escape it.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use super::assets;
use super::refusal::{Built, Refusal};
use super::session::Session;
use super::words::{length, moment};
use crate::admin::{AdminRole, Compared, Conflict, KnownSite, ListedAccount, ListedAside, Pair, Person, SiteDetail};

pub(super) fn rendered(status: StatusCode, view: &impl Template) -> Built<Response> {
    match view.render() {
        Ok(html) => Ok((status, Html(html)).into_response()),
        Err(error) => {
            tracing::error!(%error, "a page of the console could not be made");
            Err(Refusal::Store)
        }
    }
}

/// Around every page of somebody who is signed in.
pub(super) struct Shell {
    pub(super) name: String,
    pub(super) may_change: bool,
    pub(super) csrf: String,
    pub(super) active: Tab,
    /// What was just done.
    pub(super) done: Option<&'static str>,
    pub(super) as_of: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Sites,
    Matches,
    Conflicts,
    Quarantine,
    Admins,
}

impl Tab {
    const ALL: [Tab; 5] = [Tab::Sites, Tab::Matches, Tab::Conflicts, Tab::Quarantine, Tab::Admins];

    fn label(self) -> &'static str {
        match self {
            Tab::Sites => "Sites",
            Tab::Matches => "Matches",
            Tab::Conflicts => "Conflicts",
            Tab::Quarantine => "Set aside",
            Tab::Admins => "Administrators",
        }
    }

    fn href(self) -> &'static str {
        match self {
            Tab::Sites => "/sites",
            Tab::Matches => "/matches",
            Tab::Conflicts => "/conflicts",
            Tab::Quarantine => "/quarantine",
            Tab::Admins => "/admins",
        }
    }
}

impl Shell {
    pub(super) fn new(session: &Session, active: Tab, done: Option<&str>) -> Shell {
        Shell {
            name: session.name.clone(),
            may_change: session.role == AdminRole::Admin,
            csrf: session.token.csrf(),
            active,
            done: done.and_then(said_done),
            as_of: jiff::Timestamp::now().strftime("%H:%M:%S UTC").to_string(),
        }
    }
}

/// The one line that follows an act; what stands in an address is never shown itself.
fn said_done(code: &str) -> Option<&'static str> {
    Some(match code {
        "site-added" => "The site was added. Make a token for its agent next.",
        "site-changed" => "The site was changed.",
        "agent-revoked" => "The agent’s enrolment was revoked. It is refused from now on.",
        "staff-added" => "Added. They can sign in once the site has heard of it.",
        "staff-ended" => "They may no longer sign in, once the site has heard of it.",
        "decided" => "Decided. The sites that have the patient hear of it next.",
        "admin-removed" => "The account was closed.",
        "admin-unlocked" => "The wrong tries were forgotten.",
        "renamed" => "The organisation was renamed.",
        _ => return None,
    })
}

/// A picture beside words; it says nothing that the words do not.
struct Icon(&'static str);

impl askama::filters::HtmlSafe for Icon {}

impl std::fmt::Display for Icon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let from = asset_url("console.svg");
        write!(
            f,
            "<svg class=\"icon\" aria-hidden=\"true\"><use href=\"{from}#{}\"/></svg>",
            self.0
        )
    }
}

fn icon(name: &'static str) -> Icon {
    Icon(name)
}

fn asset_url(name: &str) -> String {
    format!("/assets/{name}?v={}", assets::version())
}

#[derive(Template)]
#[template(path = "message.html")]
pub(super) struct MessageView {
    pub(super) title: &'static str,
    pub(super) happened: String,
    pub(super) todo: &'static str,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
pub(super) struct SignInView {
    pub(super) csrf: String,
    pub(super) login: String,
    pub(super) state: SignInState,
}

pub(super) enum SignInState {
    Ask,
    /// Somebody was signed in here and no longer is.
    Lapsed,
    Wrong,
    Closed {
        minutes: u64,
    },
}

#[derive(Template)]
#[template(path = "sites.html")]
pub(super) struct SitesView {
    pub(super) shell: Shell,
    pub(super) organisation: String,
    pub(super) sites: Vec<SiteRow>,
}

impl SitesView {
    fn needing(&self) -> usize {
        self.sites.iter().filter(|row| row.state.tone != "good").count()
    }
}

pub(super) struct SiteRow {
    pub(super) site: KnownSite,
    pub(super) state: SiteState,
}

/// What the hub knows of a site, in words: never why it is silent.
pub(super) struct SiteState {
    pub(super) tone: &'static str,
    pub(super) icon: &'static str,
    pub(super) words: String,
}

impl SiteState {
    pub(super) fn of(site: &KnownSite, silent_after_secs: u64) -> SiteState {
        let state = |tone, icon, words| SiteState { tone, icon, words };
        if site.agents.iter().all(|agent| agent.revoked.is_some()) {
            return state("wait", "unknown", "No agent is enrolled".to_owned());
        }
        if site.agents.iter().any(|agent| agent.is_alone) {
            return state("act", "alert", "A request came twice".to_owned());
        }
        match site.silent_secs {
            None => state("wait", "unknown", "Not heard of yet".to_owned()),
            Some(secs) if secs > silent_after_secs => state("watch", "unknown", format!("Silent {}", length(secs))),
            Some(_) if site.notice.is_some() => state("act", "alert", "Needs somebody".to_owned()),
            Some(secs) => state("good", "check", format!("Heard {} ago", length(secs))),
        }
    }
}

impl SiteRow {
    /// The fewest days that a certificate of an agent in use has left.
    fn certificate_days(&self) -> Option<i64> {
        let in_use = self.site.agents.iter().filter(|agent| agent.revoked.is_none());
        in_use.map(|agent| agent.certificate_days).min()
    }

    fn agents_in_use(&self) -> usize {
        self.site.agents.iter().filter(|agent| agent.revoked.is_none()).count()
    }
}

#[derive(Template)]
#[template(path = "site.html")]
pub(super) struct SiteView {
    pub(super) shell: Shell,
    pub(super) detail: Box<SiteDetail>,
    pub(super) state: SiteState,
    /// Just made: it is shown this once.
    pub(super) token: Option<FreshToken>,
}

pub(super) struct FreshToken {
    pub(super) text: zeroize::Zeroizing<String>,
    pub(super) expires: String,
}

#[derive(Template)]
#[template(path = "revoke.html")]
pub(super) struct RevokeView {
    pub(super) shell: Shell,
    pub(super) site: String,
    pub(super) site_name: String,
    pub(super) agent: String,
    pub(super) enrolled: String,
}

#[derive(Template)]
#[template(path = "conflicts.html")]
pub(super) struct ConflictsView {
    pub(super) shell: Shell,
    pub(super) conflicts: Vec<Conflict>,
}

impl ConflictsView {
    fn label(field: &str) -> &'static str {
        match field {
            "name" => "Name",
            "birth_date" => "Birth date",
            _ => "Sex",
        }
    }

    /// The changes that are shown, as a form carries them.
    fn shown(conflict: &Conflict) -> String {
        let ids: Vec<&str> = conflict.values.iter().map(|value| value.change.as_str()).collect();
        ids.join(" ")
    }
}

#[derive(Template)]
#[template(path = "matches.html")]
pub(super) struct MatchesView {
    pub(super) shell: Shell,
    pub(super) waiting: usize,
    pub(super) pairs: Vec<Pair>,
}

#[derive(Template)]
#[template(path = "match.html")]
pub(super) struct MatchView {
    pub(super) shell: Shell,
    pub(super) compared: Compared,
}

impl MatchView {
    fn standing_words(compared: &Compared) -> String {
        let since = compared.since.as_deref().map(moment).unwrap_or_default();
        match (compared.contradicts, compared.standing.as_deref()) {
            (true, _) => "said to be one person and said to be two: decide".to_owned(),
            (false, Some("linked")) => format!("linked as one person, {since}"),
            (false, Some("distinct")) => format!("said to be two people, {since}"),
            (false, Some(_)) => "waits for somebody to say".to_owned(),
            (false, None) => "nobody has asked yet".to_owned(),
        }
    }

    fn both(compared: &Compared) -> [&Person; 2] {
        [&compared.left, &compared.right]
    }

    fn is_linked(compared: &Compared) -> bool {
        !compared.contradicts && compared.standing.as_deref() == Some("linked")
    }

    fn or_unknown(value: &Option<String>) -> &str {
        value.as_deref().unwrap_or("not known")
    }
}

#[derive(Template)]
#[template(path = "quarantine.html")]
pub(super) struct QuarantineView {
    pub(super) shell: Shell,
    pub(super) all: u64,
    pub(super) changes: Vec<ListedAside>,
}

#[derive(Template)]
#[template(path = "admins.html")]
pub(super) struct AdminsView {
    pub(super) shell: Shell,
    pub(super) organisation: String,
    pub(super) own_login: String,
    pub(super) admins: Vec<ListedAccount>,
    /// Just drawn: it is shown this once.
    pub(super) factor: Option<FreshFactor>,
}

pub(super) struct FreshFactor {
    pub(super) login: String,
    pub(super) secret: zeroize::Zeroizing<String>,
    pub(super) uri: zeroize::Zeroizing<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(silent_secs: Option<u64>) -> KnownSite {
        KnownSite {
            site: "00".repeat(16),
            name: "Riverside <b>".to_owned(),
            zone: "America/Chicago".to_owned(),
            ehr: "machine".to_owned(),
            region: None,
            ehr_location: None,
            last_seen: None,
            silent_secs,
            inspection: false,
            downtime: false,
            line_held: false,
            notice: None,
            agents: vec![crate::admin::KnownAgent {
                agent: "aa".repeat(16),
                enrolled: "2026-11-21T04:12:09Z".to_owned(),
                revoked: None,
                certificate_days: 89,
                signs: true,
                program: None,
                alert: None,
                is_alone: false,
            }],
            accepted: 3,
            set_aside: 0,
            waits_for_ehr: 0,
            waits_for_people: 0,
            conflicts: 0,
            open_tokens: 0,
        }
    }

    #[test]
    fn a_site_that_is_silent_is_called_silent_and_nothing_else() {
        let said = |secs| SiteState::of(&site(secs), 120).words;

        assert_eq!(said(Some(3_360)), "Silent 56 min");
        assert_eq!(said(Some(8)), "Heard 8 s ago");
        assert_eq!(said(None), "Not heard of yet");
    }

    #[test]
    fn a_name_with_markup_in_it_is_shown_as_text() {
        let view = SitesView {
            shell: Shell {
                name: "Okafor".to_owned(),
                may_change: false,
                csrf: String::new(),
                active: Tab::Sites,
                done: None,
                as_of: String::new(),
            },
            organisation: "Lakes".to_owned(),
            sites: vec![SiteRow {
                state: SiteState::of(&site(None), 120),
                site: site(None),
            }],
        };

        let html = view.render().unwrap();

        assert!(!html.contains("Riverside <b>"), "{html}");
        assert!(html.contains("Riverside &#60;b&#62;"), "{html}");
        assert!(!html.contains("Add a site"), "a viewer is offered no form");
    }

    #[test]
    fn only_codes_of_the_programs_own_become_messages() {
        assert_eq!(said_done("<script>"), None);
        assert!(said_done("decided").is_some());
    }
}
