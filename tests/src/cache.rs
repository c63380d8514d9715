//! Where `tests/prerequisites` put what is not built here. Refuses to install: it names the command that does.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

/// Kept in step with `tests/prerequisites`.
const HELIOS_HOME: &str = "helios-hfs-0.2.7";
const HL7_HOME: &str = "hl7-0.4.5";

fn cache() -> Result<PathBuf> {
    let named = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    named("MAINSTAY_CACHE")
        .or_else(|| Some(named("XDG_CACHE_HOME")?.join("mainstay")))
        .or_else(|| Some(named("HOME")?.join(".cache/mainstay")))
        .context("neither MAINSTAY_CACHE nor HOME is set")
}

fn in_cache(path: &str) -> Result<PathBuf> {
    let full = cache()?.join(path);
    ensure!(
        full.is_file(),
        "{} is missing; install it with tests/prerequisites",
        full.display()
    );
    Ok(full)
}

/// The FHIR server that stands in for the EHR.
pub fn helios_binary() -> Result<PathBuf> {
    in_cache(&format!("{HELIOS_HOME}/bin/hfs"))
}

/// The folder with the search parameters that server needs.
pub fn helios_definitions() -> Result<PathBuf> {
    in_cache(&format!("{HELIOS_HOME}/search-parameters-r4.json"))?;
    Ok(cache()?.join(HELIOS_HOME))
}

/// An HL7 sender that nobody here wrote.
pub fn mllp_send() -> Result<PathBuf> {
    in_cache(&format!("{HL7_HOME}/bin/mllp_send"))
}
