//! Running `mainstay-hub` on a home of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const STOP_WAIT: Duration = Duration::from_secs(10);

pub(crate) struct Home(tempfile::TempDir);

impl Home {
    /// A home whose hub takes any free port.
    pub(crate) fn new() -> Home {
        let home = Home::without_config();
        home.configure("[server]\nlisten = \"127.0.0.1:0\"\n");
        home
    }

    pub(crate) fn without_config() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.path().join("hub.toml"), text).unwrap();
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay-hub"));
        command
            .arg("--home")
            .arg(self.path())
            .args(arguments)
            .env_remove("MAINSTAY_HOME")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a verb answers, as JSON; the verb must have succeeded.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.output(&[arguments, &["--json"]].concat());
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The exit code of a verb that fails, and what it says.
    pub(crate) fn failure(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.output(arguments);
        assert!(!output.status.success(), "{arguments:?} went well");
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    pub(crate) fn add_site(&self, name: &str) -> String {
        let site = self.json(&[
            "site",
            "add",
            name,
            "--zone",
            "America/Chicago",
            "--room",
            "1",
            "--room",
            "2",
        ]);
        site["site"].as_str().unwrap().to_owned()
    }

    pub(crate) fn token(&self, site: &str) -> String {
        self.json(&["token", "--site", site])["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) fn run(&self) -> Running {
        let mut child = self
            .command(&["run", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        if line.is_empty() {
            let mut why = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut why).unwrap();
            panic!("the hub did not start: {why}");
        }
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["ready"], true);
        Running {
            child,
            address: ready["hub"].as_str().unwrap().to_owned(),
            console: ready["console"].as_str().map(str::to_owned),
        }
    }

    /// Every file of the home.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.path().to_owned()];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else if entry.file_type().unwrap().is_file() {
                    files.push(entry.path());
                }
            }
        }
        files
    }

    /// Files in which the text stands readable, in UTF-8 or UTF-16.
    pub(crate) fn files_that_show(&self, text: &str) -> Vec<PathBuf> {
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let shows = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
        let files = self.files().into_iter();
        files
            .filter(|file| {
                let bytes = std::fs::read(file).unwrap();
                shows(&bytes, text.as_bytes()) || shows(&bytes, &wide)
            })
            .collect()
    }

    pub(crate) fn logs(&self) -> String {
        let files = std::fs::read_dir(self.path().join("logs")).unwrap();
        files
            .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
            .collect()
    }
}

pub(crate) struct Running {
    child: Child,
    /// `https://127.0.0.1:PORT`
    pub(crate) address: String,
    /// `http://127.0.0.1:PORT`, where the config has a console.
    pub(crate) console: Option<String>,
}

impl Running {
    pub(crate) fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Asks the hub to stop and answers its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.terminate();
        let asked = Instant::now();
        while asked.elapsed() < STOP_WAIT {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn write_file(path: &Path, text: &str) {
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}
