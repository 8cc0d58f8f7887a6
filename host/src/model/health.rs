//! How an institution fares, judged by the syncs of its accounts. Pure.

use super::{BreakerState, Freshness, HeldInstitution, Timestamp};
use serde::Serialize;

/// From so many hundredths of the polled accounts on that fail, an institution is degraded: fewer are accounts with
/// troubles of their own.
const DEGRADED_PERCENT: i64 = 5;

/// How it fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Accounts are read as planned.
    Healthy,
    /// Some are not.
    Degraded,
    /// None is.
    Down,
    /// No account is polled: nobody knows.
    Unknown,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// It does not answer, or not as its interface promises.
    Bank,
    /// The service, its configuration or a connector: the operator must act.
    Operator,
    /// Customers must act, each for their own connection.
    Customer,
}

impl Fault {
    /// Whose a sync's reason is.
    pub fn of(reason: &str) -> Self {
        match reason {
            "credentials-rejected" | "credentials-withheld" | "consent-expired" | "customer-needed" => {
                Self::Customer
            }
            "connector-fault" | "not-configured" | "not-supported" => Self::Operator,
            _ => Self::Bank,
        }
    }
}

/// How an institution fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstitutionHealth {
    /// In a word.
    pub status: HealthStatus,
    /// Whose fault it is; none if nothing is wrong, or nobody knows.
    pub fault: Option<Fault>,
    /// What goes wrong most often, as syncs say it.
    pub reason: Option<String>,
    /// When the first account that fails was last read well, or, where all do, the last one; of a bank that is left
    /// alone, since when.
    pub since: Option<Timestamp>,
    /// It is left alone until then; in the past, if it is tried as soon as something is due.
    pub held_until: Option<Timestamp>,
    /// Polled accounts that fail for other reasons than their customer's.
    pub failing: i64,
}

impl InstitutionHealth {
    /// By what is counted of its accounts; `barred`: nothing can be asked of it; `held`: it is left alone for a while.
    pub fn of(counted: Option<&Freshness>, barred: bool, held: Option<&HeldInstitution>) -> Self {
        let failing: Vec<_> = counted
            .into_iter()
            .flat_map(|counted| &counted.failing)
            .filter(|failing| Fault::of(&failing.reason) != Fault::Customer)
            .collect();
        let count: i64 = failing.iter().map(|failing| failing.accounts).sum();
        let last = counted.and_then(|counted| counted.last_success_at);
        let polled = counted.map_or(0, |counted| counted.accounts + counted.waiting);
        let (worst, stale) = (failing.first(), counted.map_or(0, |counted| counted.stale));
        let reason = worst.map(|worst| worst.reason.clone());
        let fault = worst.map(|worst| Fault::of(&worst.reason));
        let held_until = held.map(|held| held.until);
        let is =
            |status, fault, reason, since| Self { status, fault, reason, since, held_until, failing: count };
        if barred {
            return is(HealthStatus::Down, Some(Fault::Operator), Some("not-configured".to_owned()), last);
        }
        if let Some(held) = held {
            let banks = failing.iter().find(|failing| Fault::of(&failing.reason) == Fault::Bank);
            let (status, reason) = match held.state {
                // One that only wants fewer requests answers still.
                BreakerState::Closed => (HealthStatus::Degraded, &held.reason),
                BreakerState::Open | BreakerState::HalfOpen => {
                    (HealthStatus::Down, banks.map_or(&held.reason, |failing| &failing.reason))
                }
            };
            return is(status, Some(Fault::Bank), Some(reason.clone()), held.since);
        }
        if polled == 0 {
            return is(HealthStatus::Unknown, None, None, None);
        }
        if count >= polled {
            return is(HealthStatus::Down, fault, reason, last);
        }
        if count * 100 >= polled * DEGRADED_PERCENT {
            let since = failing.iter().filter_map(|failing| failing.since).min();
            return is(HealthStatus::Degraded, fault, reason, since);
        }
        if stale * 100 >= polled * DEGRADED_PERCENT {
            // Nothing fails, and yet it is not read in time: it waits for us.
            return is(HealthStatus::Degraded, Some(Fault::Operator), Some("late".to_owned()), None);
        }
        is(HealthStatus::Healthy, None, None, None)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Age, Failing};
    use super::*;

    fn counted(accounts: i64, stale: i64, failing: &[(&str, i64)]) -> Freshness {
        Freshness {
            institution: "bank".to_owned(),
            accounts,
            waiting: 0,
            age: Age::of(&[(60, accounts)]),
            stale,
            last_success_at: Some(Timestamp(9)),
            failing: failing
                .iter()
                .map(|(reason, accounts)| Failing {
                    reason: (*reason).to_owned(),
                    accounts: *accounts,
                    since: Some(Timestamp(4)),
                })
                .collect(),
        }
    }

    fn check(counted: &Freshness, status: HealthStatus, fault: Option<Fault>, since: Option<i64>) {
        let health = InstitutionHealth::of(Some(counted), false, None);
        assert_eq!(
            (health.status, health.fault, health.since),
            (status, fault, since.map(Timestamp)),
            "{counted:?}"
        );
    }

    #[test]
    fn the_syncs_of_its_accounts_say_how_an_institution_fares() {
        use Fault::{Bank, Operator};
        use HealthStatus::{Degraded, Down, Healthy};
        check(&counted(100, 0, &[]), Healthy, None, None);
        check(&counted(100, 0, &[("unreachable", 4)]), Healthy, None, None);
        check(&counted(100, 0, &[("unreachable", 5)]), Degraded, Some(Bank), Some(4));
        check(
            &counted(100, 9, &[("connector-fault", 60), ("unreachable", 5)]),
            Degraded,
            Some(Operator),
            Some(4),
        );
        check(&counted(100, 100, &[("unreachable", 99), ("unreadable", 1)]), Down, Some(Bank), Some(9));
        check(&counted(100, 5, &[]), Degraded, Some(Operator), None);
    }

    #[test]
    fn what_customers_must_mend_is_nobody_elses_fault() {
        check(&counted(10, 0, &[("credentials-rejected", 10)]), HealthStatus::Healthy, None, None);
        for reason in ["credentials-withheld", "consent-expired", "customer-needed"] {
            assert_eq!(Fault::of(reason), Fault::Customer);
        }
    }

    #[test]
    fn a_bank_that_is_left_alone_is_down_and_one_that_wants_fewer_requests_degraded() {
        let held = |state, reason: &str| HeldInstitution {
            institution: "bank".to_owned(),
            reason: reason.to_owned(),
            state,
            since: Some(Timestamp(7)),
            until: Timestamp(99),
            faults: 10,
        };
        let check = |held: &HeldInstitution, status| {
            let health = InstitutionHealth::of(Some(&counted(100, 0, &[])), false, Some(held));
            assert_eq!(
                (health.status, health.fault, health.since),
                (status, Some(Fault::Bank), Some(Timestamp(7)))
            );
            assert_eq!((health.reason, health.held_until), (Some(held.reason.clone()), Some(Timestamp(99))));
        };
        check(&held(BreakerState::Open, "failing"), HealthStatus::Down);
        check(&held(BreakerState::HalfOpen, "failing"), HealthStatus::Down);
        check(&held(BreakerState::Closed, "rate-limited"), HealthStatus::Degraded);
        // It says what the bank does, not what else goes wrong.
        let counted = counted(100, 0, &[("connector-fault", 60), ("unreachable", 5)]);
        let reason = |state, reason| {
            InstitutionHealth::of(Some(&counted), false, Some(&held(state, reason))).reason.unwrap()
        };
        assert_eq!(reason(BreakerState::Open, "failing"), "unreachable");
        assert_eq!(reason(BreakerState::Closed, "rate-limited"), "rate-limited");
    }

    #[test]
    fn without_accounts_nobody_knows_and_what_is_barred_is_down() {
        let health = |counted: Option<&Freshness>, barred| InstitutionHealth::of(counted, barred, None);
        assert_eq!(health(None, false).status, HealthStatus::Unknown);
        assert_eq!(health(Some(&counted(0, 0, &[])), false).status, HealthStatus::Unknown);
        let barred = health(Some(&counted(3, 0, &[])), true);
        assert_eq!((barred.status, barred.fault), (HealthStatus::Down, Some(Fault::Operator)));
        assert_eq!(barred.reason.unwrap(), "not-configured");
    }
}
