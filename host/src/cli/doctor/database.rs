//! The database: there, of this version, quick, on time, and openable with the master key.

use super::Check;
use crate::cli::open_unmigrated;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::{Plan, Store, StoreError};

/// Microseconds that our clock may differ from the database's: with more, `serve` refuses to start.
const CLOCK_OFF_MAX_US: i64 = 1_000_000;

/// What was found, and whether the service could be built on it.
pub(super) async fn examine(config: &Config) -> (Vec<Check>, bool) {
    let store = match open_unmigrated(config).await {
        Ok(store) => store,
        Err(error) => {
            let advice = "start the database, and mend database.url";
            return (vec![Check::problem("database", format!("{error:#}"), advice)], false);
        }
    };
    if let Err(error) = store.ready().await {
        let check = Check::problem("database", error.to_string(), "see the sentence");
        return (vec![check], false);
    }
    let mut checks = vec![Check::ok("database", "it answers, and its schema is this version's")];
    checks.push(match store.open_one_of_each_key().await {
        Ok(kinds) => {
            Check::ok("master key", format!("it opens one data key of each kind ({})", kinds.join(", ")))
        }
        Err(error) => Check::problem(
            "master key",
            error.to_string(),
            "put the missing line into the master key file, below the current one",
        ),
    });
    let more = [indexes(&store).await, plans(&store).await, clock(&store).await];
    for found in more {
        match found {
            Ok(found) => checks.extend(found),
            Err(error) => checks.push(Check::problem("database", error.to_string(), "see the sentence")),
        }
    }
    (checks, true)
}

async fn indexes(store: &Store) -> Result<Option<Check>, StoreError> {
    let missing = store.missing_indexes().await?;
    if missing.is_empty() {
        return Ok(Some(Check::ok("indexes", "all are there")));
    }
    let sentence = format!("missing or half built: {}", missing.join(", "));
    let advice = "make them again; their statements stand in host/src/store/*.sql";
    Ok(Some(Check::problem("indexes", sentence, advice)))
}

async fn plans(store: &Store) -> Result<Option<Check>, StoreError> {
    let plans = store.plans().await?;
    let said = |what: fn(&Plan) -> &Vec<String>, verb: &str| {
        let told = plans.iter().filter(|plan| !what(plan).is_empty());
        let told = told.map(|plan| format!("{} {verb} {}", plan.statement, what(plan).join(", ")));
        told.collect::<Vec<_>>().join("; ")
    };
    let unused = said(|plan| &plan.unused, "does not use");
    let whole = said(|plan| &plan.whole, "reads all of");
    Ok(Some(if !unused.is_empty() {
        Check::problem("plans", unused, "make indexes that are missing again")
    } else if !whole.is_empty() {
        Check::warning(
            "plans",
            whole,
            "run ANALYZE in the database, so that it knows how large its tables are",
        )
    } else {
        let number = plans.len();
        Check::ok("plans", format!("the {number} statements that run all day are answered by an index"))
    }))
}

async fn clock(store: &Store) -> Result<Option<Check>, StoreError> {
    Ok(store.clock_off(&Clock::system()).await?.map(clock_check))
}

fn clock_check(ahead_us: i64) -> Check {
    let sentence = format!("the database's clock is {:+} ms from ours", ahead_us / 1_000);
    match ahead_us.abs() <= CLOCK_OFF_MAX_US {
        true => Check::ok("clock", sentence),
        false => Check::problem(
            "clock",
            sentence,
            "let both machines keep time (chrony, systemd-timesyncd); until then `serve` refuses to start",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_clock_more_than_a_second_off_is_a_problem() {
        for (ahead, expected) in [
            (0, State::Ok),
            (-1_000_000, State::Ok),
            (1_000_001, State::Problem),
            (-5_000_000, State::Problem),
        ] {
            assert_eq!(clock_check(ahead).state, expected, "{ahead}");
        }
    }
}
