//! One test's world: a house in a temporary folder, and the things people do in it.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::house::{House, Target};
use tests::page::{Arrival, Page, View};
use tests::people::Person;
use tests::process::Binaries;
use tests::until;

/// The house and its folder.
pub(crate) struct World {
    // Ended before its folder goes.
    house: House,
    folder: Option<tempfile::TempDir>,
}

impl World {
    pub(crate) async fn open(target: Target) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("mainstay-test-").tempdir()?;
        let house = House::open(folder.path(), Binaries::find()?, target).await?;
        Ok(Self {
            house,
            folder: Some(folder),
        })
    }

    /// A file that `mllp_send --loose` can send.
    pub(crate) fn message_file(&self, name: &str, message: &str) -> Result<PathBuf> {
        let file = self.folder().join(name);
        std::fs::write(&file, message.replace('\r', "\n"))?;
        Ok(file)
    }
}

impl Deref for World {
    type Target = House;

    fn deref(&self) -> &House {
        &self.house
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut House {
        &mut self.house
    }
}

impl Drop for World {
    /// Says what the programs said, which a runner shows when the test failed. `MAINSTAY_KEEP=1` keeps the folder.
    #[expect(clippy::print_stdout, reason = "a test's output is shown only when it fails")]
    fn drop(&mut self) {
        for (name, service) in [("agent", &self.house.agent), ("hub", &self.house.hub)] {
            let said = service.running().map(|running| running.said()).unwrap_or_default();
            println!("the {name} said: {said}");
        }
        if std::env::var_os("MAINSTAY_KEEP").is_some()
            && let Some(folder) = self.folder.take()
        {
            println!("kept: {}", folder.keep().display());
        }
    }
}

/// Opens a page until it shows `words`.
pub(crate) async fn until_shown(desk: &mut Page, path: &str, words: &str, patience: Duration) -> Result<View> {
    let what = format!("{path} to show {words:?}");
    let mut last = String::new();
    let found = until(patience, &what, async || {
        let view = desk.open(path).await?;
        last = view.text();
        Ok(last.contains(words).then_some(view))
    })
    .await;
    found.with_context(|| format!("it shows: {last}"))
}

/// The page of the one patient a search finds.
pub(crate) async fn patient_page(desk: &mut Page, words: &str) -> Result<View> {
    let found = desk.find(words).await?;
    let links = found.attributes("a[href^='/patients/']", "href");
    let [link] = links.as_slice() else {
        anyhow::bail!("{words:?} finds {} patients: {}", links.len(), found.text())
    };
    desk.open(link).await
}

/// The id of the record a patient's page is about.
pub(crate) fn patient_id(page: &View) -> Result<String> {
    let id = page
        .path
        .strip_prefix("/patients/")
        .context("this is no patient's page")?;
    Ok(id.split(['?', '#']).next().unwrap_or(id).to_owned())
}

/// The number on the label that the page of an arrival gives.
pub(crate) fn temp_number(arrived: &View) -> Result<String> {
    let numbers = arrived.texts(".temp");
    Ok(numbers.first().context("no TEMP number was given")?.trim().to_owned())
}

/// Arrives one of the made-up people at the desk.
pub(crate) async fn arrive(desk: &mut Page, person: &Person) -> Result<View> {
    let name = person.last_first();
    let arrival = Arrival {
        name: &name,
        birth_date: person.birth_date,
        reason: person.reason,
        phone: Some(person.phone),
    };
    let answered = desk.arrive_new(arrival).await?;
    anyhow::ensure!(
        answered.status == 200,
        "the arrival was answered {}: {}",
        answered.status,
        answered.text()
    );
    Ok(answered)
}

/// Saves one field on a patient's page, from the form as it was shown.
pub(crate) async fn edit(desk: &mut Page, shown: &View, field: &str, value: &str) -> Result<View> {
    let form = shown.form_to(&format!("/patients/{}/edit", patient_id(shown)?))?;
    let saved = desk.submit(&form, &[(field, value)]).await?;
    anyhow::ensure!(
        saved.status == 200,
        "the edit was answered {}: {}",
        saved.status,
        saved.text()
    );
    Ok(saved)
}

/// A count in the status, or in one of its parts: `count(&status, "/queue/waiting")`.
pub(crate) fn count(status: &Value, pointer: &str) -> Result<u64> {
    status
        .pointer(pointer)
        .and_then(Value::as_u64)
        .with_context(|| format!("the status has no {pointer}: {status}"))
}
