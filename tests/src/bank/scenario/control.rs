//! Scenarios by remote control: begin one by its name, and go on act by act.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /control/scenarios` | all names, with what happens in their acts |
//! | `POST /control/accounts/{account}/play` `{"scenario": "ids-rotated", "seed": 7}` | the first act ([`Act`]) |
//! | `POST /control/accounts/{account}/play/next` | the next act; `null` after the last |
//! | `GET /control/accounts/{account}/truth` | what the bank has, with who is who ([`TrueRow`]) |
//! | `GET /control/accounts/{account}/reading` | what the UK door showed last, with who is who |

use super::super::Bank;
use super::super::control::{Answer, Refused};
use super::{Act, Scenario, TrueRow};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

pub(in crate::bank) fn routes() -> Router<Bank> {
    Router::new()
        .route("/control/scenarios", get(scenarios))
        .route("/control/accounts/{account}/play", post(play))
        .route("/control/accounts/{account}/play/next", post(next_act))
        .route("/control/accounts/{account}/truth", get(truth))
        .route("/control/accounts/{account}/reading", get(reading))
}

#[derive(Serialize)]
struct Known {
    scenario: Scenario,
    acts: &'static [&'static str],
}

async fn scenarios() -> Json<Vec<Known>> {
    let known = Scenario::ALL.into_iter();
    Json(known.map(|scenario| Known { scenario, acts: scenario.acts() }).collect())
}

#[derive(Deserialize)]
struct Begin {
    scenario: String,
    #[serde(default)]
    seed: u64,
}

async fn play(
    State(bank): State<Bank>,
    Path(account): Path<String>,
    Json(begin): Json<Begin>,
) -> Answer<Act> {
    let scenario =
        begin.scenario.parse().map_err(|unknown: super::UnknownScenario| Refused(unknown.to_string()))?;
    Ok(Json(bank.play(scenario, &account, begin.seed)?.act))
}

async fn next_act(State(bank): State<Bank>, Path(account): Path<String>) -> Answer<Option<Act>> {
    Ok(Json(bank.next_act(&account)?))
}

async fn truth(State(bank): State<Bank>, Path(account): Path<String>) -> Answer<Vec<TrueRow>> {
    Ok(Json(bank.truth(&account)?))
}

async fn reading(State(bank): State<Bank>, Path(account): Path<String>) -> Answer<Vec<TrueRow>> {
    Ok(Json(bank.reading(&account)?))
}
