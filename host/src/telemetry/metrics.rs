//! Numbers for whoever watches the service, in the OpenMetrics text format.
//!
//! Counters and the histogram are of this process, since it started. What stands in the database (age of data, queues)
//! is looked up when it is asked for. No label names a business, a connection or an account. Must not know: who counts.

use crate::model::{Failing, Freshness, HeldInstitution, Queues};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::time::Duration;

/// Upper bounds of sync times, in seconds: from a bank that answers at once to a lease's end.
const SYNC_SECONDS: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SyncLabels {
    institution: String,
    code: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfInstitution {
    institution: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailingLabels {
    institution: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HeldLabels {
    institution: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AgeLabels {
    institution: String,
    quantile: &'static str,
}

/// What this process counts.
#[derive(Debug, Default)]
pub struct Metrics {
    syncs: Family<SyncLabels, Counter>,
    sync_seconds: SyncSeconds,
    runs: Gauge,
    attempts: Family<AttemptLabels, Counter>,
}

/// A histogram over [`SYNC_SECONDS`].
#[derive(Debug, Clone)]
struct SyncSeconds(Histogram);

impl Default for SyncSeconds {
    fn default() -> Self {
        Self(Histogram::new(SYNC_SECONDS))
    }
}

impl Metrics {
    /// A sync of one account is over.
    pub fn sync_ended(&self, institution: &str, code: &'static str, reason: Option<&str>, took: Duration) {
        let reason = reason.unwrap_or_default().to_owned();
        let labels = SyncLabels { institution: institution.to_owned(), code, reason };
        self.syncs.get_or_create(&labels).inc();
        self.sync_seconds.0.observe(took.as_secs_f64());
    }

    /// So many runs are under way.
    pub fn runs(&self, number: usize) {
        self.runs.set(i64::try_from(number).unwrap_or(i64::MAX));
    }

    /// How many runs are under way.
    pub fn runs_in_flight(&self) -> i64 {
        self.runs.get()
    }

    /// A webhook was sent; `outcome`: `delivered`, or what went wrong.
    pub fn attempted(&self, outcome: &'static str) {
        self.attempts.get_or_create(&AttemptLabels { outcome }).inc();
    }

    /// Everything, with what was looked up just now. Ends with `# EOF`.
    pub fn text(
        &self,
        freshness: &[Freshness],
        queues: &Queues,
        held: &[HeldInstitution],
    ) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("tidegate");
        registry.register("syncs", "Syncs that ended, of one account each", self.syncs.clone());
        let help = "How long a sync took, from the start of its run";
        registry.register_with_unit("sync", help, Unit::Seconds, self.sync_seconds.0.clone());
        registry.register("runs_in_flight", "Connections being synced by this process", self.runs.clone());
        registry.register("webhook_attempts", "Webhooks sent by this process", self.attempts.clone());
        register_freshness(&mut registry, freshness);
        register_queues(&mut registry, queues);
        let left_alone = Family::<HeldLabels, Gauge>::default();
        for one in held {
            let labels = HeldLabels { institution: one.institution.clone(), reason: one.reason.clone() };
            left_alone.get_or_create(&labels).set(1);
        }
        registry.register("institutions_held", "Banks that are left alone for a while, and why", left_alone);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

fn register_freshness(registry: &mut Registry, freshness: &[Freshness]) {
    let (ages, accounts) = (Family::<AgeLabels, Gauge>::default(), Family::<OfInstitution, Gauge>::default());
    let (waiting, stale) =
        (Family::<OfInstitution, Gauge>::default(), Family::<OfInstitution, Gauge>::default());
    let failing = Family::<FailingLabels, Gauge>::default();
    for one in freshness {
        let of = OfInstitution { institution: one.institution.clone() };
        accounts.get_or_create(&of).set(one.accounts);
        waiting.get_or_create(&of).set(one.waiting);
        stale.get_or_create(&of).set(one.stale);
        for Failing { reason, accounts, .. } in &one.failing {
            let labels = FailingLabels { institution: of.institution.clone(), reason: reason.clone() };
            failing.get_or_create(&labels).set(*accounts);
        }
        let Some(age) = one.age else { continue };
        for (quantile, seconds) in [("0.5", age.p50_s), ("0.95", age.p95_s), ("0.99", age.p99_s)] {
            let labels = AgeLabels { institution: of.institution.clone(), quantile };
            ages.get_or_create(&labels).set(seconds);
        }
    }
    let help = "How old the data of polled accounts is";
    registry.register_with_unit("data_age", help, Unit::Seconds, ages);
    registry.register("accounts", "Accounts that are polled and were read at least once", accounts);
    registry.register("accounts_waiting", "Accounts that are polled and were never read", waiting);
    registry.register("accounts_stale", "Accounts that are polled and were not read in time", stale);
    registry.register("accounts_failing", "Accounts that are polled and whose last sync failed", failing);
}

fn register_queues(registry: &mut Registry, queues: &Queues) {
    let (due, lag) = (Family::<OfInstitution, Gauge>::default(), Family::<OfInstitution, Gauge>::default());
    for one in &queues.due {
        let of = OfInstitution { institution: one.institution.clone() };
        due.get_or_create(&of).set(one.connections);
        lag.get_or_create(&of).set(one.lag_s);
    }
    registry.register("connections_due", "Connections whose time has come and that nobody syncs yet", due);
    let help = "How long the most overdue connection has been due";
    registry.register_with_unit("due_lag", help, Unit::Seconds, lag);
    let (deliveries, oldest) = (Gauge::<i64>::default(), Gauge::<i64>::default());
    deliveries.set(queues.deliveries);
    oldest.set(queues.delivery_lag_s);
    registry.register(
        "deliveries_due",
        "Webhooks whose time has come and that nobody has sent yet",
        deliveries,
    );
    let help = "How long the most overdue webhook has been due";
    registry.register_with_unit("delivery_lag", help, Unit::Seconds, oldest);
}
