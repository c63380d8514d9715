//! A made-up day at an urgent-care clinic, brought in as a real one comes: some people by the EHR's HL7 feed, some typed
//! in at the front desk, most of them moved on, one result from the laboratory.
//!
//! Writes only through the page and MLLP. Refuses to touch any store.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::hl7_peer::RawMllp;
use crate::page::{Arrival, Page, View};
use crate::people::{CLINIC_DAY, Person, adt_a04, oru_r01};

const ACK_PATIENCE: Duration = Duration::from_secs(5);
/// How many of the day's people have come by the time the demo is looked at; the rest come later.
const HERE_ALREADY: usize = 12;

/// A day under way.
pub struct ClinicDay {
    page: Page,
    mllp: SocketAddr,
    come: usize,
    turn: usize,
}

impl ClinicDay {
    /// `page` is signed in.
    pub fn begin(page: Page, mllp: SocketAddr) -> Self {
        Self {
            page,
            mllp,
            come: 0,
            turn: 0,
        }
    }

    /// Everything up to now: twelve people here, the earlier ones further on.
    pub async fn until_now(&mut self) -> Result<()> {
        for _ in 0..HERE_ALREADY {
            self.next_arrival().await?;
        }
        let board = self.page.open("/board").await?;
        let visits = board.attributes("tr.visit", "id");
        // The first came longest ago and are furthest on.
        for (place, visit) in visits.iter().enumerate() {
            for _ in 0..(visits.len() - place) / 3 {
                self.move_on(visit).await?;
            }
        }
        // Of somebody the feed brought, since a result is matched by number.
        self.result_for(&CLINIC_DAY[1]).await
    }

    /// One more thing happens: somebody comes, or somebody moves on. Nothing is left to happen when all have gone.
    pub async fn something_happens(&mut self) -> Result<()> {
        self.turn += 1;
        if self.turn.is_multiple_of(3) && self.come < CLINIC_DAY.len() {
            return self.next_arrival().await;
        }
        let visits = self.page.open("/board").await?.attributes("tr.visit", "id");
        match visits.get(self.turn % visits.len().max(1)) {
            Some(visit) => self.move_on(visit).await,
            None => Ok(()),
        }
    }

    async fn next_arrival(&mut self) -> Result<()> {
        let person = CLINIC_DAY.get(self.come).context("all have come")?;
        // Two of three are known to the EHR's feed; every third walks in.
        if self.come.is_multiple_of(3) {
            self.walk_in(person).await?;
        } else {
            self.send(&adt_a04(person, &format!("DAY-A04-{:03}", self.come)))
                .await?;
        }
        self.come += 1;
        Ok(())
    }

    async fn walk_in(&mut self, person: &Person) -> Result<()> {
        let Person {
            birth_date,
            reason,
            phone,
            ..
        } = *person;
        let name = person.last_first();
        let arrival = Arrival {
            name: &name,
            birth_date,
            reason,
            phone: Some(phone),
        };
        let answered = self.page.arrive_new(arrival).await?;
        ensure!(
            answered.status == 200,
            "the arrival was answered {}: {}",
            answered.status,
            answered.text()
        );
        Ok(())
    }

    async fn result_for(&self, person: &Person) -> Result<()> {
        self.send(&oru_r01(person, "DAY-R01-001", "112")).await
    }

    async fn send(&self, message: &str) -> Result<()> {
        let mut peer = RawMllp::connect(self.mllp).await?;
        let (answer, _) = peer.send(message.as_bytes(), ACK_PATIENCE).await?;
        ensure!(
            answer.code() == "AA",
            "the message was answered {}: {}",
            answer.code(),
            answer.field("ERR", 8)
        );
        Ok(())
    }

    /// Presses the row's first button, as somebody going down the board does; a row that offers none has ended.
    async fn move_on(&mut self, visit: &str) -> Result<()> {
        let board = self.page.open("/board").await?;
        if let Some((form, act)) = next_act(&board, visit.trim_start_matches("visit-"))? {
            self.page.submit(&form, &[("act", &act)]).await?;
        }
        Ok(())
    }
}

fn next_act(board: &View, visit: &str) -> Result<Option<(crate::page::Form, String)>> {
    let Ok(form) = board.form_to(&format!("/visits/{visit}/move")) else {
        return Ok(None);
    };
    let act = form
        .buttons
        .iter()
        .find(|(name, ..)| name == "act")
        .map(|(_, value, _)| value.clone());
    Ok(Some((form, act.context("a row offers a form without an act")?)))
}
