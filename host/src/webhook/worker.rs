//! Finds due deliveries and sends them: a timer and a nudge, no input. Whatever is missed, by a lost
//! wake-up or a killed process, the next look at the table finds.
//!
//! Must not know: signatures, HTTP, what an event says.

use super::deliver;
use super::permits::{Permits, Wish};
use crate::app::App;
use crate::model::{ClaimedDelivery, EndpointId, Timestamp};
use crate::nudge::Bell;
use crate::store::StoreError;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{self, JoinError, JoinSet};

/// Deliveries that another process committed are found this late at most; in real time, since the
/// other process does not know this one's clock.
const POLL: Duration = Duration::from_secs(1);
/// A claim outlives the exchange by this: signing, recording, a busy machine.
const LEASE_GRACE: Duration = Duration::from_secs(15);
/// How long a stopping process waits for answers. What is cut off is sent again after its lease.
const DRAIN_MAX: Duration = Duration::from_secs(20);
/// First and longest pause after a database error.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Sends webhooks until `shutdown` turns true, then finishes what is in flight. No error ends it.
pub async fn run(app: Arc<App>, mut shutdown: watch::Receiver<bool>) {
    let mut worker = Worker {
        permits: Permits::new(app.config.webhook_concurrency, app.config.webhook_per_endpoint),
        running: JoinSet::new(),
        held: HashMap::new(),
        blocked: HashSet::new(),
        starved: false,
        app,
    };
    let mut pause = BACK_OFF.0;
    while !*shutdown.borrow() {
        // Registered before looking, so that what is committed while we look wakes us.
        let app = worker.app.clone();
        let nudged = app.nudge.heard(Bell::Webhooks);
        tokio::pin!(nudged);
        nudged.as_mut().enable();
        let (wait, next_due) = match worker.claim().await {
            Ok(next_due) => {
                pause = BACK_OFF.0;
                (POLL, next_due)
            }
            Err(error) => {
                tracing::error!(%error, "due webhooks could not be claimed; trying again");
                let wait = pause;
                pause = (pause * 2).min(BACK_OFF.1);
                (wait, None)
            }
        };
        let due = async {
            match next_due {
                Some(moment) => app.clock.sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        #[allow(clippy::disallowed_methods)] // polls in real time, see POLL
        let poll = tokio::time::sleep(wait);
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => break,
            () = worker.freed() => {}
            () = nudged => {}
            () = due => {}
            () = poll => {}
        }
    }
    worker.drain().await;
}

struct Worker {
    app: Arc<App>,
    permits: Permits,
    running: JoinSet<()>,
    /// The permit of each running task: whose it is, and as failing or not.
    held: HashMap<task::Id, (EndpointId, bool)>,
    /// Endpoints that had no permit left at the last look.
    blocked: HashSet<EndpointId>,
    /// There was no permit left at all.
    starved: bool,
}

impl Worker {
    /// Starts all that is due and has a permit; when the next delivery is due, if that is later than now.
    async fn claim(&mut self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            self.collect();
            let now = self.app.clock.now();
            self.blocked.clear();
            self.starved = false;
            let next = self.app.store.next_delivery().await?;
            if next.is_none_or(|due| due > now) {
                return Ok(next);
            }
            let until = now.plus(self.app.config.egress.webhook_timeout + LEASE_GRACE);
            let mut started = 0;
            for wish in [Permits::healthy, Permits::failing] {
                let wish = wish(&self.permits);
                if wish.limit > 0 {
                    let claimed = self.claim_wish(&wish, now, until).await?;
                    started += claimed.len();
                    for delivery in claimed {
                        self.start(delivery, wish.failing);
                    }
                }
                self.blocked.extend(wish.busy);
                self.starved = wish.limit == 0;
            }
            if started == 0 {
                return Ok(None); // what is due waits for a permit, see `freed`
            }
        }
    }

    async fn claim_wish(
        &self,
        wish: &Wish,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let Wish { failing, limit, per_endpoint, ref busy } = *wish;
        self.app.store.claim_deliveries(now, until, per_endpoint, limit, failing, busy).await
    }

    fn start(&mut self, delivery: ClaimedDelivery, failing: bool) {
        let endpoint = delivery.endpoint.id;
        self.permits.begin(endpoint, failing);
        let app = self.app.clone();
        let task = self.running.spawn(async move { deliver::attempt(&app, &delivery).await });
        self.held.insert(task.id(), (endpoint, failing));
    }

    /// Returns when a permit is free that something due may be waiting for.
    async fn freed(&mut self) {
        while let Some(ended) = self.running.join_next_with_id().await {
            let endpoint = self.take_back(ended);
            if self.starved || endpoint.is_some_and(|endpoint| self.blocked.contains(&endpoint)) {
                return;
            }
        }
        std::future::pending().await
    }

    /// Takes back all permits that are free by now.
    fn collect(&mut self) {
        while let Some(ended) = self.running.try_join_next_with_id() {
            self.take_back(ended);
        }
    }

    /// Takes back the permit of an ended task, however it ended; whose it was.
    fn take_back(&mut self, ended: Result<(task::Id, ()), JoinError>) -> Option<EndpointId> {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!("a delivery was cut off; it is attempted again when its lease is over");
                error.id()
            }
        };
        let (endpoint, failing) = self.held.remove(&id)?;
        self.permits.end(endpoint, failing);
        Some(endpoint)
    }

    async fn drain(mut self) {
        let all = async { while self.running.join_next().await.is_some() {} };
        #[allow(clippy::disallowed_methods)] // a stopping process waits in real time
        let done = tokio::time::timeout(DRAIN_MAX, all).await;
        if done.is_err() {
            tracing::warn!(
                cut_off = self.running.len(),
                "stopped with webhooks in flight; they are sent again"
            );
        }
    }
}
