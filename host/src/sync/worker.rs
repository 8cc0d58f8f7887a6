//! Claims what is due and runs it: a timer and a nudge, no input, idempotent. The lease is in the
//! row; a worker that dies leaves rows that become due again by themselves.

use super::lanes;
use crate::app::App;
use crate::model::{ConnectionId, Lane, Lease, PerLane, Permits, Timestamp};
use crate::nudge::Bell;
use crate::store::{Opened, StoreError};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::Instrument;

/// A lease lasts this much longer than a run may send: time to commit what was read.
const LEASE_GRACE: Duration = Duration::from_secs(30);
/// How often the table is looked at without a nudge: other processes can't nudge this one.
const POLL: Duration = Duration::from_secs(1);
/// Claims have at least so much time between them, unless somebody is waiting: a claim costs the same for one
/// connection as for many, and a run of the schedule can wait as long as a request takes to leave.
const CLAIM_EVERY: Duration = Duration::from_millis(10);
/// How long running syncs may take to end when the service stops.
const DRAIN: Duration = Duration::from_secs(20);

/// Works until `shutdown` turns true, then lets running syncs end.
pub async fn work(app: Arc<App>, mut shutdown: watch::Receiver<bool>) {
    let mut runs = Runs::default();
    // Something may have become due. When only time has passed, one look at the table says so, and nothing is
    // claimed: that is all that an idle service does.
    let mut may_be_due = true;
    while !*shutdown.borrow() {
        app.metrics.runs(runs.tasks.len());
        let claimed_at = Instant::now();
        let claimed = match claim(&app, &runs, may_be_due).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::error!(%error, "due connections could not be claimed; trying again");
                Vec::new()
            }
        };
        let idle = claimed.is_empty();
        for (lease, opened) in claimed {
            runs.start(app.clone(), lease, opened);
        }
        let mut somebody_waits = false;
        if idle {
            let now = app.clock.now();
            let next = app.store.next_due(now).await.ok().flatten();
            let is_due = next.is_some_and(|next| next <= now);
            if is_due && !may_be_due {
                may_be_due = true;
                continue;
            }
            may_be_due = true;
            tokio::select! {
                () = app.nudge.heard(Bell::Schedule) => somebody_waits = true,
                Some(ended) = runs.tasks.join_next_with_id() => runs.ended(ended),
                () = sleep_until(&app, next) => {}
                // What is due and was not claimed waits for a permit.
                _ = tokio::time::timeout(POLL, std::future::pending::<()>()) => may_be_due = is_due,
                _ = shutdown.changed() => {}
            }
        }
        if !somebody_waits {
            tokio::select! {
                () = app.nudge.heard(Bell::Schedule) => {}
                () = tokio::time::sleep_until(claimed_at + CLAIM_EVERY) => {}
            }
        }
        while let Some(ended) = runs.tasks.try_join_next_with_id() {
            runs.ended(ended);
        }
    }
    let ended = async {
        while let Some(ended) = runs.tasks.join_next_with_id().await {
            runs.ended(ended);
        }
    };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        runs.give_back(&app).await;
    }
}

/// The runs of this process.
#[derive(Default)]
struct Runs {
    tasks: JoinSet<()>,
    /// By which lease each task runs.
    of: HashMap<task::Id, Lease>,
    /// The latest run of each connection.
    latest: HashMap<ConnectionId, AbortHandle>,
    /// How many there are of each institution.
    busy: BTreeMap<String, PerLane<u32>>,
}

impl Runs {
    /// A connection that is claimed again has lost the lease of its run before: what that one stores
    /// would be refused, so it asks the bank for nothing more.
    fn start(&mut self, app: Arc<App>, lease: Lease, opened: Opened) {
        if let Some(before) = self.latest.get(&lease.connection) {
            before.abort();
        }
        *self.busy.entry(lease.institution.clone()).or_default().get_mut(lease.lane) += 1;
        let held = lease.clone();
        let task = self.tasks.spawn(async move { run(&app, &held, opened).await });
        self.latest.insert(lease.connection, task.clone());
        self.of.insert(task.id(), lease);
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
        let Some(lease) = self.of.remove(&id) else { return };
        if self.latest.get(&lease.connection).is_some_and(|latest| latest.id() == id) {
            self.latest.remove(&lease.connection);
        }
        if let Some(busy) = self.busy.get_mut(&lease.institution) {
            let count = busy.get_mut(lease.lane);
            *count = count.saturating_sub(1);
        }
    }

    /// Stops what still runs; its connections are due at once, for whoever takes them.
    async fn give_back(&mut self, app: &App) {
        self.tasks.shutdown().await;
        tracing::warn!(
            runs = self.of.len(),
            "syncs took too long and were stopped; their connections are due at once"
        );
        for lease in self.of.values() {
            match app.store.release(lease, app.clock.now()).await {
                Ok(()) | Err(StoreError::LeaseLost) => {}
                Err(error) => {
                    tracing::error!(%error, "connections could not be given back; they are due when the leases run out");
                    return;
                }
            }
        }
        app.nudge.ring(Bell::Schedule);
    }

    /// How many there are of each lane.
    fn of_lanes(&self) -> PerLane<u32> {
        let of = |lane| self.busy.values().fold(0_u32, |sum, busy| sum.saturating_add(*busy.get(lane)));
        PerLane::of(of)
    }
}

/// Permits first, rows after: no lease is taken that can't be run. With what the runs begin with.
async fn claim(app: &App, runs: &Runs, may_be_due: bool) -> Result<Vec<(Lease, Opened)>, StoreError> {
    let config = &app.config;
    let all = lanes::share(u32::try_from(config.sync_concurrency).unwrap_or(u32::MAX), &runs.of_lanes());
    if !may_be_due || all.free == 0 {
        return Ok(Vec::new());
    }
    let institutions = app.institutions.iter().map(|(id, bank)| {
        let busy = runs.busy.get(id).copied().unwrap_or_default();
        let part = |limit| app.crew.part(id, limit);
        (id.clone(), lanes::share(lanes::concurrency(&bank.institution.limits, config.lease, part), &busy))
    });
    let per_business = PerLane::of(|lane| match lane {
        Lane::Ordinary => u32::MAX,
        Lane::Wanted => config.sync_on_demand_per_business,
        Lane::First | Lane::History => config.sync_histories_per_business,
    });
    let permits = Permits { all, institutions: institutions.collect(), per_business };
    let now = app.clock.now();
    let span = tracing::debug_span!(target: "tidegate", "claim", claimed = tracing::field::Empty);
    let claiming = app.store.claim_due(now, now.plus(config.lease + LEASE_GRACE), &permits);
    let leases = claiming.instrument(span.clone()).await?;
    span.record("claimed", leases.len());
    if leases.is_empty() {
        return Ok(Vec::new());
    }
    let opened = app.store.opened(&leases).await?;
    let mut claimed = Vec::new();
    for (lease, opened) in leases.into_iter().zip(opened) {
        match opened {
            Ok(opened) => claimed.push((lease, opened)),
            Err(error) => not_stored(&lease, &error),
        }
    }
    Ok(claimed)
}

async fn run(app: &App, lease: &Lease, opened: Opened) {
    if let Err(error) = super::run(app, lease, opened).await {
        not_stored(lease, &error);
    }
}

fn not_stored(lease: &Lease, error: &StoreError) {
    match error {
        StoreError::LeaseLost => {
            tracing::info!(connection = %lease.connection, "the connection was stopped or taken over; this run's result is dropped");
        }
        error => {
            tracing::error!(connection = %lease.connection, %error, "a sync could not be stored; the connection is due again when the lease runs out");
        }
    }
}

async fn sleep_until(app: &App, next: Option<Timestamp>) {
    match next {
        // Overdue rows without permits: a run that ends wakes the worker.
        Some(next) if next > app.clock.now() => app.clock.sleep_until(next).await,
        _ => std::future::pending().await,
    }
}
