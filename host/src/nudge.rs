//! Wake-ups: "look at the table now". They carry no data that matters: whoever misses one finds the same facts in
//! the database a moment later.
//!
//! Within this process they come at once; what other processes must hear of is gathered in [`ForOthers`]. Must not
//! know: how it gets there.

use crate::model::SyncId;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, broadcast};

/// How many finished syncs a slow waiter may miss before it looks into the database instead.
const FINISHED_BACKLOG: usize = 1_024;
/// Finished syncs that are told in one piece of news: some 7 KB, and PostgreSQL takes 8.
pub const FINISHED_MAX: usize = 180;
/// Finished syncs that wait to be told; who waits for one beyond looks by itself soon after.
const FINISHED_WAITING_MAX: usize = 10_000;

/// What can be woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bell {
    /// A connection may be due.
    Schedule,
    /// A delivery may be due.
    Webhooks,
    /// A connection was erased.
    Erased,
    /// An authorisation went on.
    Authorisations,
}

impl Bell {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Schedule, Self::Webhooks, Self::Erased, Self::Authorisations];
}

/// What other processes must hear of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// These rang.
    pub bells: Vec<Bell>,
    /// These syncs are over, for which somebody may wait.
    pub finished: Vec<SyncId>,
}

/// Wake-ups of one process.
#[derive(Debug)]
pub struct Nudge {
    schedule: Notify,
    webhooks: Notify,
    erased: Notify,
    authorisations: Notify,
    finished: broadcast::Sender<SyncId>,
    /// There are other processes, to be told.
    has_others: bool,
    for_others: Mutex<News>,
    there_is_news: Notify,
}

impl Nudge {
    /// Wake-ups of a process that shares its work with others, or not.
    pub fn new(has_others: bool) -> Self {
        Self {
            schedule: Notify::new(),
            webhooks: Notify::new(),
            erased: Notify::new(),
            authorisations: Notify::new(),
            finished: broadcast::Sender::new(FINISHED_BACKLOG),
            has_others,
            for_others: Mutex::default(),
            there_is_news: Notify::new(),
        }
    }

    /// Wakes whoever listens, here and elsewhere.
    pub fn ring(&self, bell: Bell) {
        self.ring_here(bell);
        if self.has_others {
            let mut news = self.news();
            if !news.bells.contains(&bell) {
                news.bells.push(bell);
                self.there_is_news.notify_one();
            }
        }
    }

    /// Returns when the bell rings; one that has rung while nobody listened rings for the next who listens for work.
    pub fn heard(&self, bell: Bell) -> Notified<'_> {
        self.notify(bell).notified()
    }

    /// This sync is over and stored. If it was requested, somebody may wait for it in another process.
    pub fn sync_finished(&self, sync: SyncId, requested: bool) {
        let _ = self.finished.send(sync);
        if requested && self.has_others {
            let mut news = self.news();
            if news.finished.len() < FINISHED_WAITING_MAX {
                news.finished.push(sync);
                self.there_is_news.notify_one();
            }
        }
    }

    /// Hears of syncs that finish from now on. `Lagged` means: look into the database.
    pub fn finished(&self) -> broadcast::Receiver<SyncId> {
        self.finished.subscribe()
    }

    /// Waits until there is something that other processes must hear of, and takes it: no more than one message holds.
    pub async fn take_news(&self) -> News {
        loop {
            self.there_is_news.notified().await;
            let mut news = self.news();
            let told = news.finished.len().min(FINISHED_MAX);
            let finished: Vec<_> = news.finished.drain(..told).collect();
            if !news.finished.is_empty() {
                self.there_is_news.notify_one();
            }
            let bells = std::mem::take(&mut news.bells);
            if !bells.is_empty() || !finished.is_empty() {
                return News { bells, finished };
            }
        }
    }

    /// Another process told this.
    pub fn hear(&self, news: &News) {
        news.bells.iter().for_each(|bell| self.ring_here(*bell));
        for sync in &news.finished {
            let _ = self.finished.send(*sync);
        }
    }

    fn ring_here(&self, bell: Bell) {
        match bell {
            // One worker each: what rings while it looks is kept for it.
            Bell::Schedule | Bell::Webhooks => self.notify(bell).notify_one(),
            Bell::Erased | Bell::Authorisations => self.notify(bell).notify_waiters(),
        }
    }

    fn notify(&self, bell: Bell) -> &Notify {
        match bell {
            Bell::Schedule => &self.schedule,
            Bell::Webhooks => &self.webhooks,
            Bell::Erased => &self.erased,
            Bell::Authorisations => &self.authorisations,
        }
    }

    fn news(&self) -> std::sync::MutexGuard<'_, News> {
        self.for_others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_rang_is_told_once_and_finished_syncs_in_pieces() {
        let nudge = Nudge::new(true);
        let syncs: Vec<_> = (0..FINISHED_MAX + 1).map(|_| SyncId::new()).collect();
        nudge.ring(Bell::Schedule);
        nudge.ring(Bell::Schedule);
        syncs.iter().for_each(|sync| nudge.sync_finished(*sync, true));
        nudge.sync_finished(SyncId::new(), false);
        let first = nudge.take_news().await;
        assert_eq!((first.bells, first.finished.len()), (vec![Bell::Schedule], FINISHED_MAX));
        let second = nudge.take_news().await;
        assert_eq!((second.bells, second.finished.last()), (vec![], syncs.last()));
    }

    #[tokio::test]
    async fn what_others_tell_wakes_and_is_not_told_again() {
        let (nudge, sync) = (Nudge::new(true), SyncId::new());
        let mut finished = nudge.finished();
        nudge.hear(&News { bells: vec![Bell::Webhooks], finished: vec![sync] });
        nudge.heard(Bell::Webhooks).await;
        assert_eq!(finished.recv().await.unwrap(), sync);
        nudge.ring(Bell::Erased);
        assert_eq!(nudge.take_news().await, News { bells: vec![Bell::Erased], finished: vec![] });
    }
}
