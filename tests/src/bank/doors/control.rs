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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use crate::bank::BankConfig;
    use crate::bank::tests::Desk;
    use crate::http::Api;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn the_remote_control_does_what_the_handle_does_for_the_doors_too() {
        let desk = Desk::open(BankConfig::default()).await;
        let control = Api::new(format!("{}/control", desk.bank.auth_origin()), None).unwrap();
        let id = desk.customer.id.as_str();
        let path = format!("/customers/{id}/login");
        let mut login = control.get(&path).await.unwrap().body;
        assert_eq!(login, serde_json::to_value(desk.bank.login(id).unwrap()).unwrap());
        login["password"] = json!("another one");
        let put = async |path: &str, body: &Value| {
            control.send(reqwest::Method::PUT, path, &[], Some(body)).await.unwrap().status
        };
        assert_eq!(put(&path, &login).await, 200);
        assert_eq!(desk.bank.login(id).unwrap().password, "another one");
        let post = async |path: &str, body: Value| {
            let answer = control.post(path, &body).await.unwrap();
            (answer.status, answer.text("/error").to_owned())
        };
        assert_eq!(post(&format!("/customers/{id}/unlock"), json!({})).await.0, 200);
        assert_eq!(control.get(&format!("/customers/{id}/otp")).await.unwrap().status, 400, "none was sent");
        assert_eq!(put("/maintenance", &json!({ "on": true })).await, 200);
        let page = Api::new(desk.bank.auth_origin(), None).unwrap().get("/portal/login").await.unwrap();
        assert!(page.body.as_str().unwrap().contains("Please come back later."));
        let bad = post("/signers", json!({ "key_id": "k", "public_key_pem": "x" })).await;
        assert!(bad.0 == 400 && bad.1.contains("RSA public key"), "{bad:?}");
        for act in ["decide", "revoke", "expire"] {
            let body = json!({ "customer": id, "allow": true });
            let answer = post(&format!("/signed-consents/none/{act}"), body).await;
            assert!(answer.0 == 400 && answer.1.contains("consent \"none\""), "{answer:?}");
        }
    }
}
