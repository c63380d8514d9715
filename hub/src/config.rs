//! `hub.toml`: one table per part of the program, each with its own type beside the code that uses it. A key that
//! nobody knows is refused, with its line and what could be meant.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::exit::{Exit, Failure};
use crate::{connectors, console, db, intake, log, matching, proof, reference, scopes, server, snapshots};

#[derive(Clone, PartialEq, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: server::Config,
    pub store: db::Config,
    pub scopes: scopes::Config,
    /// The daily look whether what sites hold still is what was written.
    pub proof: proof::Config,
    /// What a site that is new or far behind is filled from.
    pub snapshots: snapshots::Config,
    /// The EHR that tasks are delivered to. Without it, people enter them.
    pub ehr: Option<connectors::Config>,
    /// Files of reference data that are looked for by themselves.
    pub reference: reference::Config,
    /// The page on which administrators look after sites. Without it there is none.
    pub console: Option<console::Config>,
    /// HL7 v2 over MLLP, for all sites.
    pub mllp: intake::Config,
    pub matching: matching::Config,
    pub log: log::Config,
}

impl Config {
    /// Reads the file; where there is none, every setting has its default.
    pub fn load(file: &Path) -> Result<Config, Failure> {
        match std::fs::read_to_string(file) {
            Ok(text) => {
                Config::parse(&text).map_err(|error| Failure::new(Exit::Config, format!("{}, {error}", file.display())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Config::default()),
            Err(error) => Err(Failure::new(
                Exit::Config,
                format!("{} cannot be read ({error}): check its owner and mode", file.display()),
            )),
        }
    }

    /// What may stand in the file, as JSON Schema.
    pub fn json_schema() -> Result<String, Failure> {
        serde_json::to_string_pretty(&schemars::schema_for!(Config))
            .map_err(|error| Failure::failed(format!("the schema cannot be shown: {error}")))
    }

    fn parse(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            format!(
                "line {line}: {}; correct that line, or remove it for the default",
                error.message().trim()
            )
        })?;
        config
            .server
            .refuse_unsound()
            .map_err(|error| format!("table [server]: {error}"))?;
        config
            .scopes
            .refuse_unsound()
            .map_err(|error| format!("table [scopes]: {error}"))?;
        config
            .proof
            .refuse_unsound()
            .map_err(|error| format!("table [proof]: {error}"))?;
        config
            .snapshots
            .refuse_unsound()
            .map_err(|error| format!("table [snapshots]: {error}"))?;
        config
            .store
            .refuse_unsound()
            .map_err(|error| format!("table [store]: {error}"))?;
        if let Some(ehr) = &config.ehr {
            ehr.refuse_unsound().map_err(|error| format!("table [ehr]: {error}"))?;
        }
        if let Some(console) = &config.console {
            console
                .refuse_unsound()
                .map_err(|error| format!("table [console]: {error}"))?;
        }
        config
            .reference
            .refuse_unsound()
            .map_err(|error| format!("table [reference]: {error}"))?;
        config
            .mllp
            .refuse_unsound()
            .map_err(|error| format!("table [mllp]: {error}"))?;
        config
            .matching
            .matcher()
            .map_err(|error| format!("table [matching]: {error}"))?;
        config
            .log
            .refuse_unsound()
            .map_err(|error| format!("table [log]: {error}"))?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../config/hub.toml");

    #[test]
    fn the_shipped_file_says_the_defaults() {
        assert_eq!(Config::parse(SHIPPED).unwrap(), Config::default());
    }

    #[test]
    fn the_shipped_files_examples_are_the_defaults_too() {
        let uncommented: Vec<&str> = SHIPPED
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .collect();

        let config = Config::parse(&uncommented.join("\n")).unwrap();

        assert_eq!(config.server.public_url.as_deref(), Some("https://127.0.0.1:8443"));
        assert_eq!(config.console, Some(console::Config::default()));
        assert_eq!(
            config.ehr,
            Some(connectors::Config {
                base_url: "http://127.0.0.1:8080".to_owned(),
                ..connectors::Config::default()
            })
        );
        assert_eq!(
            config.store.postgres.as_deref(),
            Some("postgres://hub@127.0.0.1:5432/hub")
        );
        assert_eq!(
            Config {
                store: db::Config {
                    mark_file: None,
                    postgres: None,
                    password_file: None,
                    authority_file: None,
                    ..config.store
                },
                server: server::Config {
                    public_url: None,
                    ..config.server
                },
                ehr: None,
                reference: reference::Config {
                    folder: None,
                    ..config.reference
                },
                console: None,
                mllp: intake::Config {
                    listen: None,
                    ..config.mllp
                },
                ..config
            },
            Config::default()
        );
    }

    #[test]
    fn the_shipped_schema_is_that_of_this_version() {
        let shipped = include_str!("../../config/hub.schema.json");

        assert!(
            shipped.trim_end() == Config::json_schema().unwrap(),
            "run: mainstay-hub schema > config/hub.schema.json"
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_what_could_be_meant() {
        let error = Config::parse("[server]\nlisten = \"127.0.0.1:0\"\nlissen = 1\n").unwrap_err();

        assert!(
            error.starts_with("line 3: unknown field `lissen`, expected one of `listen`"),
            "{error}"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_with_its_line() {
        let error = Config::parse("[server]\n\nconnections_max = \"many\"\n").unwrap_err();

        assert!(error.starts_with("line 3: invalid type"), "{error}");
    }

    #[test]
    fn unsound_values_are_refused_by_name() {
        for (text, named) in [
            ("[server]\nconnections_max = 0", "connections_max"),
            ("[server]\nnames = []", "names"),
            ("[server]\npublic_url = \"ftp://hub\"", "public_url"),
            ("[server]\npage_max_bytes = 9999999", "page_max_bytes"),
            ("[ehr]\nbase_url = \"nothing\"", "base_url"),
            ("[store]\nconnections = 0", "connections"),
            ("[store]\npostgres = \"nowhere\"", "postgres"),
            ("[reference]\nrefresh_at = \"25:00\"", "refresh_at"),
            ("[matching]\nphone.same = { m = 2.0, u = 0.1 }", "phone"),
            ("[log]\nlevel = \"loud\"", "level"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
