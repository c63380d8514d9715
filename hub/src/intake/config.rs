//! Table `[mllp]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::db::Site;

#[derive(Clone, PartialEq, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where HL7 v2 messages are taken in over MLLP; nowhere while this is not set.
    pub listen: Option<SocketAddr>,
    /// With the hub's own certificate; needed for anything but a loopback address.
    pub tls: bool,
    /// Largest message, in bytes.
    pub message_max_bytes: usize,
    /// Connections that may be open at once.
    pub connections_max: usize,
    /// A connection on which nothing comes for so long is closed.
    pub idle_secs: u64,
    /// Which site is meant by what messages call it (AIL-3, PV1-3, MSH-6): the site's name or id.
    pub sites: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: None,
            tls: false,
            message_max_bytes: 1_048_576,
            connections_max: 64,
            idle_secs: 3_600,
            sites: BTreeMap::new(),
        }
    }
}

impl Config {
    pub(crate) fn refuse_unsound(&self) -> Result<(), String> {
        if let Some(listen) = self.listen
            && !self.tls
            && !listen.ip().is_loopback()
        {
            return Err(format!(
                "listen is {listen}, but without tls = true HL7 is taken on a loopback address only"
            ));
        }
        let at_least_one = [
            ("message_max_bytes", self.message_max_bytes as u64),
            ("connections_max", self.connections_max as u64),
            ("idle_secs", self.idle_secs),
        ];
        match at_least_one.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("{name} must be at least 1")),
            None => Ok(()),
        }
    }

    /// The site that the first of these places that is named here stands for.
    pub(super) fn site_of(&self, places: &[String], sites: &[Site]) -> Option<Site> {
        let named = |place: &String| {
            let mut all = self.sites.iter();
            all.find(|(name, _)| name.trim().eq_ignore_ascii_case(place.trim()))
        };
        let (_, site) = places.iter().find_map(named)?;
        sites.iter().find(|known| names(site, known)).cloned()
    }
}

/// Whether a name or id in the settings is that of a site.
pub(super) fn names(said: &str, site: &Site) -> bool {
    said.eq_ignore_ascii_case(&site.name) || said == site.scope.to_string()
}
