//! The doors' part of the remote control: what [`Bank`] does about logins, codes, maintenance, keys and
//! signed consents, as JSON over HTTP.

use super::Login;
use crate::bank::control::{Answer, Done};
use crate::bank::{Bank, BankError};
use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

/// Every route of this part.
pub(in crate::bank) fn routes(bank: Bank) -> Router {
    Router::new()
        .route("/control/customers/{customer}/login", get(login).put(set_login))
        .route("/control/customers/{customer}/unlock", post(unlock))
        .route("/control/customers/{customer}/otp", get(otp))
        .route("/control/maintenance", put(maintenance))
        .route("/control/signers", post(register))
        .route("/control/signed-consents/{consent}/decide", post(decide))
        .route("/control/signed-consents/{consent}/revoke", post(revoke))
        .route("/control/signed-consents/{consent}/expire", post(expire))
        .with_state(bank)
}

async fn login(State(bank): State<Bank>, Path(customer): Path<String>) -> Answer<Login> {
    Ok(Json(bank.login(&customer)?))
}

async fn set_login(
    State(bank): State<Bank>,
    Path(customer): Path<String>,
    Json(login): Json<Login>,
) -> Answer<Done> {
    bank.set_login(&customer, login)?;
    Ok(Json(Done {}))
}

async fn unlock(State(bank): State<Bank>, Path(customer): Path<String>) -> Answer<Done> {
    bank.unlock(&customer)?;
    Ok(Json(Done {}))
}

#[derive(Serialize)]
struct Otp {
    otp: String,
}

async fn otp(State(bank): State<Bank>, Path(customer): Path<String>) -> Answer<Otp> {
    let otp = bank.last_otp(&customer).ok_or(BankError::Unknown("code sent to", customer))?;
    Ok(Json(Otp { otp }))
}

#[derive(Deserialize)]
struct Maintenance {
    on: bool,
}

async fn maintenance(State(bank): State<Bank>, Json(want): Json<Maintenance>) -> Json<Done> {
    bank.maintenance(want.on);
    Json(Done {})
}

#[derive(Deserialize)]
struct Signer {
    key_id: String,
    public_key_pem: String,
}

async fn register(State(bank): State<Bank>, Json(signer): Json<Signer>) -> Answer<Done> {
    bank.register_signer(&signer.key_id, &signer.public_key_pem)?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
struct Decision {
    customer: String,
    allow: bool,
}

async fn decide(
    State(bank): State<Bank>,
    Path(consent): Path<String>,
    Json(decision): Json<Decision>,
) -> Answer<Done> {
    bank.decide_signed(&consent, &decision.customer, decision.allow)?;
    Ok(Json(Done {}))
}

async fn revoke(State(bank): State<Bank>, Path(consent): Path<String>) -> Answer<Done> {
    bank.revoke_signed(&consent)?;
    Ok(Json(Done {}))
}

async fn expire(State(bank): State<Bank>, Path(consent): Path<String>) -> Answer<Done> {
    bank.expire_signed(&consent)?;
    Ok(Json(Done {}))
}
