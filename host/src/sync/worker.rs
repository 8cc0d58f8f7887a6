//! Claims what is due and runs it: a timer and a nudge, no input, idempotent. The lease is in the
//! row; a worker that dies leaves rows that become due again by themselves.

use crate::app::App;
use crate::model::{ConnectionId, Lease, Timestamp};
use crate::store::StoreError;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{self, AbortHandle, JoinError, JoinSet};

/// A lease lasts this much longer than a run may send: time to commit what was read.
const LEASE_GRACE: Duration = Duration::from_secs(30);
/// How often the table is looked at without a nudge: other processes can't nudge this one.
const POLL: Duration = Duration::from_secs(1);
/// How long running syncs may take to end when the service stops.
const DRAIN: Duration = Duration::from_secs(20);

/// Works until `shutdown` turns true, then lets running syncs end.
pub async fn work(app: Arc<App>, mut shutdown: watch::Receiver<bool>) {
    let mut runs = Runs::default();
    while !*shutdown.borrow() {
        app.metrics.runs(runs.tasks.len());
        let claimed = match claim(&app, &runs).await {
            Ok(leases) => leases,
            Err(error) => {
                tracing::error!(%error, "due connections could not be claimed; trying again");
                Vec::new()
            }
        };
        let idle = claimed.is_empty();
        for lease in claimed {
            runs.start(app.clone(), lease);
        }
        if idle {
            let next = app.store.next_due(app.clock.now()).await.ok().flatten();
            tokio::select! {
                () = app.nudge.schedule.notified() => {}
                Some(ended) = runs.tasks.join_next_with_id() => runs.ended(ended),
                () = sleep_until(&app, next) => {}
                _ = tokio::time::timeout(POLL, std::future::pending::<()>()) => {}
                _ = shutdown.changed() => {}
            }
        }
        while let Some(ended) = runs.tasks.try_join_next_with_id() {
            runs.ended(ended);
        }
    }
    let drained =
        tokio::time::timeout(DRAIN, async { while runs.tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(
            left = runs.tasks.len(),
            "syncs were still running; their connections are due again when the leases run out"
        );
    }
}

/// The runs of this process.
#[derive(Default)]
struct Runs {
    tasks: JoinSet<()>,
    /// Of which connection and institution each task is.
    of: HashMap<task::Id, (ConnectionId, String)>,
    /// The latest run of each connection.
    latest: HashMap<ConnectionId, AbortHandle>,
    /// How many there are of each institution.
    busy: BTreeMap<String, u32>,
}

impl Runs {
    /// A connection that is claimed again has lost the lease of its run before: what that one stores
    /// would be refused, so it asks the bank for nothing more.
    fn start(&mut self, app: Arc<App>, lease: Lease) {
        let (connection, institution) = (lease.connection, lease.institution.clone());
        if let Some(before) = self.latest.get(&connection) {
            before.abort();
        }
        *self.busy.entry(institution.clone()).or_default() += 1;
        let task = self.tasks.spawn(async move { run(&app, &lease).await });
        self.of.insert(task.id(), (connection, institution));
        self.latest.insert(connection, task);
    }

    /// Takes back what a task held, however it ended.
    fn ended(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if !error.is_cancelled() {
                    tracing::error!(%error, "a sync task ended abnormally");
                }
                error.id()
            }
        };
        let Some((connection, institution)) = self.of.remove(&id) else { return };
        if self.latest.get(&connection).is_some_and(|latest| latest.id() == id) {
            self.latest.remove(&connection);
        }
        if let Some(count) = self.busy.get_mut(&institution) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Permits first, rows after: no lease is taken that can't be run.
async fn claim(app: &App, runs: &Runs) -> Result<Vec<Lease>, StoreError> {
    let left =
        u32::try_from(app.config.sync_concurrency.saturating_sub(runs.tasks.len())).unwrap_or(u32::MAX);
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
            let busy = runs.busy.get(id).copied().unwrap_or(0);
            let free = bank.institution.limits.concurrency.saturating_sub(busy);
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
