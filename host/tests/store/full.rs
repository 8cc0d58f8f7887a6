//! A disk that was full for a while.

use crate::bed::*;
use sqlx::{Connection, SqliteConnection};

/// A full disk makes SQLite end a transaction by itself; so does a trigger that says `RAISE(ROLLBACK)`.
#[tokio::test]
async fn what_sqlite_ended_by_itself_does_not_keep_the_writer_from_beginning_again() {
    let bed = Bed::sqlite().await;
    let connection = bed.connection().await;
    let lease = bed.claim(START).await;
    let mut other = SqliteConnection::connect(&bed.url).await.unwrap();
    let trigger =
        "CREATE TRIGGER full BEFORE UPDATE ON connection BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END";
    sqlx::raw_sql(trigger).execute(&mut other).await.unwrap();
    for _ in 0..2 {
        bed.store.close_session(&lease).await.unwrap_err();
    }
    sqlx::raw_sql("DROP TRIGGER full").execute(&mut other).await.unwrap();
    bed.store.close_session(&lease).await.unwrap();
    assert!(!bed.store.connection(bed.business, connection.id).await.unwrap().unwrap().session_open);
}
