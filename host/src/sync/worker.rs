//! Claims what is due and runs it: a timer and a nudge, no input, idempotent. The lease is in the
//! row; a worker that dies leaves rows that become due again by themselves.

use crate::app::App;
use crate::model::{Lease, Timestamp};
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A lease lasts this much longer than a run may send: time to commit what was read.
const LEASE_GRACE: Duration = Duration::from_secs(30);
/// How often the table is looked at without a nudge: other processes can't nudge this one.
const POLL: Duration = Duration::from_secs(1);
/// How long running syncs may take to end when the service stops.
const DRAIN: Duration = Duration::from_secs(20);

/// Works until `shutdown` turns true, then lets running syncs end.
pub async fn work(app: Arc<App>, mut shutdown: watch::Receiver<bool>) {
    let mut running: JoinSet<String> = JoinSet::new();
    let mut busy: BTreeMap<String, u32> = BTreeMap::new();
    while !*shutdown.borrow() {
        let claimed = match claim(&app, &busy, running.len()).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::error!(%error, "due connections could not be claimed; trying again");
                Vec::new()
            }
        };
        let idle = claimed.is_empty();
        for lease in claimed {
            *busy.entry(lease.institution.clone()).or_default() += 1;
            let app = app.clone();
            running.spawn(async move {
                run(&app, &lease).await;
                lease.institution
            });
        }
        if idle {
            let next = app.store.next_due(app.clock.now()).await.ok().flatten();
            tokio::select! {
                () = app.nudge.schedule.notified() => {}
                Some(done) = running.join_next() => finished(&mut busy, done),
                () = sleep_until(&app, next) => {}
                _ = tokio::time::timeout(POLL, std::future::pending::<()>()) => {}
                _ = shutdown.changed() => {}
            }
        }
        while let Some(done) = running.try_join_next() {
            finished(&mut busy, done);
        }
    }
    let drained = tokio::time::timeout(DRAIN, async { while running.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(
            left = running.len(),
            "syncs were still running; their connections are due again when the leases run out"
        );
    }
}

/// Permits first, rows after: no lease is taken that can't be run.
async fn claim(app: &App, busy: &BTreeMap<String, u32>, running: usize) -> Result<Vec<Lease>, StoreError> {
    let left = u32::try_from(app.config.sync_concurrency.saturating_sub(running)).unwrap_or(u32::MAX);
    if left == 0 {
        return Ok(Vec::new());
    }
    // An even share each, so that no institution takes the permits of the others; the next round
    // gives out what was not taken.
    let share = (left / u32::try_from(app.institutions.len().max(1)).unwrap_or(u32::MAX)).max(1);
    let permits: Vec<(String, u32)> = app
        .institutions
        .iter()
        .map(|(id, bank)| {
            let free = bank.institution.limits.concurrency.saturating_sub(busy.get(id).copied().unwrap_or(0));
            (id.clone(), free.min(share))
        })
        .filter(|(_, permits)| *permits > 0)
        .collect();
    if permits.is_empty() {
        return Ok(Vec::new());
    }
    let now = app.clock.now();
    app.store.claim_due(now, now.plus(app.config.lease + LEASE_GRACE), &permits).await
}

async fn run(app: &App, lease: &Lease) {
    match super::run(app, lease).await {
        Ok(()) => {}
        Err(StoreError::LeaseLost) => {
            tracing::info!(connection = %lease.connection, "the connection was stopped or taken over; this run's result is dropped");
        }
        Err(error) => {
            tracing::error!(connection = %lease.connection, %error, "a sync could not be stored; the connection is due again when the lease runs out");
        }
    }
    app.nudge.schedule.notify_one();
}

async fn sleep_until(app: &App, next: Option<Timestamp>) {
    match next {
        // Overdue rows without permits: a run that ends wakes the worker.
        Some(next) if next > app.clock.now() => app.clock.sleep_until(next).await,
        _ => std::future::pending().await,
    }
}

fn finished(busy: &mut BTreeMap<String, u32>, done: Result<String, tokio::task::JoinError>) {
    match done {
        Ok(institution) => {
            if let Some(count) = busy.get_mut(&institution) {
                *count = count.saturating_sub(1);
            }
        }
        // The institution of a run that panicked is unknown: forget the counts, the global cap holds.
        Err(error) => {
            tracing::error!(%error, "a sync task ended abnormally");
            busy.clear();
        }
    }
}
