//! Tasks at a partner.

use super::super::delivery::{Key, Standing, key_of};
use super::*;

/// A visit that somebody was brought to a room in, which a partner is to hear of.
fn with_task(setup: Setup) -> Checked<(World, Key)> {
    let (mut world, _) = clinic(setup, Topology::OneSite)?;
    let site = world.sites[0];
    let visit = world.new_record(VISIT, site);
    let roomed = Wish::element(records::STATUS, Act::Assert, Raw::int(2), &[]);
    let change = world.edit(A, visit, VISIT, &roomed)?;
    world.exchange(0)?;
    let head = world.agents[0].disk.store.head;
    let dot = sync_protocol::Dot {
        replica: head.replica,
        counter: head.counter,
    };
    let key = change.map(|change| key_of(change, dot, setup.variant));
    let task = key.filter(|key| world.hub.tasks.contains_key(key));
    let task = task.ok_or_else(|| Failure::new(Invariant::TaskOnce, "the change made no task"))?;
    Ok((world, task))
}

pub(super) fn a_partner_that_commits_and_is_not_heard(setup: Setup) -> Result<(), Failure> {
    // The lease is taken, the partner commits, the hub crashes; the lease is taken again.
    let (mut world, task) = with_task(setup)?;
    world.attempt_and_lose_the_reply(&task)?;
    world.finish_tasks()?;

    // The same, and the site takes it back in between: it must not be told that it is withdrawn.
    let (world, task) = with_task(setup)?;
    taken_back_too_late(world, &task)?;

    // The same, and the hub is put back to a copy of before.
    let (mut world, task) = with_task(setup)?;
    world.copy_hub();
    world.attempt_and_lose_the_reply(&task)?;
    world.restore_hub()?;
    taken_back(world, &task)?;

    // "Never pushed" is not known while a reply may have been lost: the site's own store says that the hub has nothing of it.
    let (mut world, _) = clinic(setup, Topology::OneSite)?;
    let site = world.sites[0];
    let visit = world.new_record(VISIT, site);
    let roomed = Wish::element(records::STATUS, Act::Assert, Raw::int(2), &[]);
    world.edit(A, visit, VISIT, &roomed)?;
    world.push_and_lose_the_reply(0)?;
    let head = world.agents[0].disk.store.head;
    hold(Invariant::TaskOnce, head.accepted < head.counter, || {
        "the site has heard of what it pushed".to_owned()
    })?;
    let task = world.hub.tasks.keys().next().cloned();
    let task = task.ok_or_else(|| Failure::new(Invariant::TaskOnce, "the change made no task"))?;
    taken_back_too_late(world, &task)
}

/// A partner does a task and is not heard, and the site takes it back then.
fn taken_back_too_late(mut world: World, task: &Key) -> Checked<()> {
    world.attempt_and_lose_the_reply(task)?;
    taken_back(world, task)
}

fn taken_back(mut world: World, task: &Key) -> Checked<()> {
    let mut rng = Rng::seeded(1);
    world.withdraw_task(&mut rng, &Rates::default())?;
    let standing = world.hub.tasks.get(task).map(|task| task.standing);
    hold(Invariant::TaskOnce, standing != Some(Standing::Withdrawn), || {
        "a task was confirmed as withdrawn that the partner has done".to_owned()
    })?;
    world.heal_and_check()?;
    world.finish_tasks()
}
