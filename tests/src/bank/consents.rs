//! Account access consents: a business asks for one, looks at it, and ends it, each with a token of
//! its own (`client_credentials`, see `token`).
//!
//! # The wire
//! Below the origin and `/open-banking/v3.1/aisp`:
//!
//! * `POST /account-access-consents`, `Content-Type: application/json`, `OBReadConsent1`:
//!   `{"Data": {"Permissions": […], "ExpirationDateTime": …?, "TransactionFromDateTime": …?,
//!   "TransactionToDateTime": …?}, "Risk": {}}`. 201 `OBReadConsentResponse1`, `Data.Status`
//!   `AwaitingAuthorisation`; `Data.ConsentId` goes into the request object of `authorise`.
//! * `GET /account-access-consents/{ConsentId}`: 200 `OBReadConsentResponse1`; the status becomes
//!   `Authorised` or `Rejected`, and stays `Authorised` when the time is over or the customer takes
//!   the access back.
//! * `DELETE /account-access-consents/{ConsentId}`: 204.
//!
//! Refusals: 401 without a body (not a token of a business); 400 with `Path`: `UK.OBIE.Field.Missing`,
//! `…Field.Invalid` (permissions that the standard or this bank does not allow), `…Field.InvalidDate`
//! (an end that is not in the future), `…Resource.InvalidFormat`; 400 `UK.OBIE.Resource.NotFound` (no
//! such consent, or deleted); 403 `UK.DemoBank.NotYours`; 415 without a body.

use super::Shared;
use super::access::Withheld;
use super::consent::{Consent, ConsentStatus, Terms};
use super::fault::PathKind;
use super::rows::{Links, Meta, Moment};
use super::service::{Asked, Refusal, UNAUTHORISED, json};
use super::spoil::Answer;
use axum::body::Body;
use axum::http::{StatusCode, header};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

/// A consent is a list of words and three dates.
const CONSENT_BYTES_MAX: usize = 64 * 1024;

/// Answers the three requests.
pub(super) async fn answer(shared: &Shared, asked: &Asked<'_>, body: Body) -> Answer {
    let body = axum::body::to_bytes(body, CONSENT_BYTES_MAX).await.unwrap_or_default();
    let answered = match asked.kind {
        PathKind::Consents => create(shared, asked, &body),
        PathKind::Consent => delete(shared, asked),
        _ => show(shared, asked),
    };
    answered.unwrap_or_else(|refusal| refusal.answer(shared))
}

/// The business whose token came with the request.
fn client(shared: &Shared, asked: &Asked<'_>) -> Result<String, Refusal> {
    let state = shared.state();
    let client = state.access.check_client(asked.bearer(), asked.caller, shared.clock.now());
    client.map(str::to_owned).map_err(|_| UNAUTHORISED)
}

fn create(shared: &Shared, asked: &Asked<'_>, body: &[u8]) -> Result<Answer, Refusal> {
    let client = client(shared, asked)?;
    if !asked.header(&header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "", "", None));
    }
    let now = shared.clock.now();
    let terms = terms(body, now)?;
    let mut state = shared.state();
    let consent = state.access.create_consent(&client, terms, now);
    Ok(shown(shared, asked, StatusCode::CREATED, consent))
}

fn show(shared: &Shared, asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let client = client(shared, asked)?;
    let state = shared.state();
    let consent = state.access.consent_for(asked.id.unwrap_or_default(), &client).map_err(withheld)?;
    Ok(shown(shared, asked, StatusCode::OK, consent))
}

fn delete(shared: &Shared, asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let client = client(shared, asked)?;
    let id = asked.id.unwrap_or_default();
    shared.state().access.delete_consent(id, &client).map_err(withheld)?;
    Ok(Answer::new(StatusCode::NO_CONTENT, Vec::new()))
}

fn withheld(why: Withheld) -> Refusal {
    match why {
        Withheld::Unknown => {
            let sentence = "There is no such consent in force";
            Refusal(StatusCode::BAD_REQUEST, "UK.OBIE.Resource.NotFound", sentence, None)
        }
        Withheld::NotYours => {
            let sentence = "The consent was given to somebody else";
            Refusal(StatusCode::FORBIDDEN, "UK.DemoBank.NotYours", sentence, None)
        }
    }
}

// ---------------------------------------------------------------- what is asked for

fn invalid(code: &'static str, sentence: &'static str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, code, sentence, None)
}

fn missing(path: &'static str) -> Refusal {
    invalid("UK.OBIE.Field.Missing", "A mandatory field is missing").at(path)
}

const NO_OBJECT: &str = "The body is not an OBReadConsent1";

fn terms(body: &[u8], now: DateTime<Utc>) -> Result<Terms, Refusal> {
    let format = || invalid("UK.OBIE.Resource.InvalidFormat", NO_OBJECT);
    let document: Map<String, Value> = serde_json::from_slice(body).map_err(|_| format())?;
    if document.keys().any(|name| name != "Data" && name != "Risk") {
        return Err(format());
    }
    let data = document.get("Data").ok_or(missing("Data"))?.as_object().ok_or_else(format)?;
    let risk = document.get("Risk").ok_or(missing("Risk"))?.as_object().ok_or_else(format)?;
    if !risk.is_empty() {
        return Err(invalid("UK.OBIE.Field.Unexpected", "There are no risk fields for accounts").at("Risk"));
    }
    let permissions = data.get("Permissions").ok_or(missing("Data.Permissions"))?;
    let permissions = permissions.as_array().ok_or_else(format)?.iter();
    let permissions = permissions.map(|one| one.as_str().map(str::to_owned)).collect::<Option<_>>();
    let date = |name, path| match data.get(name) {
        None => Ok(None),
        Some(value) => match value.as_str().and_then(moment) {
            Some(at) => Ok(Some(at)),
            None => Err(invalid("UK.OBIE.Field.InvalidDate", "This is not a date and time").at(path)),
        },
    };
    let terms = Terms {
        permissions: permissions.ok_or_else(format)?,
        expires_at: date("ExpirationDateTime", "Data.ExpirationDateTime")?,
        from: date("TransactionFromDateTime", "Data.TransactionFromDateTime")?,
        to: date("TransactionToDateTime", "Data.TransactionToDateTime")?,
    };
    if let Some(fault) = terms.fault() {
        return Err(invalid("UK.OBIE.Field.Invalid", fault).at("Data.Permissions"));
    }
    if terms.expires_at.is_some_and(|end| end <= now) {
        let refusal = invalid("UK.OBIE.Field.InvalidDate", "A consent must end in the future");
        return Err(refusal.at("Data.ExpirationDateTime"));
    }
    if terms.from.zip(terms.to).is_some_and(|(from, to)| from > to) {
        let refusal = invalid("UK.OBIE.Field.InvalidDate", "The period ends before it begins");
        return Err(refusal.at("Data.TransactionToDateTime"));
    }
    Ok(terms)
}

/// ISO 8601 in the forms that the standard names: with a zone, without one, and a day alone.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let zoned = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).ok();
    let local = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|at| at.and_utc()).ok();
    let day = || text.parse::<NaiveDate>().map(|day| day.and_time(NaiveTime::MIN).and_utc()).ok();
    zoned.or_else(local).or_else(day)
}

// ---------------------------------------------------------------- what is answered

/// `OBReadConsentResponse1`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConsentResponse<'a> {
    data: ConsentData<'a>,
    risk: Map<String, Value>,
    links: Links,
    meta: Meta,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConsentData<'a> {
    consent_id: &'a str,
    creation_date_time: Moment,
    status: ConsentStatus,
    status_update_date_time: Moment,
    permissions: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_date_time: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_from_date_time: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_to_date_time: Option<Moment>,
}

fn shown(shared: &Shared, asked: &Asked<'_>, status: StatusCode, consent: &Consent) -> Answer {
    let this = format!("{}/account-access-consents/{}", asked.api(shared), consent.id);
    let data = ConsentData {
        consent_id: &consent.id,
        creation_date_time: Moment(consent.created_at),
        status: consent.status,
        status_update_date_time: Moment(consent.status_at),
        permissions: &consent.terms.permissions,
        expiration_date_time: consent.terms.expires_at.map(Moment),
        transaction_from_date_time: consent.terms.from.map(Moment),
        transaction_to_date_time: consent.terms.to.map(Moment),
    };
    let links = Links { this, first: None, next: None };
    json(status, &ConsentResponse { data, risk: Map::new(), links, meta: Meta::one_page() })
}
