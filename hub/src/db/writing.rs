//! The engine's exchanges and the hub's own writing, run against a transaction under the catalogue's policy.

use clinic::catalogue::Home;
use clinic::index::{Index, Ways};
use sync_protocol::hub::{self, Compared, Found, HubError, Pushed, Rulebook, TakenBack};
use sync_protocol::replica::Written;
use sync_protocol::wire::{EpochRequest, Page, PullRequest, PushRequest, RepairRequest, ReturnRequest};
use sync_protocol::{Draft, Header, KindId, Lane, Payload, RecordState, Seal, Signature};

use super::*;

/// What the catalogue decides, as plain functions.
#[derive(Clone, Copy)]
pub struct Policy {
    pub admit: fn(&Header, &Payload) -> Result<(), u16>,
    pub lane: fn(KindId) -> Lane,
    pub index: fn(&RecordState) -> Index,
    pub ways: fn(KindId, &str) -> Ways,
}

impl Policy {
    pub const CATALOGUE: Policy = Policy {
        admit: clinic::catalogue::admit,
        lane: clinic::catalogue::lane,
        index: clinic::index::index_of,
        ways: clinic::index::ways,
    };
}

/// The organisation's own records are in the scope that every site has, and in no site's.
fn enters_site(kind: KindId) -> bool {
    match clinic::catalogue::home(kind) {
        Home::Site | Home::Patient => true,
        Home::Organisation => false,
    }
}

type Outcome<T> = Result<T, HubError<DbError>>;

impl Txn<'_> {
    fn with_rules<T>(&mut self, steps: impl FnOnce(&mut Self, &Rulebook<'_>) -> T) -> T {
        let (organisation, policy, keys) = (self.organisation, self.policy, self.keys);
        let seal = Seal {
            sign: &|said| Signature(keys.sign(said)),
            verify: &|said, signature| keys.has_signed(said, &signature.0),
        };
        let rulebook = Rulebook {
            admit: &policy.admit,
            lane: &policy.lane,
            enters_site: &enters_site,
            key: &organisation.proof_key,
            seal,
        };
        steps(self, &rulebook)
    }

    /// As [`Txn::with_rules`], for what a site has written: what the hub owns is not a site's to write.
    fn with_rules_for_sites<T>(&mut self, steps: impl FnOnce(&mut Self, &Rulebook<'_>) -> T) -> T {
        let (organisation, policy, keys) = (self.organisation, self.policy, self.keys);
        let seal = Seal {
            sign: &|said| Signature(keys.sign(said)),
            verify: &|said, signature| keys.has_signed(said, &signature.0),
        };
        let admit = |header: &Header, payload: &Payload| {
            (policy.admit)(header, payload)?;
            clinic::catalogue::admit_of_site(header, payload)
        };
        let rulebook = Rulebook {
            admit: &admit,
            lane: &policy.lane,
            enters_site: &enters_site,
            key: &organisation.proof_key,
            seal,
        };
        steps(self, &rulebook)
    }

    /// Takes a run of changes from a replica of the site whose scope is `site`.
    pub fn push(&mut self, site: ScopeId, request: &PushRequest) -> Outcome<Pushed> {
        let headers = request.changes.iter().filter_map(|change| change.parse_header().ok());
        let headers: Vec<Header> = headers.collect();
        headers.iter().for_each(|header| self.observe(header.at));
        self.make_ready(request, &headers)?;
        let pushed = self.with_rules_for_sites(|txn, rules| hub::handle_push(txn, rules, site, request))?;
        self.settle_scopes(&pushed.touched, Some(site))?;
        Ok(pushed)
    }

    /// Answers a pull from this transaction's snapshot.
    pub fn pull(&mut self, site: ScopeId, request: &PullRequest) -> Outcome<Vec<Page>> {
        let shared = [self.organisation.scope()];
        self.with_rules(|txn, rules| hub::handle_pull(txn, &rules.seal, site, &shared, request))
    }

    /// Compares what a replica of the site holds with what its scope has.
    pub fn compare(&mut self, site: ScopeId, request: &RepairRequest) -> Outcome<Compared> {
        let shared = [self.organisation.scope()];
        self.with_rules(|txn, rules| hub::handle_repair(txn, rules.key, &rules.seal, site, &shared, request))
    }

    /// Answers which epoch it is. What the replica shows may prove that this store has gone back: then a new one begins.
    pub fn epoch_asked(&mut self, site: ScopeId, request: &EpochRequest) -> Outcome<Found> {
        let next = (EpochId(random()?), ReplicaId(random()?));
        self.with_rules(|txn, rules| hub::handle_epoch(txn, rules, site, request, next))
    }

    /// Takes back states that a replica was given in an earlier life of this store.
    pub fn take_back(&mut self, site: ScopeId, request: &ReturnRequest) -> Outcome<TakenBack> {
        self.make_ready_for_return(request)?;
        let shared = [self.organisation.scope()];
        let taken = self.with_rules_for_sites(|txn, rules| hub::handle_return(txn, rules, site, &shared, request))?;
        self.settle_scopes(&taken.touched, None)?;
        Ok(taken)
    }

    /// Lets go what a replica of the site is willing to forget. Answers how many records left its scope.
    pub fn forget(&mut self, site: ScopeId, request: &PullRequest) -> Outcome<usize> {
        let records: Vec<[u8; 16]> = request.willing.iter().map(|willing| willing.record.0).collect();
        self.lock(&records)?;
        self.with_rules(|txn, rules| hub::handle_willing(txn, rules, site, request))
    }

    /// Offers a scope to forget a record.
    pub fn offer(&mut self, scope: ScopeId, record: RecordId) -> Outcome<()> {
        self.lock(&[record.0])?;
        self.with_rules(|txn, rules| hub::offer(txn, rules, scope, record))
    }

    /// Writes a change of the hub's own, entering the record into a scope if one is given. `None`: it says nothing new.
    pub fn author(&mut self, draft: &Draft, scope: Option<ScopeId>) -> Outcome<Option<Written>> {
        self.lock_to_author(draft.record)?;
        let stamp = self.stamp()?;
        // Random, so nobody has it.
        self.pending.found.insert(stamp.change, None);
        let shared = (!enters_site(draft.kind)).then(|| self.organisation.scope());
        let written = self.with_rules(|txn, rules| {
            let written = hub::author_at_hub(txn, rules, draft, &stamp, scope)?;
            if let Some(shared) = shared {
                hub::enter(txn, rules, shared, draft.record)?;
            }
            Ok::<_, HubError<DbError>>(written)
        })?;
        if written.is_some() {
            self.settle_scopes(&[draft.record], None)?;
        }
        Ok(written)
    }

    /// As [`Txn::author`], for what must not keep anything else from being written: of a record that holds as much as it may
    /// it is not written, and the log says so.
    pub fn author_if_room(&mut self, draft: &Draft, scope: Option<ScopeId>) -> Outcome<Option<Written>> {
        match self.author(draft, scope) {
            // Refused before anything was written.
            Err(HubError::Refused(hub::reason::RECORD_FULL)) => {
                tracing::warn!(
                    record = %draft.record,
                    "a record holds as much as a record may: what the hub would have added to it is left out"
                );
                Ok(None)
            }
            other => other,
        }
    }

    /// Enters a record as it stands into a scope.
    pub fn enter(&mut self, scope: ScopeId, record: RecordId) -> Outcome<()> {
        self.lock(&[record.0])?;
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
            self.lock(&[header.record.0])?;
            released += usize::from(self.with_rules_for_sites(|txn, rules| hub::release(txn, rules, header.change))?);
        }
        self.set_catalogue_tried(catalogue)?;
        Ok(released)
    }
}

#[cfg(test)]
impl Txn<'_> {
    /// Writes numbers on a patient's record, and takes them back, until it holds as much as it may.
    pub(crate) fn fill_up(&mut self, record: RecordId) -> Outcome<()> {
        use clinic::{Action, Channel, Identifier, Writing, patient};

        let writing = || Writing::new(patient::KIND, record, Action::Edit, Channel::Page.program(), 1);
        for bytes in [900, 1] {
            let number = sync_protocol::Phi::new(Identifier {
                system: "u".to_owned(),
                value: "9".repeat(bytes),
                kind: String::new(),
            });
            let asserted = writing().assert(patient::IDENTIFIER, &number).done();
            while let Some(written) = self.author_if_room(&asserted, None)? {
                let refuted = writing().refute(patient::IDENTIFIER, &[written.change], "wrong");
                self.author_if_room(&refuted.done(), None)?;
            }
        }
        Ok(())
    }
}

impl Db {
    /// The lanes of scopes that a site's replicas follow.
    pub fn follows(&self, site: ScopeId) -> Vec<(ScopeId, Lane)> {
        let own = Lane::ALL.map(|lane| (site, lane));
        let shared = (self.organisation().scope(), Lane::Reference);
        own.into_iter().chain([shared]).collect()
    }
}
