//! `cargo simulate`: runs the engine of both ends through stories and seeds, and says what broke and how to see it again.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use serde_json::{Value, json};
use tests::simulation::{
    Backing, Campaign, Caught, Failure, Fault, Faults, Findings, Invariant, Net, Plan, STEPS, STORIES, Setup, Story,
    Tally, Transition, Variant, run_plan, shrink,
};

/// Runs the sync engine through faults by the thousand and checks that nothing is lost.
///
/// Agents and a hub run the real engine. A seed decides who writes what, from forms fresh and
/// stale, and what goes wrong: --list names every fault. A quarter of the seeds run for safety:
/// faults without end, and what must never happen does not. The others run for liveness: the
/// faults stop, everything comes to rest within a bounded number of rounds, and is as an oracle
/// says that knows only what each writer saw and wrote.
///
/// The stories (named failures that the design was learnt from) run first, then the seeds.
///
/// Examples:
///   cargo simulate --seeds 20000                        stories and 20,000 seeds
///   cargo simulate --store sqlite --seeds 200           agents' real stores, on disks that fail
///   cargo simulate --seeds 50000 --seed-start 1000000   other seeds
///   cargo simulate --seeds 1000 --faults clone,restore  some of the faults alone
///   cargo simulate --seeds 1 --seed-start 4711 --trace  one run, told step by step
///   cargo simulate --seeds 4000 --variant no-rebirth    a wrong protocol, which must be caught
///   cargo simulate --list                               all there is to name
///
/// Exit code: 0 when everything held; 1 when something broke, with --variant when the variant was
/// caught; 2 for a command that cannot be understood.
#[derive(Parser)]
#[command(name = "simulate", verbatim_doc_comment)]
struct Options {
    /// How many seeds to run
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed_start: u64,
    /// Where agents keep what they know: memory, or sqlite, which is their real store on a disk that fails
    #[arg(long, default_value = "memory")]
    store: Backing,
    /// Only these faults, by name and with commas between them; all unless given
    #[arg(long, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// A wrong protocol to run instead of ours
    #[arg(long)]
    variant: Option<Variant>,
    /// Go on after a failure and count how many seeds fail, by which invariant
    #[arg(long)]
    keep_going: bool,
    /// Threads; all cores unless given
    #[arg(long)]
    threads: Option<usize>,
    /// Print the whole trace of the first seed, and run no other
    #[arg(long)]
    trace: bool,
    /// Print one JSON object at the end instead of text
    #[arg(long)]
    json: bool,
    /// List stories, variants, faults, invariants, transitions and steps, and run nothing
    #[arg(long)]
    list: bool,
}

impl Options {
    fn setup(&self) -> Setup {
        Setup {
            variant: self.variant,
            store: self.store,
            faults: if self.faults.is_empty() {
                Faults::all()
            } else {
                Faults::some(&self.faults)
            },
        }
    }
}

/// Standard output belongs to this program's user.
#[expect(clippy::print_stdout, reason = "a command that prints its findings")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "progress, apart from what a script reads")]
fn note(line: &str) {
    eprintln!("{line}");
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if options.list {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    if options.trace {
        return Ok(trace(&options));
    }
    if let Some(Net::Story(number)) = options.variant.map(Variant::net) {
        return Ok(tell_to_variant(&options, number));
    }
    if options.variant.is_none() && !tell_stories(&options) {
        return Ok(ExitCode::FAILURE);
    }
    let started = Instant::now();
    let findings = run_seeds(&options);
    let seconds = started.elapsed().as_secs_f64();
    report(&options, &findings, seconds);
    Ok(if findings.caught.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn list() {
    say("Stories:");
    for Story { number, name, says, .. } in STORIES {
        say(&format!("  {number:>3}  {name}: {says}"));
    }
    say("\nVariants, each a wrong protocol that must be caught (--variant NAME):");
    for variant in Variant::ALL {
        let by = match variant.net() {
            Net::Seeds => String::new(),
            Net::Story(number) => format!(" in story {number}"),
        };
        say(&format!(
            "  {:<28} {} (breaks{by}: {})",
            variant.name(),
            variant.says(),
            variant.breaks()
        ));
    }
    say("\nFaults (--faults NAME,NAME):");
    Fault::ALL
        .iter()
        .for_each(|fault| say(&format!("  {:<11} {}", fault.name(), fault.says())));
    say("\nInvariants:");
    Invariant::ALL
        .iter()
        .for_each(|invariant| say(&format!("  {:<24} {invariant}", format!("{invariant:?}"))));
    say("\nTransitions, of which every campaign should see every one:");
    Transition::ALL
        .iter()
        .for_each(|taken| say(&format!("  {:<24} {}", format!("{taken:?}"), taken.says())));
    say("\nSteps, with their weights:");
    STEPS
        .iter()
        .for_each(|(what, weight, says)| say(&format!("  {:<11} {weight:>2}  {says}", format!("{what:?}"))));
}

fn trace(options: &Options) -> ExitCode {
    let setup = options.setup();
    let plan = Plan::of(options.seed_start, setup);
    let run = run_plan(&plan, setup, true);
    say(&format!(
        "seed {} for {}",
        plan.seed,
        format!("{:?}", plan.mode).to_lowercase()
    ));
    run.trace.iter().for_each(|line| say(line));
    say(&format!("trace {:016x}", run.trace_hash));
    if run.failure.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// A variant that only a story catches.
fn tell_to_variant(options: &Options, number: u32) -> ExitCode {
    let (setup, story) = (options.setup(), STORIES.iter().find(|story| story.number == number));
    let failure: Option<Failure> = story.and_then(|story| (story.tell)(setup).err());
    let name = options.variant.map_or("", Variant::name);
    if options.json {
        let caught = failure.as_ref().map(|failure| {
            json!({
                "story": number, "invariant": failure.invariant.to_string(), "detail": failure.detail,
            })
        });
        say(&json!({ "variant": name, "failed": u8::from(failure.is_some()), "first_failure": caught }).to_string());
    } else if let Some(failure) = &failure {
        say(&format!(
            "{name} was caught, as it must be, by story {number}\ninvariant: {failure}"
        ));
    } else {
        say(&format!("{name} was NOT caught by story {number}"));
    }
    if failure.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn tell_stories(options: &Options) -> bool {
    let setup = Setup {
        store: options.store,
        ..Setup::honest()
    };
    let failures: Vec<_> = STORIES
        .iter()
        .filter_map(|story| Some((story, (story.tell)(setup).err()?)))
        .collect();
    if options.json && !failures.is_empty() {
        let told = failures.iter().map(|(story, failure)| {
            json!({
                "story": story.number, "invariant": failure.invariant.to_string(), "detail": failure.detail,
            })
        });
        say(&json!({ "stories_failed": told.collect::<Vec<_>>() }).to_string());
    }
    for (story, failure) in &failures {
        note(&format!("story {} ({}) failed: {failure}", story.number, story.name));
    }
    if failures.is_empty() && !options.json {
        say(&format!("{} stories hold", STORIES.len()));
    }
    failures.is_empty()
}

fn run_seeds(options: &Options) -> Findings {
    let threads = options
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let campaign = Campaign {
        first: options.seed_start,
        seeds: options.seeds,
        setup: options.setup(),
        threads,
        to_the_end: options.keep_going,
    };
    let every = if std::io::stderr().is_terminal() { 500 } else { 5_000 };
    let (started, quiet) = (Instant::now(), options.json);
    campaign.run(|done| {
        if done.is_multiple_of(every) && !quiet {
            note(&format!(
                "{done} of {} seeds after {:.0} s",
                options.seeds,
                started.elapsed().as_secs_f64()
            ));
        }
    })
}

fn report(options: &Options, findings: &Findings, seconds: f64) {
    if options.json {
        say(&as_json(options, findings, seconds).to_string());
        return;
    }
    let tally = &findings.tally;
    say(&format!(
        "{} runs, {} steps in {seconds:.1} s: {:.0} runs and {:.0} steps a second",
        tally.runs,
        tally.steps,
        tally.runs as f64 / seconds,
        tally.steps as f64 / seconds
    ));
    say(&format!(
        "safety (faults without end): {} runs; liveness (faults stop): {} runs, at rest after at most {} rounds",
        tally.safety_runs, tally.liveness_runs, tally.rounds_max
    ));
    counts("faults", tally.faults.iter().map(|(name, n)| ((*name).to_owned(), *n)));
    counts(
        "beside them",
        tally.events.iter().map(|(name, n)| ((*name).to_owned(), *n)),
    );
    counts(
        "checks",
        tally.checks.iter().map(|(invariant, n)| (invariant.to_string(), *n)),
    );
    coverage(tally);
    if findings.caught.len() > 1 {
        say(&format!("{} of {} seeds failed", findings.caught.len(), tally.runs));
        counts(
            "failures",
            findings
                .by_invariant()
                .iter()
                .map(|(invariant, n)| (invariant.to_string(), *n)),
        );
    }
    match (findings.caught.first(), options.variant) {
        (Some(caught), Some(variant)) => {
            say(&format!("{variant} was caught, as it must be: {}", variant.says()));
            say(&story_of(options, caught));
        }
        (Some(caught), None) => say(&story_of(options, caught)),
        (None, Some(variant)) => say(&format!("{variant} was NOT caught")),
        (None, None) => say("all invariants hold"),
    }
}

fn coverage(tally: &Tally) {
    let times = |taken: &Transition| tally.taken.get(taken).copied().unwrap_or(0);
    let seen = Transition::ALL.iter().filter(|taken| times(taken) > 0).count();
    let steps = STEPS
        .iter()
        .filter(|(what, _, _)| tally.steps_of.contains_key(what))
        .count();
    counts(
        &format!(
            "transitions: {seen} of {}, by {steps} of {} kinds of step",
            Transition::ALL.len(),
            STEPS.len()
        ),
        Transition::ALL
            .iter()
            .map(|taken| (taken.says().to_owned(), times(taken))),
    );
}

fn counts(title: &str, counts: impl Iterator<Item = (String, u64)>) {
    say(&format!("{title}:"));
    counts.for_each(|(name, n)| say(&format!("  {n:>9}  {name}")));
}

fn replay(options: &Options, seed: u64) -> String {
    let variant = options
        .variant
        .map_or_else(String::new, |variant| format!(" --variant {variant}"));
    let names: Vec<&str> = options.faults.iter().map(|fault| fault.name()).collect();
    let faults = if names.is_empty() {
        String::new()
    } else {
        format!(" --faults {}", names.join(","))
    };
    let store = match options.store {
        Backing::Memory => "",
        Backing::Sqlite => " --store sqlite",
    };
    format!("cargo simulate --seeds 1 --seed-start {seed}{store}{faults}{variant} --trace")
}

/// A failure, with the shortest trace that still shows it.
fn story_of(options: &Options, caught: &Caught) -> String {
    let setup = options.setup();
    let plan = Plan::of(caught.seed, setup);
    let shorter = shrink(&plan, setup, caught.failure.invariant);
    let run = run_plan(&shorter, setup, true);
    let failure = run.failure.as_ref().unwrap_or(&caught.failure);
    format!(
        "\nseed {} broke the invariant: {}\n{}\n\n{} of its {} steps are enough:\n  {}\n\nreplay the whole run: {}",
        caught.seed,
        failure.invariant,
        failure.detail,
        shorter.steps.len(),
        plan.steps.len(),
        run.trace.join("\n  "),
        replay(options, caught.seed)
    )
}

fn as_json(options: &Options, findings: &Findings, seconds: f64) -> Value {
    let tally = &findings.tally;
    let named = |counts: Vec<(String, u64)>| counts.into_iter().collect::<std::collections::BTreeMap<_, _>>();
    json!({
        "runs": tally.runs,
        "steps": tally.steps,
        "seconds": seconds,
        "steps_per_second": tally.steps as f64 / seconds,
        "seed_start": options.seed_start,
        "store": format!("{:?}", options.store).to_lowercase(),
        "safety_runs": tally.safety_runs,
        "liveness_runs": tally.liveness_runs,
        "rounds_max": tally.rounds_max,
        "variant": options.variant.map(Variant::name),
        "faults": tally.faults,
        "events": tally.events,
        "transitions": named(Transition::ALL.iter()
            .map(|taken| (taken.says().to_owned(), tally.taken.get(taken).copied().unwrap_or(0))).collect()),
        "steps_of": named(tally.steps_of.iter().map(|(what, n)| (format!("{what:?}"), *n)).collect()),
        "checks": named(tally.checks.iter().map(|(invariant, n)| (invariant.to_string(), *n)).collect()),
        "failed": findings.caught.len(),
        "failures": named(findings.by_invariant().iter().map(|(i, n)| (i.to_string(), *n)).collect()),
        "failed_seeds": findings.caught.iter().map(|caught| caught.seed).collect::<Vec<_>>(),
        "first_failure": findings.caught.first().map(|caught| json!({
            "seed": caught.seed,
            "invariant": caught.failure.invariant.to_string(),
            "detail": caught.failure.detail,
            "replay": replay(options, caught.seed),
        })),
    })
}
