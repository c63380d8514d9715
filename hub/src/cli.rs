//! The command line. Commands go to the running hub over its local socket; while it is stopped they open the store
//! themselves, under the same lock.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, Asked, By, Command, Reply};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::home::{self, Home, Keeping};
use crate::server::tls;
use crate::{log, service};

mod admin;
mod authority;
mod backup;
mod conflict;
mod local;
mod matching;
mod message;
mod organisation;
mod passphrase;
mod patient;
mod policy;
mod reference;
mod show;
mod site;
mod staff;
mod status;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 hub.toml unreadable or wrong; 4 a hub runs on this folder already; \
5 port taken; 6 store or key cannot be opened; 7 no space; 12 the running hub does not answer; \
14 the hub's store is away, busy, or went back.";

#[derive(Parser)]
#[command(
    name = "mainstay-hub",
    version,
    about = "The hub of Mainstay: keeps the changes of every site and delivers their tasks",
    after_help = EXIT_CODES,
    after_long_help = format!("First steps:
  mainstay-hub run                                   starts the hub (makes store and keys in the home folder)
  mainstay-hub site add \"Riverside\" --zone America/Chicago --room 1 --room 2
  mainstay-hub staff add okafor --name \"Okafor, Maya\" --role lead --site SITE
  mainstay-hub token --site SITE                     hand the token to that site: mainstay-agent enrol

{EXIT_CODES}")
)]
struct Cli {
    /// The hub's folder: hub.toml, data/, keys/, mark/, logs/.
    #[arg(long, global = true, env = "MAINSTAY_HOME", default_value = home::DEFAULT, value_name = "DIR")]
    home: PathBuf,
    /// Answer with one line of JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Which organisation it is about, by its id, where the hub serves several; see mainstay-hub organisation list.
    #[arg(long, global = true, value_name = "ID")]
    organisation: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the hub in the foreground until it is told to stop (SIGTERM, Ctrl-C).
    Run,
    /// The organisations of this hub; nothing of one is seen by another.
    #[command(subcommand)]
    Organisation(organisation::OrganisationVerb),
    /// Sites.
    #[command(subcommand)]
    Site(site::SiteVerb),
    /// Make a one-time token by which a site's agent enrols.
    Token(site::TokenArguments),
    /// Take an agent's enrolment back for good: a machine that was lost, stolen or replaced.
    Revoke(site::RevokeArguments),
    /// Staff, who sign in at their site, also while the line is cut.
    #[command(subcommand)]
    Staff(staff::StaffVerb),
    /// Patients, as the hub holds them.
    #[command(subcommand)]
    Patient(patient::PatientVerb),
    /// Policies: what the organisation has decided for its sites.
    #[command(subcommand)]
    Policy(policy::PolicyVerb),
    /// Reference data: providers, payers, forms, rooms, schedules, code sets.
    #[command(subcommand)]
    Reference(reference::ReferenceVerb),
    /// What waits for a decision about a patient.
    #[command(subcommand)]
    Conflict(conflict::ConflictVerb),
    /// What is set aside.
    #[command(subcommand)]
    Quarantine(conflict::QuarantineVerb),
    /// Who may use the console, the hub's page.
    #[command(subcommand)]
    Admin(admin::AdminVerb),
    /// HL7 messages that came in at the hub.
    #[command(subcommand)]
    Message(message::MessageVerb),
    /// Patient records that may be one person's.
    #[command(subcommand)]
    Match(matching::MatchVerb),
    /// The authority whose certificates hub and agents trust.
    #[command(subcommand)]
    Authority(authority::AuthorityVerb),
    /// Say that a backup of the store is safe: sites then let go of what they kept for a hub that is put back.
    BackupConfirmed(backup::BackupArguments),
    /// Show the sites, how far the hub has each, and what waits for the EHR.
    Status,
    /// Print the JSON schema of hub.toml, for editors that check as you type.
    Schema,
    /// Print the completions of a shell: mainstay-hub completions bash > /etc/bash_completion.d/mainstay-hub
    Completions { shell: clap_complete::Shell },
}

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.json;
    match act(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A broken standard error leaves nobody to tell.
            let _ = match json {
                true => writeln!(std::io::stderr(), "{}", show::failure(&failure)),
                false => writeln!(std::io::stderr(), "mainstay-hub: {failure}"),
            };
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn act(cli: Cli) -> Result<(), Failure> {
    let home = Home::new(&std::path::absolute(&cli.home).unwrap_or(cli.home));
    let command = match cli.verb {
        Verb::Run => return run(&home, cli.json),
        Verb::Schema => return print(&Config::json_schema()?),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "mainstay-hub", &mut std::io::stdout());
            return Ok(());
        }
        Verb::Organisation(verb) => verb.command(),
        Verb::Site(verb) => verb.command(),
        Verb::Token(arguments) => arguments.command(),
        Verb::Revoke(arguments) => arguments.command(),
        Verb::Staff(verb) => verb.command()?,
        Verb::Patient(verb) => verb.command(),
        Verb::Policy(verb) => verb.command()?,
        Verb::Reference(verb) => verb.command()?,
        Verb::Conflict(verb) => verb.command(),
        Verb::Quarantine(verb) => verb.command(),
        Verb::Admin(verb) => verb.command()?,
        Verb::Message(verb) => verb.command(),
        Verb::Match(verb) => verb.command(),
        Verb::Authority(verb) => verb.command(),
        Verb::BackupConfirmed(arguments) => arguments.command()?,
        Verb::Status => Command::Status,
    };
    let asked = Asked {
        organisation: cli.organisation,
        command,
    };
    let reply = runtime()?.block_on(send(&home, asked))?;
    let text = match cli.json {
        true => show::json(&reply)?,
        false => show::text(&reply),
    };
    print(&text)
}

fn print(text: &str) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::failed(format!("standard output: {error}")))
}

fn run(home: &Home, json: bool) -> Result<(), Failure> {
    let config = Config::load(&home.config_file())?;
    let lock = home.lock()?;
    // A port that is taken is told before the store is opened: a start that is refused changes nothing.
    runtime()?.block_on(tls::bind(config.server.listen))?;
    let opened = home.open(&lock, &config)?;
    let _logs = log::start(&home.logs(), &config.log)?;
    runtime()?.block_on(async {
        opened.db.keep_mark(&home.mark(&config)).await?;
        let stop = CancellationToken::new();
        service::stop_on_signals(&stop)?;
        service::run(home, opened, config, stop, |address, console| {
            let line = match (json, console) {
                (true, _) => serde_json::json!({ "ready": true, "hub": address, "console": console }).to_string(),
                (false, Some(console)) => format!("the hub is ready at {address}, its console at {console}"),
                (false, None) => format!("the hub is ready at {address}"),
            };
            // Nobody may be reading any more; the hub runs all the same.
            let _ = writeln!(std::io::stdout(), "{line}");
        })
        .await
    })
}

/// To the running hub, or straight to the store.
async fn send(home: &Home, asked: Asked) -> Result<Reply, Failure> {
    let config = Config::load(&home.config_file())?;
    let lock = match home.lock() {
        Ok(lock) => lock,
        Err(failure) if failure.exit == Exit::AlreadyRunning => return local::send(&home.socket(), &asked).await,
        Err(failure) => return Err(failure),
    };
    let opened = home.open(&lock, &config)?;
    opened.db.keep_mark(&home.mark(&config)).await?;
    crate::admin::prepare(&opened.db).await?;
    let admin = Admin::new(
        opened.db.clone(),
        Keeping::new(opened.authorities, home),
        &config,
        config.server.listen,
    );
    let outcome = admin.answer(By::CommandLine, asked).await;
    opened.db.close();
    outcome
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("the program could not start: {error}")))
}
