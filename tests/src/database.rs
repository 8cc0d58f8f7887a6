//! What somebody else does to the database: a statement past the service.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

/// Runs a statement on `sqlite:PATH` or `postgres://…`.
pub async fn execute(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let sql = AssertSqlSafe(sql.to_owned());
    if url.starts_with("sqlite:") {
        let mut connection = SqliteConnection::connect(url).await?;
        connection.execute(sql).await?;
        return connection.close().await;
    }
    let mut connection = PgConnection::connect(url).await?;
    connection.execute(sql).await?;
    connection.close().await
}
