//! Many at once: hub processes, changes behind a bad one, clocks, sites after a restart.

use std::time::Duration;

use sync_protocol::pause::{After, Pacing};
use sync_protocol::{STATE_HELD_MAX_BYTES, rules};

use super::*;

pub(super) fn slow_against_fast(setup: Setup) -> Result<(), Failure> {
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    let slow = world.write(A, patient, PHONE, "602-555-0111")?;
    let Some(request) = world.send_push(0, 4_000)? else {
        return Ok(());
    };
    world.network.clear();
    world.take_up(0, request);
    let fast = world.write(B, patient, EMAIL, "ada@example.org")?;
    world.exchange(1)?;

    let Some(push) = world.slow.pop() else { return Ok(()) };
    world.commit_push(push, Crash::Never)?;
    world.network.clear();
    world.exchange(1)?;

    world.heal_and_check()?;
    world.expect_live(patient, PHONE, &[slow])?;
    world.expect_live(patient, EMAIL, &[fast])
}

pub(super) fn poison_in_front(setup: Setup) -> Result<(), Failure> {
    const GOOD: usize = 500;
    let (mut world, patient) = clinic(setup, Topology::OneSite)?;
    let newer = Wish {
        fields: vec![(PHONE, records::of_newer_form(1, 1))],
        elements: Vec::new(),
    };
    world.edit(A, patient, PATIENT, &newer)?;
    let site = world.sites[0];
    let visits: Vec<RecordId> = (0..10).map(|_| world.new_record(VISIT, site)).collect();
    for at in 0..GOOD {
        let wish = Wish::field(REASON, &format!("reason {at}"));
        world.edit(A, visits[at % visits.len()], VISIT, &wish)?;
    }
    let before = world.hub.store.arrivals.len();

    world.exchange(0)?;

    let quarantined = world.hub.store.quarantined().len();
    let arrived = world.hub.store.arrivals.len() - before;
    hold(
        Invariant::QuarantineIsAdmission,
        (quarantined, arrived) == (1, GOOD + 1),
        || format!("{arrived} changes arrived behind one that cannot be used, {quarantined} were set apart"),
    )?;
    world.heal_and_check()
}

pub(super) fn a_record_that_is_full(setup: Setup) -> Result<(), Failure> {
    /// Nearly as long as one may be, and as badly to pack as text can be: half as much again as a record may hold.
    const STATEMENTS_EACH: usize = 75;
    let (mut world, patient) = clinic(setup, Topology::TwoSites)?;
    let site = world.sites[0];
    let allergy = world.new_record(ALLERGY, site);
    world.assert_allergy(A, allergy, "penicillin")?;
    world.exchange(0)?;
    world.exchange(1)?;
    world.copy_hub();
    for writer in [A, B] {
        for _ in 0..STATEMENTS_EACH {
            let long: String = (0..1_900)
                .map(|_| char::from(b' ' + world.rng.below(95) as u8))
                .collect();
            world.assert_allergy(writer, allergy, &long)?;
        }
    }
    let phone = world.write(A, patient, PHONE, "602-555-0115")?;
    let email = world.write(B, patient, EMAIL, "ada@example.org")?;

    // The second time the hub has lost it, and is given it back.
    for _ in 0..2 {
        world.come_to_rest()?;
        world.check_at_rest(false)?;
        world.expect_live(patient, PHONE, &[phone])?;
        world.expect_live(patient, EMAIL, &[email])?;
        let apart = world.hub.store.quarantined().len();
        let bytes = world.hub.store.states.get(&allergy).map(|state| state.to_bytes().len());
        hold(Invariant::EngineSound, apart > 0 && apart < STATEMENTS_EACH, || {
            format!("{apart} of {} statements were set apart", 2 * STATEMENTS_EACH)
        })?;
        hold(
            Invariant::EngineSound,
            bytes.is_some_and(|bytes| bytes <= STATE_HELD_MAX_BYTES),
            || format!("the record holds {bytes:?} bytes"),
        )?;
        expect_active(&world, allergy, true)?;
        world.restore_hub()?;
    }
    Ok(())
}

pub(super) fn clocks_far_apart(setup: Setup) -> Result<(), Failure> {
    const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 3_600 * 1_000;
    let (mut world, patient) = clinic(setup, Topology::TwoSites)?;
    world.agents[0].skew_ms = -3 * 60 * 1_000;
    world.agents[1].skew_ms = TEN_YEARS_MS;
    world.write(B, patient, PHONE, "602-555-0112")?;
    world.exchange(1)?;
    world.exchange(0)?;

    // Whoever saw the other's value replaces it, whatever the clocks say.
    let corrected = world.write(A, patient, PHONE, "602-555-0113")?;
    let fast = world.write(B, patient, EMAIL, "fast@example.org")?;
    world.now_ms += 60_000;
    let slow = world.write(A, patient, EMAIL, "slow@example.org")?;
    let mail = [slow, fast];
    world.heal_and_check()?;

    world.expect_live(patient, PHONE, &[corrected])?;
    world.expect_live(patient, EMAIL, &mail)?;
    // Between those who did not see each other the later one counts, by a clock that is right.
    for writer in [A, B] {
        let shown = world.view(writer, patient);
        let latest = shown.and_then(|state| rules::latest(state.register(EMAIL)?).map(|(id, _)| *id));
        hold(Invariant::EffectEqualsOracle, latest == Some(slow), || {
            format!("the later of two values is {slow:?}, shown is {latest:?}")
        })?;
    }
    let ahead = world.agents[0].disk.clock.last.wall_ms.saturating_sub(world.now_ms);
    hold(Invariant::EffectEqualsOracle, ahead <= 2_000, || {
        format!("a remote time moved the slow clock {ahead} ms ahead")
    })
}

pub(super) fn a_thousand_sites_after_a_restart(setup: Setup) -> Result<(), Failure> {
    const SITES: usize = 1_000;
    const WINDOW_SECS: u64 = 120;
    /// Four times the mean, which full jitter over the window keeps to.
    const PER_SECOND_MAX: usize = 4 * SITES / WINDOW_SECS as usize;
    let mut world = World::with_sites(SITES, SITES, 1, setup, false);
    let sites = world.sites.clone();
    for (agent, site) in sites.into_iter().enumerate() {
        let visit = world.new_record(VISIT, site);
        world.edit(Writer::Agent(agent), visit, VISIT, &Wish::field(REASON, "walk-in"))?;
        world.send_push(agent, 4_000)?;
    }
    // The hub restarts: what was under way is lost, and every site comes back when an agent does that was told its window.
    world.network.clear();
    let pacing = Pacing {
        backoff_max: Duration::from_secs(60),
        window: Duration::from_secs(WINDOW_SECS),
    };
    let mut back: Vec<(u64, usize)> = (0..SITES)
        .map(|agent| {
            let pause = pacing.pause(After::Failure, 1, |below| world.rng.below(below));
            (pause.as_millis() as u64, agent)
        })
        .collect();
    back.sort_unstable();
    let mut seconds = vec![0usize; WINDOW_SECS as usize];
    for (at_ms, agent) in back {
        let second = seconds.get_mut((at_ms / 1_000) as usize);
        let in_window = second.map(|second| *second += 1).is_some();
        hold(Invariant::ComesToRest, in_window, || {
            format!("a site came back only after {at_ms} ms")
        })?;
        world.send_push(agent, 4_000)?;
        world.settle_line(agent)?;
        world.send_pull(agent, 4_000, false)?;
        world.settle_line(agent)?;
    }

    let worst = seconds.into_iter().max().unwrap_or(0);
    hold(Invariant::ComesToRest, worst <= PER_SECOND_MAX, || {
        format!("{worst} sites came back within one second")
    })?;
    let unsent = world
        .agents
        .iter()
        .filter(|agent| agent.disk.store.unsettled().count() > 0)
        .count();
    hold(Invariant::NothingLost, unsent == 0, || {
        format!("{unsent} sites still have something pending")
    })
}
