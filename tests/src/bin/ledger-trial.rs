//! `cargo ledger-trial`: random adversarial histories against the ledger, each look judged.
//!
//! Prints the transcripts of the first histories that fail, and last one JSON object. Ends with
//! success only if nothing was wrong.

use clap::Parser;
use std::process::ExitCode;
use tests::trial::ledger::of_the_service;
use tests::trial::report::Report;

#[derive(Debug, Parser)]
#[command(about = "Random adversarial histories against the ledger")]
struct Arguments {
    /// How many histories.
    #[arg(long, default_value_t = 1_000)]
    histories: u64,
    /// What they are made from: the same seed gives the same histories.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the history of this number, with its transcript.
    #[arg(long)]
    only: Option<u64>,
    /// How many failing histories to show.
    #[arg(long, default_value_t = 3)]
    show: usize,
    /// The last line as one JSON object, rather than indented.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut report = Report::new(arguments.seed);
    let numbers = match arguments.only {
        Some(only) => only..only.saturating_add(1),
        None => 0..arguments.histories,
    };
    for number in numbers {
        let outcome = report.play(number, &of_the_service);
        let failing = !outcome.is_right() && report.failing <= arguments.show;
        if failing || arguments.only.is_some() {
            println!("history {number}: cargo ledger-trial -- --seed {} --only {number}", arguments.seed);
            outcome.transcript.iter().for_each(|line| println!("{line}"));
        }
    }
    let json = match arguments.json {
        true => serde_json::to_string(&report),
        false => serde_json::to_string_pretty(&report),
    };
    match json {
        Ok(json) => println!("{json}"),
        Err(error) => eprintln!("ledger-trial: {error}"),
    }
    if report.failing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
