//! Group commit: what many runs came to is written in one database transaction. A commit costs a flush of the disk, and
//! each statement its way to the database, whatever it is about; a group shares both.
//!
//! Whatever has come while a group was written is the next one. While there are groups, runs of the schedule, for whom
//! nobody waits, are gathered for a moment more; alone on an idle service a run is written at once. Each lease is
//! checked by its token; whose is lost drops out of the group alone. If a group can't be written, its halves are tried,
//! until the one that can't stands alone. Must not know: tables.

use super::commit::{self, Commit};
use super::db::{Db, Tx};
use super::schedule::{Completion, complete_all, fence_all};
use super::{Result, StoreError};
use crate::model::{Lease, Sync};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Runs of one group, and rows of transactions in it unless one run has more. PostgreSQL: beyond a hundred a commit is no
/// part worth speaking of any more, and rows are some megabytes of parameters.
const POSTGRES_MAX: Size = Size { runs: 100, rows: 2_000 };
/// The same for SQLite, which flushes nothing at a commit: whoever does not wait for a group waits for one that is being written.
const SQLITE_MAX: Size = Size { runs: 32, rows: 500 };
/// How long a group that is not alone waits for more: far less than a bank takes to answer.
const GATHER: Duration = Duration::from_millis(10);
/// Groups written at the same time where the database has many writers: while one is flushed, the next is made.
const WRITERS: usize = 4;
/// How often SQLite's log is moved while groups are written: often enough that little is left for who fills it up.
const MOVE_LOG_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, Copy)]
struct Size {
    runs: usize,
    rows: usize,
}

/// What a run leaves.
pub(super) enum Write {
    /// What it came to for one account.
    Commit(Box<Commit>),
    /// That it is over.
    Complete(Completion),
}

impl Write {
    fn lease(&self) -> &Lease {
        match self {
            Self::Commit(commit) => &commit.lease,
            Self::Complete(completion) => &completion.lease,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Commit(commit) => commit.weight(),
            Self::Complete(_) => 0,
        }
    }
}

/// The sync as stored, of a commit.
type Written = Option<Sync>;

struct Waiting {
    write: Write,
    done: oneshot::Sender<Result<Written>>,
}

/// The way into the next group. Its writers end with the last clone.
#[derive(Clone)]
pub(super) struct Groups(mpsc::UnboundedSender<Waiting>);

impl Groups {
    /// Starts the writers.
    pub(super) fn start(db: &Db) -> Self {
        // Whoever waits holds a permit of the service, and waits with one write at a time: they are the bound.
        let (into, waiting) = mpsc::unbounded_channel();
        let (writers, max) = match db {
            Db::Sqlite { .. } => (1, SQLITE_MAX),
            Db::Postgres(_) => (WRITERS, POSTGRES_MAX),
        };
        let queue = Queue { arriving: waiting, waiting: VecDeque::new(), max, is_busy: false };
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..writers {
            tokio::spawn(write_groups(db.clone(), queue.clone()));
        }
        Self(into)
    }

    /// Writes with the next group.
    pub(super) async fn join(&self, write: Write) -> Result<Written> {
        let ended = || StoreError::Database("the service is stopping".to_owned());
        let (done, written) = oneshot::channel();
        self.0.send(Waiting { write, done }).map_err(|_| ended())?;
        written.await.map_err(|_| ended())?
    }

    /// Writes at once.
    pub(super) async fn alone(&self, db: &Db, write: Write) -> Result<Written> {
        let mut tx = db.begin().await?;
        let written = write_all(&mut tx, &[&write]).await?.pop().unwrap_or(Err(StoreError::LeaseLost))?;
        tx.commit().await?;
        Ok(written)
    }
}

struct Queue {
    arriving: mpsc::UnboundedReceiver<Waiting>,
    waiting: VecDeque<Waiting>,
    max: Size,
    /// The last group was of more than one.
    is_busy: bool,
}

async fn write_groups(db: Db, queue: Arc<Mutex<Queue>>) {
    let mut log = LogMover::default();
    loop {
        let next = queue.lock().await.next().await;
        match next {
            Some(group) => write_group(&db, group).await,
            None => return,
        }
        log.go_on(&db);
    }
}

/// Moves SQLite's log beside the writer, so that who commits need not.
#[derive(Default)]
struct LogMover {
    last: Option<(Instant, JoinHandle<()>)>,
}

impl LogMover {
    fn go_on(&mut self, db: &Db) {
        let rests =
            |(at, moving): &(Instant, JoinHandle<()>)| at.elapsed() < MOVE_LOG_EVERY || !moving.is_finished();
        if matches!(db, Db::Postgres(_)) || self.last.as_ref().is_some_and(rests) {
            return;
        }
        let db = db.clone();
        let moving = tokio::spawn(async move {
            if let Err(error) = db.move_log().await {
                tracing::warn!(%error, "the database's log could not be moved into the file; trying again");
            }
        });
        self.last = Some((Instant::now(), moving));
    }
}

impl Queue {
    /// What waits now, as much as fits into a group; none when nobody can come any more.
    async fn next(&mut self) -> Option<Vec<Waiting>> {
        if self.waiting.is_empty() {
            self.waiting.push_back(self.arriving.recv().await?);
        }
        if self.is_busy {
            let (arriving, waiting, max) = (&mut self.arriving, &mut self.waiting, self.max);
            let gathering = async {
                while waiting.len() < max.runs
                    && let Some(more) = arriving.recv().await
                {
                    waiting.push_back(more);
                }
            };
            // That the time is over is as good as that the group is full.
            let _ = tokio::time::timeout(GATHER, gathering).await;
        }
        while let Ok(more) = self.arriving.try_recv() {
            self.waiting.push_back(more);
        }
        let (mut rows, mut taken) = (0, 0);
        for waiting in self.waiting.iter().take(self.max.runs) {
            rows += waiting.write.weight();
            if taken > 0 && rows > self.max.rows {
                break;
            }
            taken += 1;
        }
        self.is_busy = taken > 1;
        Some(self.waiting.drain(..taken).collect())
    }
}

/// Writes a group, or its halves.
async fn write_group(db: &Db, group: Vec<Waiting>) {
    let mut groups = vec![group];
    while let Some(mut group) = groups.pop() {
        let error = match try_to_write(db, &group).await {
            Ok(written) => {
                // Who no longer listens was taken over.
                group
                    .into_iter()
                    .zip(written)
                    .for_each(|(waiting, written)| drop(waiting.done.send(written)));
                continue;
            }
            Err(error) => error,
        };
        // A database that does not even begin has nothing against one of them.
        if group.len() > 1 && !matches!(error, Unwritten::NotBegun(_)) {
            tracing::warn!(error = %error.why(), size = group.len(), "a group could not be written; its halves are tried");
            groups.push(group.split_off(group.len() / 2));
            groups.push(group);
            continue;
        }
        let why = error.why().to_string();
        let mut error = Some(match error {
            Unwritten::NotBegun(error) | Unwritten::RolledBack(error) => error,
        });
        for waiting in group {
            let told = error.take().unwrap_or_else(|| StoreError::Database(why.clone()));
            drop(waiting.done.send(Err(told)));
        }
    }
}

enum Unwritten {
    NotBegun(StoreError),
    RolledBack(StoreError),
}

impl Unwritten {
    fn why(&self) -> &StoreError {
        match self {
            Self::NotBegun(error) | Self::RolledBack(error) => error,
        }
    }
}

async fn try_to_write(db: &Db, group: &[Waiting]) -> Result<Vec<Result<Written>>, Unwritten> {
    let mut tx = db.begin().await.map_err(Unwritten::NotBegun)?;
    let writes: Vec<&Write> = group.iter().map(|waiting| &waiting.write).collect();
    let written = match write_all(&mut tx, &writes).await {
        Ok(written) => tx.commit().await.map(|()| written),
        Err(error) => {
            // Its locks are free before the halves are tried. If that fails, the connection is gone with them.
            let _ = tx.rollback().await;
            Err(error)
        }
    };
    written.map_err(Unwritten::RolledBack)
}

/// Writes all of them whose lease holds; what became of each, in their order.
async fn write_all(tx: &mut Tx, writes: &[&Write]) -> Result<Vec<Result<Written>>> {
    let leases: Vec<&Lease> = writes.iter().map(|write| write.lease()).collect();
    let held = fence_all(tx, &leases).await?;
    let is_held = |write: &Write| held.contains(&(write.lease().connection, write.lease().token));
    let held = || writes.iter().copied().filter(|write| is_held(write));
    let commits: Vec<&Commit> = held()
        .filter_map(|write| match write {
            Write::Commit(commit) => Some(&**commit),
            Write::Complete(_) => None,
        })
        .collect();
    let completions: Vec<&Completion> = held()
        .filter_map(|write| match write {
            Write::Commit(_) => None,
            Write::Complete(completion) => Some(completion),
        })
        .collect();
    let mut stored = commit::store(tx, &commits).await?.into_iter();
    complete_all(tx, &completions).await?;
    let became = |write: &&Write| match write {
        _ if !is_held(write) => Err(StoreError::LeaseLost),
        Write::Commit(_) => stored.next().unwrap_or(Err(StoreError::LeaseLost)).map(Some),
        Write::Complete(_) => Ok(None),
    };
    Ok(writes.iter().map(became).collect())
}
