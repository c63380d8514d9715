//! The line is cut: the page says so, work goes on, nothing is lost, and afterwards both sides hold the same.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::hl7_peer::RawMllp;
use tests::house::Target;
use tests::line::Condition;
use tests::people::{CLINIC_DAY, adt_a04};

use crate::world::{World, arrive, count, edit, patient_page, until_shown};

const TELLS: Duration = Duration::from_secs(5);
const CATCHES_UP: Duration = Duration::from_secs(30);

#[tokio::test]
async fn within_five_seconds_the_page_says_that_the_line_is_cut_and_then_that_it_is_back() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    let _open = desk.stay_open().await?;
    until_shown(&mut desk, "/banner", "Connected", CATCHES_UP).await?;

    world.line.cut().await?;
    until_shown(&mut desk, "/banner", "Cut off since", TELLS).await?;
    world.line.restore().await?;

    until_shown(&mut desk, "/banner", "Connected", CATCHES_UP).await?;
    Ok(())
}

#[tokio::test]
async fn a_line_that_swallows_everything_in_silence_is_noticed_too() -> Result<()> {
    let world = World::open(Target::Person).await?;
    world
        .until_status("the line to be connected", CATCHES_UP, |status| {
            status["line"] == "connected"
        })
        .await?;
    let mut desk = world.desk().await?;
    let _open = desk.stay_open().await?;

    world.line.set(Condition::Silent).await?;

    let noticed = world.until_status("the silence to be noticed", CATCHES_UP, |status| {
        status["line"] != "connected"
    });
    noticed.await?;
    arrive(&mut desk, &CLINIC_DAY[0]).await?;
    world.line.restore().await?;
    world.until_agreed().await?;
    Ok(())
}

#[tokio::test]
async fn with_the_line_cut_arrivals_edits_searches_moves_and_messages_go_on_and_the_outbox_counts_up() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    world.until_agreed().await?;
    world.line.cut().await?;
    world
        .until_status("the cut to be noticed", TELLS, |status| status["line"] == "cut off")
        .await?;
    let before = count(&world.status().await?, "/queue/waiting")?;

    let person = &CLINIC_DAY[8];
    let arrived = arrive(&mut desk, person).await?;
    let page = patient_page(&mut desk, person.family).await?;
    edit(&mut desk, &page, "email", "juergen@example.org").await?;
    let board = desk.open("/board").await?;
    let row = board.form_to("/visits/")?;
    let act = row
        .buttons
        .iter()
        .find(|(name, ..)| name == "act")
        .expect("a row with nothing to do")
        .1
        .clone();
    desk.submit(&row, &[("act", &act)]).await?;
    let mut peer = RawMllp::connect(world.mllp()?).await?;
    let (answer, _) = peer
        .send(adt_a04(&CLINIC_DAY[9], "T-CUT-1").as_bytes(), Duration::from_secs(5))
        .await?;

    assert!(!arrived.texts(".temp").is_empty(), "no TEMP number: {}", arrived.text());
    assert_eq!(answer.code(), "AA");
    assert!(
        patient_page(&mut desk, person.phone)
            .await?
            .text()
            .contains("juergen@example.org")
    );
    assert!(
        count(&world.status().await?, "/queue/waiting")? > before,
        "the outbox does not count up"
    );
    world.line.restore().await?;
    world.until_agreed().await?;
    Ok(())
}

#[tokio::test]
async fn kill_9_with_the_line_cut_loses_nothing_and_the_restart_takes_under_a_second() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    world.line.cut().await?;
    for person in &CLINIC_DAY[..3] {
        arrive(&mut desk, person).await?;
    }
    let before = world.status().await?;

    // What else a busy machine does may hold up one of them.
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        world.agent.kill9().await?;
        let began = Instant::now();
        world.agent.start().await?;
        fastest = fastest.min(began.elapsed());
    }

    let after = world.status().await?;
    assert_eq!(
        (&after["counter"], &after["incarnation"]),
        (&before["counter"], &before["incarnation"])
    );
    assert_eq!(count(&after, "/pending")?, count(&before, "/pending")?);
    let mut desk = world.desk().await?;
    let board = desk.open("/board").await?.text();
    for person in &CLINIC_DAY[..3] {
        assert!(board.contains(person.family), "{} is gone", person.family);
    }
    assert!(fastest < Duration::from_secs(1), "the restart took {fastest:?}");
    world.line.restore().await?;
    world.until_agreed().await?;
    Ok(())
}

#[tokio::test]
async fn a_reply_lost_after_the_hub_committed_makes_nothing_twice() -> Result<()> {
    let world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    world.until_agreed().await?;
    // An agent in the middle of a question would lose that answer, and greet the hub anew before it pushes anything.
    tests::until(CATCHES_UP, "the agent to do nothing but wait for news", async || {
        let exchanged = count(&world.status().await?, "/exchanged_ms")?;
        let now = u64::try_from(jiff::Timestamp::now().as_millisecond())?;
        Ok((now.saturating_sub(exchanged) > 3_000).then_some(()))
    })
    .await?;

    world.line.set(Condition::RepliesLost).await?;
    arrive(&mut desk, &CLINIC_DAY[10]).await?;
    let written = count(&world.status().await?, "/counter")?;
    tests::until(
        CATCHES_UP,
        "the hub to have accepted what it cannot answer",
        async || {
            let status = world.hub.answer(&["status", "--json"]).await?;
            Ok((count(&status, "/sites/0/accepted")? >= written).then_some(()))
        },
    )
    .await?;
    let unanswered = count(&world.status().await?, "/accepted")?;
    world.line.cut().await?;
    world.line.restore().await?;
    world.until_agreed().await?;

    assert!(unanswered < written, "the reply was not lost");
    assert!(world.line.passed().replies_lost > 0);
    assert_eq!(
        count(&world.hub.answer(&["status", "--json"]).await?, "/sites/0/accepted")?,
        written
    );
    let found = world
        .hub
        .answer(&["patient", "find", CLINIC_DAY[10].family, "--json"])
        .await?;
    assert_eq!(found.to_string().matches("\"patient\"").count(), 1, "{found}");
    Ok(())
}

#[tokio::test]
async fn a_hub_killed_in_the_middle_is_caught_up_with_when_it_is_back() -> Result<()> {
    let mut world = World::open(Target::Person).await?;
    let mut desk = world.desk().await?;
    arrive(&mut desk, &CLINIC_DAY[11]).await?;

    world.hub.kill9().await?;
    arrive(&mut desk, &CLINIC_DAY[12]).await?;
    world.hub.start().await?;

    world.until_agreed().await?;
    Ok(())
}
