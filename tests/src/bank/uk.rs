//! What UK Open Banking needs of the handle and of the remote control: clients, certificates, and the
//! customer's say without a browser.

use super::control::{Answer, Done, Refused};
use super::{
    API_PATH, Bank, BankError, Client, ConsentStatus, Customer, Granted, NewClient, authorise, clients, tls,
};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a customer says on the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Who is asked; logs in without a passcode.
    pub customer: String,
    /// Those that are ticked; none said is all.
    #[serde(default)]
    pub accounts: Option<Vec<String>>,
    /// Agree or refuse.
    pub allow: bool,
}

impl Decision {
    /// Agrees, with all accounts.
    pub fn allow(customer: &str) -> Self {
        Self { customer: customer.to_owned(), accounts: None, allow: true }
    }
    /// Refuses.
    pub fn deny(customer: &str) -> Self {
        Self { allow: false, ..Self::allow(customer) }
    }
    /// With just these accounts.
    #[must_use]
    pub fn only(self, accounts: &[&str]) -> Self {
        Self { accounts: Some(accounts.iter().map(|&account| account.to_owned()).collect()), ..self }
    }
}

impl Bank {
    /// `https://127.0.0.1:PORT`, where the certificate of a registered client is demanded; only with
    /// [`super::BankConfig::mutual_tls`]. Below it lies what lies below [`Bank::auth_origin`], without the
    /// remote control. Browsers go to the plain origin.
    pub fn tls_origin(&self) -> Option<&str> {
        self.shared.tls_origin.as_deref()
    }
    /// [`Bank::tls_origin`] and [`API_PATH`].
    pub fn tls_api_origin(&self) -> Option<String> {
        self.shared.tls_origin.as_ref().map(|origin| format!("{origin}{API_PATH}"))
    }
    /// The authority that a client must trust to reach [`Bank::tls_origin`], PEM.
    pub fn roots(&self) -> Option<&str> {
        self.shared.authorities.as_ref().map(tls::Authorities::roots)
    }
    /// Registers a business and makes its keys, which are other ones in every run.
    pub fn register_client(&self, new: &NewClient) -> Result<Client, BankError> {
        let secret = self.shared.state().random.token("cs_");
        let (client, registered) = clients::equip(new, secret, self.shared.authorities.as_ref())?;
        self.shared.state().clients.add(&new.client_id, registered)?;
        Ok(client)
    }
    /// A customer as they are now.
    pub fn customer(&self, customer: &str) -> Result<Customer, BankError> {
        self.shared.state().access.customer(customer).cloned()
    }
    /// The customer logs in with this from now on, instead of [`super::FIRST_PASSCODE`].
    pub fn set_passcode(&self, customer: &str, passcode: &str) -> Result<(), BankError> {
        self.shared.state().access.set_passcode(customer, passcode)
    }
    /// The customer decides, without a browser: `url` is where a browser would be sent to, the answer
    /// is where it would be sent next (`…?code=…&state=…`).
    pub fn decide(&self, url: &str, decision: &Decision) -> Result<String, BankError> {
        authorise::play(&self.shared, url, decision)
    }
    /// [`Bank::grant`] for another client than the one of [`super::BankConfig`].
    pub fn grant_to(
        &self,
        client: &str,
        customer: &str,
        lasts: Option<Duration>,
    ) -> Result<Granted, BankError> {
        let now = self.now();
        self.shared.state().access.grant(client, customer, now, lasts.map(|lasts| now + lasts))
    }
    /// How a consent stands, also one that the business has deleted.
    pub fn consent_status(&self, consent: &str) -> Result<ConsentStatus, BankError> {
        let unknown = || BankError::Unknown("consent", consent.to_owned());
        self.shared.state().access.consent(consent).map(|consent| consent.status).ok_or_else(unknown)
    }
}

/// More of the remote control.
pub(super) fn routes() -> Router<Bank> {
    Router::new()
        .route("/control/clients", post(register_client))
        .route("/control/roots", get(roots))
        .route("/control/customers/{customer}/passcode", post(set_passcode))
        .route("/control/authorisations", post(decide))
        .route("/control/consents/{consent}", get(consent_status))
}

async fn register_client(State(bank): State<Bank>, Json(new): Json<NewClient>) -> Answer<Client> {
    // Keys take a moment; other requests are answered meanwhile.
    let made = tokio::task::spawn_blocking(move || bank.register_client(&new)).await;
    Ok(Json(made.map_err(|error| Refused(error.to_string()))??))
}

#[derive(Serialize)]
struct Roots {
    tls_origin: Option<String>,
    roots: Option<String>,
}

async fn roots(State(bank): State<Bank>) -> Json<Roots> {
    Json(Roots { tls_origin: bank.tls_origin().map(str::to_owned), roots: bank.roots().map(str::to_owned) })
}

#[derive(Deserialize)]
struct Passcode {
    passcode: String,
}

async fn set_passcode(
    State(bank): State<Bank>,
    Path(customer): Path<String>,
    Json(new): Json<Passcode>,
) -> Answer<Done> {
    bank.set_passcode(&customer, &new.passcode)?;
    Ok(Json(Done {}))
}

#[derive(Deserialize)]
struct Decide {
    /// Where the customer's browser is sent to.
    url: String,
    #[serde(flatten)]
    decision: Decision,
}

#[derive(Serialize)]
struct Decided {
    /// Where the customer's browser is sent next.
    location: String,
}

async fn decide(State(bank): State<Bank>, Json(asked): Json<Decide>) -> Answer<Decided> {
    Ok(Json(Decided { location: bank.decide(&asked.url, &asked.decision)? }))
}

#[derive(Serialize)]
struct Status {
    status: ConsentStatus,
}

async fn consent_status(State(bank): State<Bank>, Path(consent): Path<String>) -> Answer<Status> {
    Ok(Json(Status { status: bank.consent_status(&consent)? }))
}
