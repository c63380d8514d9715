//! The engine's exchanges and the hub's own writing, run against a transaction under the catalogue's policy.

use clinic::index::Index;
use sync_protocol::hub::{self, HubError, Pushed, Rulebook};
use sync_protocol::replica::Written;
use sync_protocol::wire::{Page, PullRequest, PushRequest};
use sync_protocol::{Draft, Header, KindId, Lane, Payload, RecordState};

use super::*;

/// What the catalogue decides, as plain functions.
#[derive(Clone, Copy)]
pub struct Policy {
    pub admit: fn(&Header, &Payload) -> Result<(), u16>,
    pub lane: fn(KindId) -> Lane,
    pub index: fn(&RecordState) -> Index,
}

impl Policy {
    pub const CATALOGUE: Policy = Policy {
        admit: clinic::catalogue::admit,
        lane: clinic::catalogue::lane,
        index: clinic::index::index_of,
    };
}

type Outcome<T> = Result<T, HubError<DbError>>;

impl Txn<'_> {
    fn with_rules<T>(&mut self, steps: impl FnOnce(&mut Self, &Rulebook<'_>) -> T) -> T {
        let (organisation, policy) = (self.organisation, self.policy);
        let rulebook = Rulebook {
            admit: &policy.admit,
            lane: &policy.lane,
            key: &organisation.proof_key,
        };
        steps(self, &rulebook)
    }

    /// As [`Txn::with_rules`], for what a site has written: what the hub owns is not a site's to write.
    fn with_rules_for_sites<T>(&mut self, steps: impl FnOnce(&mut Self, &Rulebook<'_>) -> T) -> T {
        let (organisation, policy) = (self.organisation, self.policy);
        let admit = |header: &Header, payload: &Payload| {
            (policy.admit)(header, payload)?;
            clinic::catalogue::admit_of_site(header, payload)
        };
        let rulebook = Rulebook {
            admit: &admit,
            lane: &policy.lane,
            key: &organisation.proof_key,
        };
        steps(self, &rulebook)
    }

    /// Takes a run of changes from a replica of the site whose scope is `site`.
    pub fn push(&mut self, site: ScopeId, request: &PushRequest) -> Outcome<Pushed> {
        for header in request.changes.iter().filter_map(|change| change.parse_header().ok()) {
            self.observe(header.at);
        }
        self.with_rules_for_sites(|txn, rules| hub::handle_push(txn, rules, site, request))
    }

    /// Answers a pull from this transaction's snapshot.
    pub fn pull(&mut self, site: ScopeId, request: &PullRequest) -> Outcome<Vec<Page>> {
        hub::handle_pull(self, site, request)
    }

    /// Writes a change of the hub's own, entering the record into a scope if one is given. `None`: it says nothing new.
    pub fn author(&mut self, draft: &Draft, scope: Option<ScopeId>) -> Outcome<Option<Written>> {
        let stamp = self.stamp()?;
        self.with_rules(|txn, rules| hub::author_at_hub(txn, rules, draft, &stamp, scope))
    }

    /// Enters a record as it stands into a scope.
    pub fn enter(&mut self, scope: ScopeId, record: RecordId) -> Outcome<()> {
        self.with_rules(|txn, rules| hub::enter(txn, rules, scope, record))
    }

    /// Tries again what is set aside, if the catalogue is another one than when it was last tried. Answers how many
    /// changes were applied.
    pub fn retry_set_aside(&mut self, catalogue: u32) -> Outcome<usize> {
        if self.catalogue_tried()? == catalogue {
            return Ok(0);
        }
        let mut released = 0;
        for header in self.set_aside()? {
            released += usize::from(self.with_rules_for_sites(|txn, rules| hub::release(txn, rules, header.change))?);
        }
        self.set_catalogue_tried(catalogue)?;
        Ok(released)
    }
}
