//! The engine of both ends under faults: the stories, some hundreds of seeds, and the wrong protocols that the checker
//! must catch. `cargo simulate` runs as many seeds as there is time for.

use tests::simulation::{Campaign, Findings, Plan, STORIES, Variant, run_plan, shrink};

fn tell(number: u32) {
    let Some(story) = STORIES.iter().find(|story| story.number == number) else {
        panic!("there is no story {number}");
    };
    if let Err(failure) = (story.tell)() {
        panic!("{}: {failure}", story.name);
    }
}

#[test]
fn a_clone_that_pulls_before_it_pushes_keeps_its_own_change() {
    tell(1);
}

#[test]
fn a_value_released_from_quarantine_does_not_undo_what_replaced_it() {
    tell(2);
}

#[test]
fn a_change_pushed_again_after_a_rebirth_does_not_stay_pending() {
    tell(3);
}

#[test]
fn allergies_added_by_an_agent_and_its_clone_are_both_active() {
    tell(15);
}

#[test]
fn the_last_agreed_birth_date_is_shown_until_a_person_decides() {
    tell(16);
}

#[test]
fn a_repeated_message_does_not_undo_a_correction() {
    tell(17);
}

#[test]
fn a_quarantine_whose_reply_was_lost_is_told_again() {
    tell(18);
}

fn run(first: u64, seeds: u64, variant: Option<Variant>) -> Findings {
    let campaign = Campaign {
        first,
        seeds,
        variant,
        threads: 2,
        to_the_end: false,
    };
    campaign.run(|_| ())
}

#[test]
fn four_hundred_seeds_break_nothing() {
    let findings = run(1, 400, None);

    if let Some(caught) = findings.caught.first() {
        panic!(
            "seed {} broke {}; replay: cargo simulate --seeds 1 --seed-start {0}",
            caught.seed, caught.failure
        );
    }
    assert!(
        findings.tally.runs == 400 && findings.tally.faults.len() >= 12,
        "{:?}",
        findings.tally
    );
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let [once, again, other] = [7, 7, 8].map(|seed| run_plan(&Plan::of(seed), None, true));

    assert_eq!((once.trace_hash, &once.trace), (again.trace_hash, &again.trace));
    assert_ne!(once.trace_hash, other.trace_hash);
}

fn must_be_caught(variant: Variant) {
    let findings = run(1, 4_000, Some(variant));

    let Some(caught) = findings.caught.first() else {
        panic!("{variant} was not caught by {} seeds", findings.tally.runs);
    };
    let plan = Plan::of(caught.seed);
    let shorter = shrink(&plan, Some(variant), caught.failure.invariant);
    assert!(
        shorter.steps.len() < plan.steps.len(),
        "{} steps were not shrunk",
        plan.steps.len()
    );
    assert_eq!(
        run_plan(&plan, None, false).failure,
        None,
        "the honest protocol passes the same seed"
    );
}

#[test]
fn an_agent_that_is_never_reborn_is_caught() {
    must_be_caught(Variant::NoRebirth);
}

#[test]
fn removal_by_version_vector_is_caught() {
    must_be_caught(Variant::RemovalByVersionVector);
}

#[test]
fn naming_what_is_present_instead_of_what_was_shown_is_caught() {
    must_be_caught(Variant::PresentInsteadOfShown);
}
