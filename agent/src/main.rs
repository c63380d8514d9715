//! The command line. It parses, asks the right part, prints, and ends with a code that scripts can tell apart.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use mainstay_agent::fault::Fault;
use mainstay_agent::home::{DEFAULT_HOME, Home};
use mainstay_agent::local::{self, LaneNamed, PatientQuery};
use mainstay_agent::{config, enrol, service};
use tokio_util::sync::CancellationToken;

mod print;

/// Keeps an urgent-care clinic running when its line to the cloud is cut.
///
/// The agent runs at a clinic site. It serves the front desk a local page, takes in HL7 messages, queues what is meant
/// for outside systems, and reconciles with the hub whenever the line allows.
///
/// Set-up:  mainstay-agent enrol < token.txt     then  mainstay-agent run
#[derive(Parser)]
#[command(name = "mainstay-agent", version, after_help = EXIT_CODES)]
struct Cli {
    /// Folder of this installation: agent.toml, data/, keys/, mark/, logs/.
    #[arg(long, global = true, env = "MAINSTAY_HOME", default_value = DEFAULT_HOME)]
    home: PathBuf,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 settings; 4 already running on this folder; 5 port taken; \
6 store cannot be opened; 7 no space; 8 token refused; 9 hub not reached; 10 not the hub of the token; 11 not enrolled; \
12 agent not running.";

#[derive(Subcommand)]
enum Verb {
    /// Enrol this site with the hub, by a one-time token.
    ///
    /// The token is read from a file or from standard input, never from the command line, where others could see it.
    Enrol {
        /// File that holds the token; `-` or nothing reads standard input.
        #[arg(long, value_name = "FILE", default_value = "-")]
        token_file: PathBuf,
    },
    /// Run the agent in the foreground, until SIGTERM or Ctrl-C.
    Run,
    /// Tell how the site is: line, queue, conflicts, proof of agreement, warnings.
    Status,
    /// List the visits that are open.
    Board,
    /// Find patients by name, birth date, phone, number or id.
    Patient {
        /// What to look for; words may be misspelled.
        query: String,
    },
    /// List the tasks that are not done with.
    Queue,
    /// Accept what waits in a lane that is held back because it would alter or remove too much at once.
    AcceptLane {
        /// The lane, as `status` names it: safety, flow, schedule, reference or organisation.
        lane: String,
    },
    /// Tell whether the settings are right.
    CheckConfig {
        /// Print the JSON schema of the settings instead.
        #[arg(long)]
        schema: bool,
    },
    /// Print a completion script for a shell.
    Completions { shell: clap_complete::Shell },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    vault::tls::install_provider();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return print::fault(&Fault::Other(format!("the runtime could not start: {error}"))),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => print::fault(&fault),
    }
}

/// Sockets and waiting need few threads; the store has its own.
const WORKERS: usize = 2;

async fn run(cli: Cli) -> Result<(), Fault> {
    let home = Home::new(cli.home);
    match cli.verb {
        Verb::Enrol { token_file } => {
            let token = read_token(&token_file)?;
            let enrolled = enrol::enrol(&home, &token).await?;
            print::enrolled(&enrolled, cli.json);
            Ok(())
        }
        Verb::Run => {
            let stop = CancellationToken::new();
            stop_on_signal(stop.clone())?;
            service::run(&home, stop, |ready| print::ready(ready, cli.json)).await
        }
        Verb::Status => print::status(&local::ask(&home, "/status").await?, cli.json),
        Verb::Board => print::board(local::ask(&home, "/board").await?, cli.json),
        Verb::Queue => print::queue(local::ask(&home, "/queue").await?, cli.json),
        Verb::Patient { query } => {
            print::patients(local::tell(&home, "/patient", &PatientQuery { query }).await?, cli.json)
        }
        Verb::AcceptLane { lane } => print::accepted(
            &local::tell(&home, "/accept-lane", &LaneNamed { lane }).await?,
            cli.json,
        ),
        Verb::CheckConfig { schema } => {
            if schema {
                return print::json(&schemars::schema_for!(config::Config));
            }
            let settings = config::load(&home.config())?;
            print::checked(&home.config(), &settings, cli.json)
        }
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "mainstay-agent", &mut std::io::stdout());
            Ok(())
        }
    }
}

/// Far above any token.
const TOKEN_MAX_BYTES: u64 = 4_096;

fn read_token(file: &std::path::Path) -> Result<String, Fault> {
    let mut token = String::new();
    let from = if file.as_os_str() == "-" {
        if std::io::stdin().is_terminal() {
            print::prompt("Paste the enrolment token, then Enter and Ctrl-D:");
        }
        std::io::stdin().take(TOKEN_MAX_BYTES).read_to_string(&mut token)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(TOKEN_MAX_BYTES).read_to_string(&mut token))
    };
    match from {
        Ok(_) => Ok(token),
        Err(error) => Err(Fault::Other(format!(
            "the token in {} cannot be read: {error}",
            file.display()
        ))),
    }
}

#[cfg(unix)]
fn stop_on_signal(stop: CancellationToken) -> Result<(), Fault> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Fault::Other(format!("signals cannot be listened to: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}
