//! TLS to a real PostgreSQL that lets nobody in without it.

use crate::bed::vault;
use host::store::Store;
use tests::postgres::Postgres;

/// What opening says.
async fn open(url: &str) -> Result<Store, String> {
    let store = Store::open(url, vault()).await.map_err(|error| error.to_string())?;
    store.migrate().await.map_err(|error| error.to_string())?;
    Ok(store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signed_the_certificate_and_for_whom_is_looked_at() {
    if Postgres::shared().unwrap().is_none() {
        return;
    }
    let server = Postgres::start_with_tls().unwrap();
    let (right, wrong) = (server.roots().display().to_string(), server.other_roots().display().to_string());

    let store =
        open(&server.url("localhost", &format!("sslmode=verify-full&sslrootcert={right}"))).await.unwrap();
    store.ready().await.unwrap();
    store.create_business("Books & Co", crate::bed::START).await.unwrap();
    for trusting in ["sslmode=require", "sslmode=prefer", ""] {
        open(&server.url("localhost", trusting)).await.unwrap();
    }
    open(&server.url("127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={right}"))).await.unwrap();

    for (host, parameters, expected) in [
        (
            "localhost",
            format!("sslmode=verify-full&sslrootcert={wrong}"),
            "not signed by an authority that is trusted; name",
        ),
        ("localhost", "sslmode=verify-full".to_owned(), "sslrootcert=FILE in database.url"),
        (
            "127.0.0.1",
            format!("sslmode=verify-full&sslrootcert={right}"),
            "is not for \"127.0.0.1\"; write a name",
        ),
        ("localhost", "sslmode=disable".to_owned(), "no encryption"),
    ] {
        let said =
            open(&server.url(host, &parameters)).await.err().unwrap_or_else(|| panic!("{host} {parameters}"));
        assert!(said.contains(expected), "{host} {parameters}: {said}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_wanted() {
    let Some(postgres) = Postgres::shared().unwrap() else { return };
    let url = postgres.database().await.unwrap();
    let said = open(&format!("{url}&sslmode=require")).await.err().unwrap();
    assert!(said.contains("speaks no TLS") && said.contains("ssl = on"), "{said}");
    open(&format!("{url}&sslmode=prefer")).await.unwrap();
}
