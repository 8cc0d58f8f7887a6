//! How fresh what we hold is, and what waits: numbers for operators and businesses.

use super::{AccountId, BusinessId, ConnectionId, Timestamp};

/// The accounts of one institution that are polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// Which bank.
    pub institution: String,
    /// Accounts that were read at least once.
    pub accounts: i64,
    /// Accounts that were never read.
    pub waiting: i64,
    /// How old their data is; none if none was read.
    pub age: Option<Age>,
    /// Accounts whose data is stale.
    pub stale: i64,
    /// When one of them was last read well.
    pub last_success_at: Option<Timestamp>,
    /// Accounts whose last sync failed, by its reason, the most frequent first.
    pub failing: Vec<Failing>,
}

/// Accounts whose last sync failed for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// As the sync says it, such as `bank-unavailable`.
    pub reason: String,
    /// How many.
    pub accounts: i64,
    /// When the first of them was last read well; none if one never was.
    pub since: Option<Timestamp>,
}

/// An account that was not read for too long, and nobody told of it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleAccount {
    /// Which account.
    pub account: AccountId,
    /// Of which connection.
    pub connection: ConnectionId,
    /// Whose.
    pub business: BusinessId,
    /// At which bank.
    pub institution: String,
    /// When it was last known to be what the bank has.
    pub fresh_at: Option<Timestamp>,
    /// Since when it is stale.
    pub stale_at: Timestamp,
    /// Failed syncs in a row.
    pub failures: i64,
    /// Why the last one failed.
    pub reason: Option<String>,
    /// It is polled: somebody relies on it.
    pub polled: bool,
}

/// Percentiles of ages, in seconds: so many hundredths of the accounts are not older.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// Half of them.
    pub p50_s: i64,
    /// All but one in twenty.
    pub p95_s: i64,
    /// All but one in a hundred.
    pub p99_s: i64,
}

impl Age {
    /// From ages in seconds, youngest first, and how many accounts have each (nearest rank). None of nothing.
    pub fn of(counts: &[(i64, i64)]) -> Option<Self> {
        let all: i64 = counts.iter().map(|(_, count)| count).sum();
        let at = |hundredths: i64| {
            let rank = (all * hundredths + 99) / 100;
            let mut seen = 0;
            counts.iter().find_map(|(age, count)| {
                seen += count;
                (seen >= rank).then_some(*age)
            })
        };
        (all > 0).then_some(())?;
        Some(Self { p50_s: at(50)?, p95_s: at(95)?, p99_s: at(99)? })
    }
}

/// What waits to be done, over all processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queues {
    /// By institution; those for which nothing is due are left out.
    pub due: Vec<Due>,
    /// Webhooks whose time has come and that nobody has sent yet.
    pub deliveries: i64,
    /// For how many seconds the first of them has been due.
    pub delivery_lag_s: i64,
}

/// Connections of one institution whose time has come and that nobody syncs yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which bank.
    pub institution: String,
    /// How many.
    pub connections: i64,
    /// For how many seconds the first of them has been due.
    pub lag_s: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_age_that_so_many_do_not_exceed() {
        assert_eq!(Age::of(&[]), None);
        assert_eq!(Age::of(&[(7, 1)]), Some(Age { p50_s: 7, p95_s: 7, p99_s: 7 }));
        let hundred: Vec<_> = (1..=100).map(|age| (age, 1)).collect();
        assert_eq!(Age::of(&hundred), Some(Age { p50_s: 50, p95_s: 95, p99_s: 99 }));
        assert_eq!(Age::of(&[(10, 98), (500, 2)]), Some(Age { p50_s: 10, p95_s: 10, p99_s: 500 }));
    }
}
