//! Python's `mock-bank` 0.9.0 (PyPI, MIT): a bank that nobody here wrote, with its own clock and faults. It is
//! installed once into a virtual environment below cargo's target folder.
//!
//! Must not know: who syncs from it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Set to `1`, a missing Python is a failure instead of a skip.
pub const REQUIRE_VARIABLE: &str = "TIDEGATE_TESTS_REQUIRE_PYTHON";
/// The very version that the tests were written against.
const PACKAGE: &str = "mock-bank==0.9.0";
const VERSION: &str = "0.9.0";

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum MockBankError {
    /// Not on this machine, and required.
    #[error(
        "python3 with venv is not there: install it (Debian: `apt install python3-venv`), or unset {REQUIRE_VARIABLE}"
    )]
    Missing,
    /// It is there, but something failed.
    #[error("mock-bank: {0}")]
    Failed(String),
}

fn failed(error: impl std::fmt::Display) -> MockBankError {
    MockBankError::Failed(error.to_string())
}

/// A running bank; it ends with this value.
#[derive(Debug)]
pub struct MockBank {
    process: Child,
    /// `http://127.0.0.1:PORT`
    pub origin: String,
}

impl Drop for MockBank {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl MockBank {
    /// A fresh bank that wants `user:password` on every request. None, said loudly, if the machine has no Python
    /// and [`REQUIRE_VARIABLE`] is not `1`. The first call of a machine installs it: that needs PyPI.
    pub fn start(target: &Path, auth: &str) -> Result<Option<Self>, MockBankError> {
        if !has_venv() {
            let required = std::env::var(REQUIRE_VARIABLE).is_ok_and(|value| value == "1");
            eprintln!("SKIPPED: this test needs python3 with venv, and it is not there");
            return if required { Err(MockBankError::Missing) } else { Ok(None) };
        }
        let python = installed(&target.join("python").join(format!("mock-bank-{VERSION}")))?;
        let mut command = Command::new(python);
        command.args(["-u", "-m", "mockbank", "--port", "0", "--auth", auth]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(failed)?;
        let mut said = BufReader::new(process.stderr.take().ok_or(failed("no stderr"))?);
        let mut lines = String::new();
        // `mock-bank 0.9.0 listening on http://127.0.0.1:PORT/  (…)`
        let origin = loop {
            let mut line = String::new();
            if said.read_line(&mut line).map_err(failed)? == 0 {
                let _ = process.kill();
                let _ = process.wait();
                return Err(failed(lines));
            }
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split('/').take(3).collect::<Vec<_>>().join("/");
            }
            lines.push_str(&line);
        };
        // It writes a line for each request; nobody reads them, but they must go somewhere.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut said, &mut std::io::sink());
        });
        Ok(Some(Self { process, origin }))
    }
}

fn has_venv() -> bool {
    let asked = Command::new("python3").args(["-c", "import venv, ensurepip"]).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// The Python of the environment, made if it is not there or not whole.
fn installed(folder: &Path) -> Result<PathBuf, MockBankError> {
    let python = folder.join("bin").join("python");
    let check = format!("import mockbank; assert mockbank.__version__ == '{VERSION}'");
    let whole = || Command::new(&python).args(["-c", &check]).stderr(Stdio::null()).status();
    if whole().is_ok_and(|status| status.success()) {
        return Ok(python);
    }
    let run = |command: &mut Command| -> Result<(), MockBankError> {
        let output = command.output().map_err(failed)?;
        match output.status.success() {
            true => Ok(()),
            false => Err(failed(String::from_utf8_lossy(&output.stderr))),
        }
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE];
    run(Command::new(&python).args(pip))?;
    Ok(python)
}
