//! The real programs, started the way an operator starts them: a binary, `--home`, signals, exit codes, standard output.
//!
//! Refuses to reach into them: no library call of the agent or the hub is made here. Whatever it starts it owns and ends.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

const STOP_PATIENCE: Duration = Duration::from_secs(15);
const VERB_PATIENCE: Duration = Duration::from_secs(60);

/// Where the two programs of this build are.
#[derive(Clone, Debug)]
pub struct Binaries {
    pub agent: PathBuf,
    pub hub: PathBuf,
}

impl Binaries {
    /// Beside the running test or demo: the same target folder, the same profile.
    pub fn find() -> Result<Self> {
        let folder = profile_folder()?;
        let found = Self {
            agent: folder.join("mainstay-agent"),
            hub: folder.join("mainstay-hub"),
        };
        for binary in [&found.agent, &found.hub] {
            ensure!(
                binary.is_file(),
                "{} is not built; build it with `cargo build --workspace --bins`",
                binary.display()
            );
        }
        Ok(found)
    }

    /// Builds what is missing or old, then finds it. Cargo's messages go to standard error.
    pub async fn build() -> Result<Self> {
        let folder = profile_folder()?;
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--package", "mainstay-agent", "--package", "mainstay-hub"]);
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let target = folder.parent().context("the target folder has no parent")?;
        cargo
            .env("CARGO_TARGET_DIR", target)
            .current_dir(workspace_root()?)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let status = cargo.status().await.context("cargo did not start")?;
        ensure!(
            status.success(),
            "cargo could not build mainstay-agent and mainstay-hub"
        );
        Self::find()
    }
}

/// The folder cargo put this profile's binaries into.
fn profile_folder() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("the running program does not know its own path")?;
    let folder = exe.parent().context("the running program has no folder")?;
    Ok(if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    }
    .to_path_buf())
}

/// Where Debian and Ubuntu put the library, whatever the machine's architecture.
fn faketime_library() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").context("/usr/lib")?;
    let libraries = folders
        .flatten()
        .map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
    let found = libraries.into_iter().find(|library| library.exists());
    found.context("libfaketime is missing; install it with tests/prerequisites")
}

/// The checkout this crate was built from.
pub fn workspace_root() -> Result<PathBuf> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(crate_folder
        .parent()
        .context("the tests crate has no parent folder")?
        .to_path_buf())
}

/// A command to be run on one home folder.
#[derive(Clone, Debug)]
pub struct Program {
    binary: PathBuf,
    home: PathBuf,
    clock_offset: Option<String>,
    environment: Vec<(String, OsString)>,
}

impl Program {
    pub fn new(binary: &Path, home: &Path) -> Self {
        Self {
            binary: binary.into(),
            home: home.into(),
            clock_offset: None,
            environment: Vec::new(),
        }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Runs it under libfaketime with this offset, such as `+1d`: only the wall clock is off, time still passes evenly. The
    /// `faketime` program is not used: it stays in between, and what it started outlives it.
    pub fn with_clock_off_by(mut self, offset: &str) -> Self {
        self.clock_offset = Some(offset.into());
        self
    }

    pub fn with_environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut words: Vec<OsString> = Vec::new();
        if which("setpriv").is_some() {
            // A test that is itself killed leaves nothing behind.
            words.extend(["setpriv", "--pdeathsig", "KILL", "--"].map(Into::into));
        }
        words.push(self.binary.clone().into());
        words.extend(arguments.iter().map(Into::into));
        words.extend(["--home".into(), self.home.clone().into()]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_remove("MAINSTAY_HOME");
        if let Some(offset) = &self.clock_offset {
            command
                .env("LD_PRELOAD", faketime_library()?)
                .env("FAKETIME", offset)
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.kill_on_drop(true);
        Ok(command)
    }

    /// Starts `run --json` and waits for its one ready line.
    pub async fn run_until_ready(&self, patience: Duration) -> Result<Running> {
        self.start_until_ready(&["run", "--json"], patience).await
    }

    async fn start_until_ready(&self, arguments: &[&str], patience: Duration) -> Result<Running> {
        let name = self.name();
        let mut command = self.command(arguments)?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{name} did not start"))?;
        let stdout = child.stdout.take().context("standard output is not piped")?;
        let stderr = child.stderr.take().context("standard error is not piped")?;
        let said = Arc::new(Mutex::new(String::new()));
        let errors = listen(stderr, Arc::clone(&said));
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(patience, lines.next_line()).await;
        let line = match first {
            Err(_) => bail!("{name} was not ready after {patience:?}; it said: {}", heard(&said)),
            Ok(line) => line.with_context(|| format!("{name} closed its output"))?,
        };
        let Some(line) = line else {
            let status = child.wait().await?;
            // The reader ends with the pipe: what was said last is in.
            let _ = errors.await;
            bail!(
                "{name} ended with {status} before it was ready; it said: {}",
                heard(&said)
            );
        };
        let ready = serde_json::from_str(&line).with_context(|| format!("{name}'s ready line is not JSON: {line}"))?;
        let rest = listen(lines.into_inner(), Arc::clone(&said));
        Ok(Running {
            name,
            child,
            ready,
            said,
            readers: [errors, rest],
        })
    }

    /// Runs one verb to its end, with `stdin` if given.
    pub async fn verb(&self, arguments: &[&str], stdin: Option<&str>) -> Result<Finished> {
        let name = format!("{} {}", self.name(), arguments.first().unwrap_or(&""));
        let mut command = self.command(arguments)?;
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{name} did not start"))?;
        if let (Some(words), Some(mut pipe)) = (stdin, child.stdin.take()) {
            // A program that refuses before it reads closes the pipe; its exit code tells.
            let _ = pipe.write_all(words.as_bytes()).await;
        }
        let output = tokio::time::timeout(VERB_PATIENCE, child.wait_with_output())
            .await
            .with_context(|| format!("{name} did not end within {VERB_PATIENCE:?}"))??;
        Ok(Finished {
            name,
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// A verb that must succeed and answer with one JSON value.
    pub async fn answer(&self, arguments: &[&str], stdin: Option<&str>) -> Result<Value> {
        self.verb(arguments, stdin).await?.json()
    }

    fn name(&self) -> String {
        self.binary
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }
}

/// A program that has said it is ready. Dropping it kills it.
pub struct Running {
    name: String,
    child: Child,
    ready: Value,
    said: Arc<Mutex<String>>,
    readers: [JoinHandle<()>; 2],
}

impl Running {
    /// One entry of the ready line, such as `page`.
    pub fn ready(&self, entry: &str) -> Result<&str> {
        self.ready[entry]
            .as_str()
            .with_context(|| format!("{} is ready without naming {entry}: {}", self.name, self.ready))
    }

    /// What it has said so far besides the ready line.
    pub fn said(&self) -> String {
        heard(&self.said)
    }

    pub fn process_id(&self) -> Result<u32> {
        self.child.id().with_context(|| format!("{} has ended", self.name))
    }

    /// `kill -9`, at this moment.
    pub async fn kill9(&mut self) -> Result<()> {
        self.child
            .kill()
            .await
            .with_context(|| format!("{} could not be killed", self.name))
    }

    /// SIGTERM; it must end by itself in time.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.ended_within(STOP_PATIENCE).await
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.process_id()?)?;
        let pid = Pid::from_raw(id).context("a process id of zero")?;
        kill_process(pid, signal).with_context(|| format!("{} could not be signalled", self.name))
    }

    pub async fn ended_within(&mut self, patience: Duration) -> Result<ExitStatus> {
        let ended = tokio::time::timeout(patience, self.child.wait()).await;
        let status = ended
            .with_context(|| format!("{} still runs after {patience:?}; it said: {}", self.name, self.said()))??;
        for reader in &mut self.readers {
            let _ = reader.await;
        }
        Ok(status)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// A verb that has ended.
#[derive(Debug)]
pub struct Finished {
    name: String,
    status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The exit code; a program killed by a signal has none.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub fn json(&self) -> Result<Value> {
        ensure!(
            self.status.success(),
            "{} ended with {}: {}",
            self.name,
            self.status,
            self.stderr.trim()
        );
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("{} did not answer in JSON: {}", self.name, self.stdout))
    }
}

fn listen(mut from: impl tokio::io::AsyncRead + Unpin + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut bytes).await {
            into.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    })
}

fn heard(said: &Mutex<String>) -> String {
    said.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned()
}

/// The full path of a command, if it is installed.
pub fn which(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(command))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(folder: &Path, text: &str) -> Program {
        let path = folder.join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Program::new(&path, &folder.join("home"))
    }

    #[tokio::test]
    async fn a_program_is_ready_when_its_line_says_so_and_ends_on_sigterm() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(
            folder.path(),
            r#"trap 'exit 0' TERM; echo '{"ready":true,"page":"here"}'; while :; do sleep 0.05; done"#,
        );

        let mut running = program.run_until_ready(Duration::from_secs(5)).await.unwrap();
        let page = running.ready("page").unwrap().to_owned();
        let status = running.stop().await.unwrap();

        assert_eq!((page.as_str(), status.code()), ("here", Some(0)));
    }

    #[tokio::test]
    async fn a_program_that_ends_before_it_is_ready_is_reported_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "echo 'port taken' >&2; exit 5");

        let refused = program
            .run_until_ready(Duration::from_secs(5))
            .await
            .err()
            .unwrap()
            .to_string();

        assert!(
            refused.contains("exit status: 5") && refused.contains("port taken"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn a_killed_program_is_gone_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(
            folder.path(),
            r#"trap '' TERM; echo '{"ready":true}'; while :; do sleep 0.05; done"#,
        );
        let mut running = program.run_until_ready(Duration::from_secs(5)).await.unwrap();

        running.kill9().await.unwrap();

        assert!(!running.runs());
    }

    #[tokio::test]
    async fn a_verb_gets_its_input_and_its_home_and_gives_code_and_answer() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(
            folder.path(),
            r#"read line; echo "{\"verb\":\"$1\",\"home\":\"$3\",\"line\":\"$line\"}""#,
        );

        let answer = program.answer(&["status"], Some("token\n")).await.unwrap();

        assert_eq!(answer["verb"], "status");
        assert_eq!(answer["line"], "token");
        assert_eq!(answer["home"], folder.path().join("home").to_str().unwrap());
    }

    #[tokio::test]
    async fn a_clock_that_is_off_is_off_for_the_program_alone() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "date +%s").with_clock_off_by("+2d");

        let there: i64 = program
            .verb(&["date"], None)
            .await
            .unwrap()
            .stdout
            .trim()
            .parse()
            .unwrap();

        let here = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        assert!(
            (there - here as i64 - 2 * 86_400).abs() < 10,
            "off by {} s",
            there - here as i64
        );
    }
}
