//! The load harness at a small size: what it checks is checked here, too; how fast it is, nobody asks.

use crate::specification::{Specification, TRANSACTIONS};
use std::time::Duration;
use tests::http::Api;
use tests::load::bank::{Bank, LoadBank, Show, TOKEN};
use tests::load::service::DatabaseKind::{self, Postgres, Sqlite};
use tests::load::{day, fairness, in_flight, on_demand, scale, schedule, sync};

/// Which there are on this machine.
fn databases() -> Vec<DatabaseKind> {
    match tests::postgres::Postgres::shared().unwrap() {
        Some(_) => vec![Sqlite, Postgres],
        None => vec![Sqlite],
    }
}

fn say(line: &str) {
    eprintln!("{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_bank_answers_as_the_specification_says() {
    let bank = Bank::new(LoadBank { reply_rows: 25, today: None });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api =
        Api::new(format!("http://{}/bank-03", listener.local_addr().unwrap()), Some(&format!("{TOKEN}23")));
    let (api, specification) = (api.unwrap(), Specification::load());
    let serving = tokio::spawn(axum::serve(listener, bank.routes()).into_future());
    for fresh in [false, true] {
        bank.show(Show { fresh, log: false, today: None });
        for (operation, path) in [
            ("/accounts", "/accounts"),
            ("/accounts/{AccountId}/balances", "/accounts/23-2/balances"),
            (TRANSACTIONS, "/accounts/23-2/transactions?fromBookingDateTime=2020-01-01T00:00:00Z"),
        ] {
            let answer = api.get(path).await.unwrap();
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(specification.faults("get", operation, &answer), Vec::<String>::new(), "{path}");
        }
    }
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_loaded_service_stored_is_what_the_bank_has() {
    for database in databases() {
        for rows in [25, 100] {
            let arguments = sync::Arguments { database, rows, connections: 20, seconds: 2 };
            let report = sync::run(&arguments, &say).await.unwrap();
            assert_eq!(report.compared, 50);
            assert!(report.synced > 0 && report.host_cpu_us > 0.0 && report.floor_cpu_us > 0.0, "{report:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_slow_exchanges_are_in_flight_together() {
    let arguments = in_flight::Arguments { n: 60, bank_latency: Duration::from_secs(2) };
    let report = in_flight::run(&arguments, &say).await.unwrap();
    assert_eq!(report.completed, 150);
    assert!(report.in_flight >= 40 && report.tls_in_flight >= 40, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_taken_up_through_an_index() {
    for database in databases() {
        let arguments = schedule::Arguments { accounts: vec![2_000, 4_000], database, rounds: 5 };
        let report = schedule::run(&arguments, &say).await.unwrap();
        assert!(report.uses_index && report.us.len() == 2, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refresh_on_demand_is_answered_beside_the_schedule() {
    for database in databases() {
        let arguments = on_demand::Arguments { database, scheduled_per_s: 20, calls: 20 };
        assert_eq!(on_demand::run(&arguments, &say).await.unwrap().calls, 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_read_while_banks_fail_and_a_business_asks_for_everything() {
    let arguments =
        fairness::Arguments { connections_per_bank: 2, requests: 500, seconds: 3, settle_seconds: 2 };
    let report = fairness::run(&arguments, &say).await.unwrap();
    assert_eq!(report.requested, 500);
    assert!(report.calm_p99_s > 0.0 && report.troubled_p99_s > 0.0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_windows_budgets_and_an_outage_makes_nobody_stale_and_breaks_no_budget() {
    let arguments = day::Arguments { connections_per_bank: 1, database: Sqlite };
    let report = day::run(&arguments, &say).await.unwrap();
    assert!(report.ok && report.readings > 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_read_everything_once() {
    if databases().contains(&Postgres) {
        let report =
            scale::run(&scale::Arguments { processes: vec![1, 2], connections: 40 }, &say).await.unwrap();
        assert!(report.per_process.iter().all(|rate| *rate > 0.0), "{report:?}");
    }
}
