//! The engine of both ends under faults: the stories, some hundreds of seeds, and the wrong protocols that the checker
//! must catch. `cargo simulate` runs as many seeds as there is time for.

use tests::simulation::{
    Backing, Campaign, Findings, Invariant, Mode, Net, Plan, STORIES, Setup, Transition, Variant, run_plan, run_seed,
    shrink,
};

/// A variant that random runs catch is caught within so many seeds, most within a few.
const SEEDS_MAX: u64 = 4_000;

#[test]
fn every_story_ends_as_it_must() {
    let failures: Vec<String> = STORIES
        .iter()
        .filter_map(|story| {
            let failure = (story.tell)(Setup::honest()).err()?;
            Some(format!("{} ({}): {failure}", story.number, story.name))
        })
        .collect();

    assert_eq!(failures, Vec::<String>::new());
}

fn run(first: u64, seeds: u64, setup: Setup) -> Findings {
    let campaign = Campaign {
        first,
        seeds,
        setup,
        threads: 2,
        to_the_end: false,
    };
    campaign.run(|_| ())
}

#[test]
fn four_hundred_seeds_break_nothing_and_see_every_transition() {
    let findings = run(1, 400, Setup::honest());

    if let Some(caught) = findings.caught.first() {
        panic!(
            "seed {} broke {}; replay: cargo simulate --seeds 1 --seed-start {0}",
            caught.seed, caught.failure
        );
    }
    let tally = findings.tally;
    assert!(tally.safety_runs > 50 && tally.liveness_runs > 200 && tally.faults.len() >= 20);
    let unseen: Vec<_> = Transition::ALL
        .iter()
        .filter(|taken| !tally.taken.contains_key(*taken))
        .collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

/// Agents' real stores, on disks that lose power, fill up, lose syncs and turn bits over.
#[test]
fn twelve_seeds_on_disks_that_fail_break_nothing() {
    let setup = Setup {
        store: Backing::Sqlite,
        ..Setup::honest()
    };

    let findings = run(1, 12, setup);

    if let Some(caught) = findings.caught.first() {
        panic!(
            "seed {} broke {}; replay: cargo simulate --store sqlite --seeds 1 --seed-start {0}",
            caught.seed, caught.failure
        );
    }
    let checked = |invariant| findings.tally.checks.get(&invariant).copied().unwrap_or(0);
    assert!(checked(Invariant::StoreAsModel) > 100 && checked(Invariant::SurvivesPowerCut) > 5);
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let setup = Setup::honest();
    let [once, again, other] = [7, 7, 8].map(|seed| run_plan(&Plan::of(seed, setup), setup, true));

    assert_eq!((once.trace_hash, &once.trace), (again.trace_hash, &again.trace));
    assert_ne!(once.trace_hash, other.trace_hash);
}

#[test]
fn every_wrong_protocol_is_caught_by_what_it_breaks() {
    let mut missed = Vec::new();
    for variant in Variant::ALL {
        let setup = Setup::of(*variant);
        let broken = match variant.net() {
            Net::Seeds => run(1, SEEDS_MAX, setup)
                .caught
                .first()
                .map(|caught| caught.failure.invariant),
            Net::Story(number) => {
                let story = STORIES.iter().find(|story| story.number == number);
                story
                    .and_then(|story| (story.tell)(setup).err())
                    .map(|failure| failure.invariant)
            }
        };
        if broken != Some(variant.breaks()) {
            missed.push((variant.name(), broken));
        }
    }

    assert_eq!(missed, Vec::new());
}

#[test]
fn a_failing_run_is_made_shorter_and_the_honest_protocol_passes_it() {
    let setup = Setup::of(Variant::NoRebirth);
    let findings = run(1, SEEDS_MAX, setup);
    let caught = findings.caught.first().expect("the variant is caught");
    let plan = Plan::of(caught.seed, setup);

    let shorter = shrink(&plan, setup, caught.failure.invariant);

    assert!(shorter.steps.len() < plan.steps.len());
    assert_eq!(run_seed(caught.seed, Setup::honest()).failure, None);
}

#[test]
fn a_quarter_of_the_seeds_never_heal() {
    let modes = (1..=400).map(|seed| Plan::of(seed, Setup::honest()).mode);
    let safety = modes.filter(|mode| *mode == Mode::Safety).count();

    assert!((60..=140).contains(&safety), "{safety}");
}
