//! News between processes, by PostgreSQL's NOTIFY: wake-ups, nothing that is not in the tables. Never sent within a
//! transaction that writes anything: PostgreSQL lets only one such commit at a time.

use super::arg::args;
use super::codec::{json, parsed};
use super::db::Db;
use super::{Result, Store};
use crate::model::ProcessId;
use crate::nudge::{Bell, News};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgListener;

const CHANNEL: &str = "tidegate";

/// What is sent: 8,000 bytes at most, says PostgreSQL.
#[derive(Serialize, Deserialize)]
struct Message {
    from: String,
    bells: Vec<Bell>,
    finished: Vec<String>,
}

/// Hears what other processes tell. Ends with its connection to the database.
pub struct Listener {
    listener: PgListener,
    me: ProcessId,
}

impl Store {
    /// Tells the other processes; nothing where there are none.
    pub async fn tell_others(&self, me: ProcessId, news: &News) -> Result<()> {
        let Db::Postgres(_) = &self.db else { return Ok(()) };
        let finished = news.finished.iter().map(ToString::to_string).collect();
        let message = Message { from: me.to_string(), bells: news.bells.clone(), finished };
        self.db.run("SELECT pg_notify($1, $2)", args![CHANNEL, json(&message, "news")?]).await.map(drop)
    }

    /// Listens to the other processes; none where there are none.
    pub async fn listen(&self, me: ProcessId) -> Result<Option<Listener>> {
        let Db::Postgres(pool) = &self.db else { return Ok(None) };
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Some(Listener { listener, me }))
    }
}

impl Listener {
    /// The next news of another process. What was told while the connection was lost is lost, too: then all bells ring.
    pub async fn next(&mut self) -> Result<News> {
        loop {
            let Some(notification) = self.listener.try_recv().await? else {
                return Ok(News { bells: Bell::ALL.to_vec(), finished: Vec::new() });
            };
            // A newer version may have more to say: what is not understood is found in the tables.
            let Ok(message) = parsed::<Message>(notification.payload(), "news") else { continue };
            if message.from == self.me.to_string() {
                continue;
            }
            let finished = message.finished.iter().filter_map(|id| id.parse().ok());
            return Ok(News { bells: message.bells, finished: finished.collect() });
        }
    }
}
