//! The conformance suite of the store: every function, on SQLite and on PostgreSQL, through the
//! public door.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod authorisations;
mod bed;
mod breaker;
mod budgets;
mod census;
mod closing;
mod connections;
mod consents;
mod cursors;
mod erasing;
mod full;
mod groups;
mod history;
mod lanes;
mod links;
mod listing;
mod once;
mod opened;
mod opening;
mod pausing;
mod processes;
mod restoring;
mod retention;
mod schedule;
mod settings;
mod standing;
mod syncs;
mod tls;
mod turns;
mod webhooks;

/// Each case once per database. A case gets a bed of its own: a fresh, migrated database.
#[macro_export]
macro_rules! both {
    ($(async fn $name:ident($bed:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports)] // a case may need nothing but its bed
            use super::*;
            async fn case($bed: $crate::bed::Bed) $body
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                case($crate::bed::Bed::sqlite().await).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                if let Some(bed) = $crate::bed::Bed::postgres().await {
                    case(bed).await;
                }
            }
        }
    )*};
}

#[test]
fn every_function_of_the_store_is_called_here() {
    let read = |folder: &str| -> String {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files
            .filter(|file| file.extension().is_some_and(|kind| kind == "rs"))
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect()
    };
    let tests = read("tests/store");
    let store = read("src/store");
    let functions = store.split("    pub async fn ").skip(1).map(|rest| rest.split('(').next().unwrap());
    let missing: Vec<&str> = functions
        .filter(|name| !tests.contains(&format!(".{name}(")) && !tests.contains(&format!("::{name}(")))
        .collect();
    assert!(missing.is_empty(), "no case calls {missing:?}");
}
