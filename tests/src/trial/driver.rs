//! Plays one history through a ledger, as a sync does, and has every look judged.
//!
//! A look asks for a window; an incomplete answer is asked for once more; a contradicting balance is
//! read once more; a balance that still contradicts has the whole history read once, and that is
//! stored whatever its proof. What stays incomplete is not stored.

use super::contents::Contents;
use super::history::{History, Look};
use super::identity::{Identity, removed_and_added};
use super::judge::{explanations, left};
use super::ledger::{Change, Ledger, Observed, Verdict};
use super::oracle::{Oracle, Wrong};
use super::shown::Reading;
use super::store::Store;
use super::trust::Trust;
use crate::random::Random;
use host::model::Proof;

/// What came of one history.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Sorts of rows held in a wrong number, and complete answers refused.
    pub wrong_contents: usize,
    /// Rows that became others than they are.
    pub wrong_identity: usize,
    /// Rows shown and not held.
    pub missed: usize,
    /// Links, and changes that say they could have been of another row.
    pub ambiguous: usize,
    /// Those that could have been of no other row.
    pub ambiguous_avoidable: usize,
    /// Looks whose changes do not lead to what is held, that change something when repeated, or that
    /// come out otherwise in another order of rows.
    pub broken: usize,
    /// What happened, look by look, with what is wrong marked by `!!`.
    pub transcript: Vec<String>,
}

impl Outcome {
    /// Nothing is wrong.
    pub fn is_right(&self) -> bool {
        [self.wrong_contents, self.wrong_identity, self.missed, self.ambiguous_avoidable, self.broken]
            .iter()
            .all(|count| *count == 0)
    }

    fn say(&mut self, line: impl Into<String>) {
        self.transcript.push(line.into());
    }

    fn wrong(&mut self, wrong: Wrong) {
        let (count, line) = match wrong {
            Wrong::Missed(line) => (&mut self.missed, line),
            Wrong::Contents(line) => (&mut self.wrong_contents, line),
        };
        *count += 1;
        self.say(format!("  !! {line}"));
    }

    fn broken(&mut self, line: &str) {
        self.broken += 1;
        self.say(format!("  !! broken: {line}"));
    }
}

/// The answer that was decisive, and what the ledger made of it.
struct Taken {
    reading: Reading,
    verdict: Result<Verdict, String>,
}

/// Plays it.
pub fn play(history: &History, ledger: Ledger) -> Outcome {
    let mut outcome = Outcome::default();
    let (mut store, mut oracle) = (Store::default(), Oracle::new(history.class));
    let mut identity = Identity::default();
    let names: Vec<_> = history.scenarios.iter().map(|scenario| scenario.name()).collect();
    outcome.say(format!("class {}: {}", history.class.name(), names.join(", ")));
    for (number, look) in history.looks.iter().enumerate() {
        outcome.say(format!("look {}: {}", number + 1, look.happened.join("; ")));
        let Taken { reading, verdict } = ask(&store, look, ledger, &mut outcome);
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(why) => {
                outcome.say(format!("  refused: {why}"));
                if let Some(wrong) = oracle.refused(look, &reading) {
                    outcome.wrong(wrong);
                }
                continue;
            }
        };
        let before = store.clone();
        tell(&verdict, &mut outcome);
        if let Err(why) = store.fold(&verdict) {
            outcome.broken(&why);
            break; // what is held from here on says nothing
        }
        stays_when_repeated_or_shuffled(&before, &store, &reading, &verdict, ledger, &mut outcome);
        oracle.took(look, &reading);
        for wrong in oracle.check(&store.rows) {
            outcome.wrong(wrong);
        }
        let wrong = identity.took(oracle.trust(), &reading, &before.rows, &store.rows);
        for line in wrong.into_iter().chain(removed_and_added(&verdict)) {
            outcome.wrong_identity += 1;
            outcome.say(format!("  !! identity: {line}"));
        }
        judge_guesses(oracle.trust(), &before, &reading, &verdict, &mut outcome);
    }
    outcome
}

/// What a sync does around the ledger.
fn ask(store: &Store, look: &Look, ledger: Ledger, outcome: &mut Outcome) -> Taken {
    let compare = |seen: &Observed| ledger(&store.rows, &store.standing, seen);
    let mut reading = look.first.clone();
    let mut verdict = compare(&reading.seen);
    show("the answer", &reading, outcome);
    if verdict.is_err() {
        reading = look.again.clone();
        verdict = compare(&reading.seen);
        show("incomplete; once more", &reading, outcome);
    }
    let contradicted = |verdict: &Result<Verdict, String>| {
        verdict.as_ref().is_ok_and(|verdict| verdict.proof == Proof::Contradicted)
    };
    if contradicted(&verdict) && !look.balances_again.is_empty() {
        reading.seen.balances.clone_from(&look.balances_again);
        verdict = compare(&reading.seen);
        outcome.say(format!("  contradicted; balance again: {}", balances(&reading.seen)));
    }
    if contradicted(&verdict) {
        reading = look.whole.clone();
        verdict = compare(&reading.seen);
        show("contradicted; the whole history", &reading, outcome);
    }
    Taken { reading, verdict }
}

fn stays_when_repeated_or_shuffled(
    before: &Store,
    after: &Store,
    reading: &Reading,
    verdict: &Verdict,
    ledger: Ledger,
    outcome: &mut Outcome,
) {
    match ledger(&after.rows, &after.standing, &reading.seen) {
        Err(why) => outcome.broken(&format!("refused when repeated: {why}")),
        Ok(repeated) => {
            // A row that was missing once is missing twice now; nothing else may change.
            let waited =
                |number: &i64| after.rows.iter().any(|row| row.id.number == *number && row.missed > 0);
            for change in &repeated.changes {
                if !matches!(change, Change::Removed { number, .. } if waited(number)) {
                    outcome.broken(&format!("repeated, it says {}", words(change)));
                }
            }
        }
    }
    let mut seen = reading.seen.clone();
    Random::of(7, u64::try_from(seen.transactions.len()).unwrap_or(0)).shuffle(&mut seen.transactions);
    if ledger(&before.rows, &before.standing, &seen).as_ref() != Ok(verdict) {
        outcome.broken("another order of the rows gives another verdict");
    }
}

/// Was each guess one?
fn judge_guesses(trust: &Trust, before: &Store, reading: &Reading, verdict: &Verdict, outcome: &mut Outcome) {
    let left = left(trust, &before.rows, reading);
    for change in &verdict.changes {
        let (numbers, after) = match change {
            Change::Added { after, links } => (links.iter().map(|link| link.number).collect(), after),
            Change::Modified { number, after, ambiguous: true, .. } => (vec![*number], after),
            _ => continue,
        };
        for number in numbers {
            outcome.ambiguous += 1;
            if explanations(&left, number, &Contents::of(after)) == Some(1) {
                outcome.ambiguous_avoidable += 1;
                outcome.say(format!(
                    "  !! avoidable: {}, yet all hangs together in one way only",
                    words(change)
                ));
            }
        }
    }
}

fn show(what: &str, reading: &Reading, outcome: &mut Outcome) {
    let Observed { coverage, transactions, removed, .. } = &reading.seen;
    let window = coverage.as_ref().map_or_else(String::new, |coverage| {
        let complete = if coverage.complete { "" } else { ", not to its end" };
        format!(
            "{} to {}{complete}",
            coverage.window.since.format("%m-%d"),
            coverage.window.until.format("%m-%d")
        )
    });
    outcome.say(format!("  {what} ({window}{}):", balances(&reading.seen)));
    for (row, who) in transactions.iter().zip(&reading.who) {
        let id = row.bank_id.as_ref().map_or_else(String::new, |id| format!(" id {id:?}"));
        let was = row.supersedes.as_ref().map_or_else(String::new, |id| format!(" replaces {id:?}"));
        let after = row.balance_after.map_or_else(String::new, |after| format!(" = {after}"));
        outcome.say(format!("    #{who} {}{after}{id}{was}", Contents::of(row).words()));
    }
    if !removed.is_empty() {
        outcome.say(format!("    the bank says it removed {removed:?}"));
    }
}

fn balances(seen: &Observed) -> String {
    let words = seen.balances.iter().map(|balance| {
        let day = balance.as_of.map_or_else(String::new, |at| at.utc().format(" as of %m-%d").to_string());
        let pending = if balance.includes_pending { " with pending" } else { "" };
        format!(", {:?} {}{pending}{day}", balance.kind, balance.money.minor)
    });
    words.collect()
}

fn tell(verdict: &Verdict, outcome: &mut Outcome) {
    for change in &verdict.changes {
        outcome.say(format!("  → {}", words(change)));
    }
    for (number, misses) in &verdict.missed {
        outcome.say(format!("  → number {number} missing {misses}×"));
    }
    outcome.say(format!("  → {:?}", verdict.proof));
}

fn words(change: &Change) -> String {
    match change {
        Change::Added { after, links } if links.is_empty() => {
            format!("added {}", Contents::of(after).words())
        }
        Change::Added { after, links } => {
            let numbers: Vec<_> = links.iter().map(|link| link.number).collect();
            format!("added {}, perhaps {numbers:?}", Contents::of(after).words())
        }
        Change::Modified { number, before, after, ambiguous, .. } => format!(
            "number {number}: {} became {}{}",
            Contents::of(before).words(),
            Contents::of(after).words(),
            if *ambiguous { ", perhaps" } else { "" }
        ),
        Change::Removed { number, before, .. } => {
            format!("number {number} removed: {}", Contents::of(before).words())
        }
    }
}
