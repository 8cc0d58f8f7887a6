//! Wake-ups within this process: "look at the table now". Carries no data that matters: whoever
//! misses one finds the same facts in the database a moment later.

use crate::model::SyncId;
use tokio::sync::{Notify, broadcast};

/// How many finished syncs a slow waiter may miss before it looks into the database instead.
const FINISHED_BACKLOG: usize = 1_024;

/// Wake-ups of one process.
#[derive(Debug)]
pub struct Nudge {
    /// A connection may be due.
    pub schedule: Notify,
    /// A delivery may be due.
    pub webhooks: Notify,
    /// A connection was erased.
    pub erased: Notify,
    /// An authorisation went on.
    pub authorisations: Notify,
    finished: broadcast::Sender<SyncId>,
}

impl Default for Nudge {
    fn default() -> Self {
        Self {
            schedule: Notify::new(),
            webhooks: Notify::new(),
            erased: Notify::new(),
            authorisations: Notify::new(),
            finished: broadcast::Sender::new(FINISHED_BACKLOG),
        }
    }
}

impl Nudge {
    /// This sync is over and stored.
    pub fn sync_finished(&self, sync: SyncId) {
        let _ = self.finished.send(sync);
    }
    /// Hears of syncs that finish from now on. `Lagged` means: look into the database.
    pub fn finished(&self) -> broadcast::Receiver<SyncId> {
        self.finished.subscribe()
    }
}
