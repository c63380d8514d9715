//! The start of a session: each end says which protocols and features it has, and which words and policies it knows. A
//! plain CBOR map without frame or version, so that any two versions ever made can read each other's; keys that are not
//! known are skipped.

use std::collections::BTreeSet;

use crate::cbor::{self, CborError, MapWriter, Reader, Unknown};
use crate::change::{put_bytes, put_u64};
use crate::wire::{PROTOCOL, PROTOCOL_OLDEST};

/// What both ends must have before either uses it.
pub mod feature {
    /// Acknowledgements, page heads and states carry the hub's signature.
    pub const SIGNED_ACKS: &str = "signed-acks";
    /// An agent gives a restored hub back what it had sent.
    pub const RETURNS: &str = "returns";
    /// Buckets, then ids, then what differs.
    pub const REPAIR: &str = "repair";
    pub const SNAPSHOT: &str = "snapshot";
    /// Replicas, actors and ids folded in a batch.
    pub const COMPACT: &str = "compact";
    pub const SIGNED_REQUESTS: &str = "signed-requests";
    pub const SEALED_BODY: &str = "sealed-body";
}

/// The oldest and the newest protocol that an end speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    pub oldest: u64,
    pub newest: u64,
}

impl Range {
    /// Of this version.
    pub const OWN: Range = Range {
        oldest: PROTOCOL_OLDEST,
        newest: PROTOCOL,
    };
}

/// The two ends have no protocol in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoCommonProtocol {
    #[error(
        "the agent is the older end: it speaks protocols up to {agent}, the hub from {hub} on; install the agent's current version at the site"
    )]
    AgentOlder { agent: u64, hub: u64 },
    #[error(
        "the hub is the older end: it speaks protocols up to {hub}, the agent from {agent} on; bring the hub up to date, or put the agent's earlier version back"
    )]
    HubOlder { agent: u64, hub: u64 },
}

/// The newest protocol that both ends speak.
pub fn agree(agent: Range, hub: Range) -> Result<u64, NoCommonProtocol> {
    if agent.newest < hub.oldest {
        return Err(NoCommonProtocol::AgentOlder {
            agent: agent.newest,
            hub: hub.oldest,
        });
    }
    if hub.newest < agent.oldest {
        return Err(NoCommonProtocol::HubOlder {
            agent: agent.oldest,
            hub: hub.newest,
        });
    }
    Ok(agent.newest.min(hub.newest))
}

/// What either end says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    pub range: Range,
    pub features: BTreeSet<String>,
    /// The version of the catalogue of kinds and fields.
    pub schema: u64,
    /// The program's version, for people.
    pub version: String,
}

impl About {
    pub fn has(&self, feature: &str) -> bool {
        self.features.contains(feature)
    }
}

/// The agent begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    pub about: About,
    /// The newest policies that the agent has, by name.
    pub policies: Vec<(String, u64)>,
    /// The agent's wall clock, milliseconds since 1970.
    pub agent_ms: u64,
}

/// The hub answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    pub about: About,
    /// The protocol that both are to speak.
    pub protocol: u64,
    /// The hub's wall clock, milliseconds since 1970.
    pub hub_ms: u64,
    /// After a line comes back, agents spread their first exchange over so long.
    pub reconnect_window_ms: u64,
    /// The certificates (DER) of the authorities that are to be trusted from now on.
    pub authorities: Vec<Vec<u8>>,
    /// Whether the hub knows this agent's key and expects its requests to be signed.
    pub expects_signature: bool,
    /// Whether a proxy may inspect this site's line.
    pub allows_inspection: bool,
    /// By which the hub's signatures of acknowledgements and states are known (Ed25519).
    pub signing_key: Option<[u8; 32]>,
}

const FEATURES_MAX: usize = 256;
const POLICIES_MAX: usize = 256;
const AUTHORITIES_MAX: usize = 4;
/// Either message is far smaller.
pub const HANDSHAKE_MAX_BYTES: usize = 64 * 1024;

const OLDEST: u64 = 60;
const NEWEST: u64 = 61;
const FEATURES: u64 = 62;
const SCHEMA: u64 = 63;
const VERSION: u64 = 64;
const POLICIES: u64 = 65;
const AGENT_MS: u64 = 66;
const AGREED: u64 = 67;
const HUB_MS: u64 = 68;
const WINDOW_MS: u64 = 69;
const AUTHORITIES: u64 = 70;
const SIGNATURE: u64 = 71;
const INSPECTION: u64 = 72;
const SIGNING_KEY: u64 = 73;

#[derive(Default)]
struct Parts {
    oldest: Option<u64>,
    newest: Option<u64>,
    features: BTreeSet<String>,
    schema: u64,
    version: String,
}

impl Parts {
    fn read(&mut self, key: u64, r: &mut Reader<'_>) -> Result<bool, CborError> {
        match key {
            OLDEST => self.oldest = Some(r.u64()?),
            NEWEST => self.newest = Some(r.u64()?),
            FEATURES => {
                let features = r.array(FEATURES_MAX, "features", |r| Ok(r.text()?.to_owned()))?;
                self.features = features.into_iter().collect();
            }
            SCHEMA => self.schema = r.u64()?,
            VERSION => self.version = r.text()?.to_owned(),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn done(self) -> Result<About, CborError> {
        let missing = CborError::Missing {
            what: "range of protocols",
        };
        let (Some(oldest), Some(newest)) = (self.oldest, self.newest) else {
            return Err(missing);
        };
        Ok(About {
            range: Range { oldest, newest },
            features: self.features,
            schema: self.schema,
            version: self.version,
        })
    }
}

impl About {
    fn put(&self, map: &mut MapWriter) {
        map.put(OLDEST, |w| put_u64(w, self.range.oldest));
        map.put(NEWEST, |w| put_u64(w, self.range.newest));
        map.put(FEATURES, |w| {
            w.array(self.features.len() as u64).ok();
            for feature in &self.features {
                w.str(feature).ok();
            }
        });
        map.put(SCHEMA, |w| put_u64(w, self.schema));
        map.put(VERSION, |w| {
            w.str(&self.version).ok();
        });
    }
}

impl Hello {
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new(&Unknown::default());
        self.about.put(&mut map);
        map.put(POLICIES, |w| {
            w.array(self.policies.len() as u64).ok();
            for (name, version) in &self.policies {
                w.array(2).ok();
                w.str(name).ok();
                put_u64(w, *version);
            }
        });
        map.put(AGENT_MS, |w| put_u64(w, self.agent_ms));
        cbor::encode(|w| map.finish(w))
    }

    pub fn decode(bytes: &[u8]) -> Result<Hello, CborError> {
        let mut parts = Parts::default();
        let (mut policies, mut agent_ms) = (Vec::new(), 0);
        cbor::parse(bytes, |r| {
            r.map(|key, r| {
                match key {
                    POLICIES => {
                        policies = r.array(POLICIES_MAX, "policies", |r| {
                            r.exact_array(2, "policy")?;
                            Ok((r.text()?.to_owned(), r.u64()?))
                        })?;
                    }
                    AGENT_MS => agent_ms = r.u64()?,
                    _ => return parts.read(key, r),
                }
                Ok(true)
            })
        })?;
        Ok(Hello {
            about: parts.done()?,
            policies,
            agent_ms,
        })
    }
}

impl Welcome {
    pub fn encode(&self) -> Vec<u8> {
        let mut map = MapWriter::new(&Unknown::default());
        self.about.put(&mut map);
        map.put(AGREED, |w| put_u64(w, self.protocol));
        map.put(HUB_MS, |w| put_u64(w, self.hub_ms));
        map.put(WINDOW_MS, |w| put_u64(w, self.reconnect_window_ms));
        map.put(AUTHORITIES, |w| {
            w.array(self.authorities.len() as u64).ok();
            self.authorities.iter().for_each(|authority| put_bytes(w, authority));
        });
        for (key, is) in [
            (SIGNATURE, self.expects_signature),
            (INSPECTION, self.allows_inspection),
        ] {
            map.put(key, |w| {
                w.bool(is).ok();
            });
        }
        if let Some(key) = &self.signing_key {
            map.put(SIGNING_KEY, |w| put_bytes(w, key));
        }
        cbor::encode(|w| map.finish(w))
    }

    pub fn decode(bytes: &[u8]) -> Result<Welcome, CborError> {
        let mut parts = Parts::default();
        let (mut protocol, mut hub_ms, mut window, mut authorities) = (None, None, 0, Vec::new());
        let (mut signature, mut inspection, mut signing_key) = (false, false, None);
        cbor::parse(bytes, |r| {
            r.map(|key, r| {
                match key {
                    AGREED => protocol = Some(r.u64()?),
                    HUB_MS => hub_ms = Some(r.u64()?),
                    WINDOW_MS => window = r.u64()?,
                    AUTHORITIES => {
                        authorities = r.array(AUTHORITIES_MAX, "authorities", |r| Ok(r.bytes()?.to_vec()))?
                    }
                    SIGNATURE => signature = r.bool()?,
                    INSPECTION => inspection = r.bool()?,
                    SIGNING_KEY => signing_key = Some(r.fixed("signing key")?),
                    _ => return parts.read(key, r),
                }
                Ok(true)
            })
        })?;
        let missing = |what| CborError::Missing { what };
        Ok(Welcome {
            about: parts.done()?,
            protocol: protocol.ok_or(missing("agreed protocol"))?,
            hub_ms: hub_ms.ok_or(missing("time of the hub"))?,
            reconnect_window_ms: window,
            authorities,
            expects_signature: signature,
            allows_inspection: inspection,
            signing_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(oldest: u64, newest: u64) -> Range {
        Range { oldest, newest }
    }

    fn about() -> About {
        About {
            range: range(1, 3),
            features: [feature::REPAIR.to_owned(), feature::SIGNED_ACKS.to_owned()].into(),
            schema: 9,
            version: "0.4.0".to_owned(),
        }
    }

    #[test]
    fn the_newest_protocol_that_both_speak_is_spoken() {
        assert_eq!(agree(range(1, 1), range(1, 3)), Ok(1));
        assert_eq!(agree(range(2, 4), range(1, 3)), Ok(3));
        assert_eq!(agree(range(3, 3), range(1, 3)), Ok(3));
    }

    #[test]
    fn without_a_common_protocol_the_older_end_is_named_with_what_to_do() {
        let agent_older = agree(range(1, 1), range(3, 5)).unwrap_err().to_string();
        let hub_older = agree(range(4, 6), range(1, 3)).unwrap_err().to_string();

        assert!(
            agent_older.starts_with("the agent is the older end") && agent_older.contains("install"),
            "{agent_older}"
        );
        assert!(
            hub_older.starts_with("the hub is the older end") && hub_older.contains("bring the hub up to date"),
            "{hub_older}"
        );
    }

    #[test]
    fn both_messages_are_read_as_they_were_written() {
        let hello = Hello {
            about: about(),
            policies: vec![("scope".to_owned(), 4)],
            agent_ms: 1_790_000_000_000,
        };
        let welcome = Welcome {
            about: about(),
            protocol: 3,
            hub_ms: 1_790_000_000_001,
            reconnect_window_ms: 20_000,
            authorities: vec![vec![1, 2], vec![3]],
            expects_signature: true,
            allows_inspection: false,
            signing_key: Some([7; 32]),
        };

        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome));
    }

    #[test]
    fn a_later_versions_keys_are_skipped_and_only_the_range_must_be_there() {
        let newer = cbor::encode(|w| {
            let mut map = MapWriter::new(&Unknown::default());
            map.put(OLDEST, |w| put_u64(w, 2));
            map.put(NEWEST, |w| put_u64(w, 8));
            map.put(500, |w| put_bytes(w, b"unheard of"));
            map.finish(w);
        });
        let empty = cbor::encode(|w| MapWriter::new(&Unknown::default()).finish(w));

        assert_eq!(Hello::decode(&newer).map(|hello| hello.about.range), Ok(range(2, 8)));
        assert!(Hello::decode(&empty).is_err());
    }
}
