//! `tidegate doctor`: is everything as it must be? Each check says ok, warning or problem, a sentence, and what to do.
//!
//! It reads, and writes nothing but a file into the cache folder that it takes away again; it may be run beside `serve`.
//! No check says a secret. Must not know: how anything is mended.

mod banks;
mod database;
mod files;
mod settings;

use super::{Answer, descriptors};
use crate::config::Config;
use clap::Args;
use serde::Serialize;
use std::path::Path;

#[derive(Debug, Args)]
pub(super) struct Command {
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It works, and should not stay so.
    Warning,
    /// Something does not work, or will lose something.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    /// What is so.
    sentence: String,
    /// What to do; empty where nothing is to be done.
    advice: String,
}

impl Check {
    fn ok(name: &'static str, sentence: impl Into<String>) -> Self {
        Self { name, state: State::Ok, sentence: sentence.into(), advice: String::new() }
    }

    fn warning(name: &'static str, sentence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, state: State::Warning, sentence: sentence.into(), advice: advice.into() }
    }

    fn problem(name: &'static str, sentence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, state: State::Problem, sentence: sentence.into(), advice: advice.into() }
    }
}

/// All checks together.
#[derive(Debug, Serialize)]
struct Report {
    checks: Vec<Check>,
    warnings: usize,
    problems: usize,
}

pub(super) async fn run(config: Option<&Path>, command: Command) -> anyhow::Result<Answer> {
    let checks = match Config::load(config) {
        Ok(config) => examine(&config).await,
        // Without it nothing else can be looked at.
        Err(error) => vec![Check::problem("configuration", error.to_string(), "mend it and run this again")],
    };
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let report = Report { warnings: count(State::Warning), problems: count(State::Problem), checks };
    let text = match command.json {
        true => serde_json::to_string(&report)?,
        false => lines(&report),
    };
    Ok(Answer { text, good: report.problems == 0 })
}

async fn examine(config: &Config) -> Vec<Check> {
    let mut checks = settings::examine(config);
    checks.push(match descriptors::ensure(config) {
        Ok(()) => Check::ok("descriptors", "the limit of open files fits the configured concurrency"),
        Err(error) => Check::problem("descriptors", error.to_string(), "see the sentence"),
    });
    checks.extend(files::examine(config));
    let (found, usable) = database::examine(config).await;
    checks.extend(found);
    if usable {
        checks.extend(banks::examine(config).await);
    }
    checks
}

fn lines(report: &Report) -> String {
    let mut text = String::new();
    for Check { name, state, sentence, advice } in &report.checks {
        let state = match state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Problem => "PROBLEM",
        };
        text.push_str(&format!("{state:8} {name:15} {sentence}\n"));
        if !advice.is_empty() {
            text.push_str(&format!("{:8} {:15} -> {advice}\n", "", ""));
        }
    }
    text.push_str(&format!("{} problems, {} warnings", report.problems, report.warnings));
    text
}
