//! Signed requests: JSON behind a digest and a signature of every request, with consents that the
//! customer decides on the bank's page. Berlin Group's NextGenPSD2 in spirit.
//!
//! # The wire
//! Every request below `/signed/v1` carries
//! ```text
//! X-Request-ID: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721
//! Date: Fri, 20 Mar 2026 12:00:00 GMT
//! Digest: SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
//! Signature: keyId="tidegate-1",algorithm="rsa-sha256",headers="digest x-request-id date",signature="…"
//! ```
//! `X-Request-ID` is a UUID, of a POST a new one each time. `Date` is at most 5 minutes off the bank's clock.
//! `Digest` is the base64 of SHA-256 of the body, also of an empty one (as above). `signature` is the base64 of
//! RSASSA-PKCS1-v1_5 with SHA-256 over one line `name: value` for each name in `headers`, in that order,
//! joined by `\n`, without one at the end; the names are in lower case, and these three must be among them:
//! ```text
//! digest: SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
//! x-request-id: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721
//! date: Fri, 20 Mar 2026 12:00:00 GMT
//! ```
//! The key behind `keyId` was registered before ([`crate::bank::Bank::register_signer`]). Answers are
//! `application/json` and repeat `X-Request-ID`.
//!
//! Refusals are `{"tppMessages":[{"category":"ERROR","code":"…","text":"…"}]}`; only status and code count:
//! | status | code | when |
//! |---|---|---|
//! | 401 | `SIGNATURE_INVALID` | anything above is missing or wrong, or the `X-Request-ID` of a POST was used before |
//! | 400 | `FORMAT_ERROR` | a body, header or parameter is missing or cannot be read |
//! | 400 | `PERIOD_INVALID` | `validUntil` is past, or `dateFrom` is after `dateTo` |
//! | 403 | `CONSENT_UNKNOWN` | `/consents/{id}`: there is none, or another business's |
//! | 401 | `CONSENT_INVALID` | reading: `Consent-ID` missing, unknown, another business's, not decided yet, refused or taken back |
//! | 401 | `CONSENT_EXPIRED` | reading: `validUntil` is past, or the bank ended it |
//! | 404 | `RESOURCE_UNKNOWN` | the consent covers no such account |
//! | 429 | `ACCESS_EXCEEDED` | too many unattended readings today |
//!
//! **Consents.** `POST /signed/v1/consents` with `TPP-Redirect-URI` (http or https), `PSU-IP-Address`, and
//! ```json
//! {"access":{"allPsd2":"allAccounts"},"recurringIndicator":true,"validUntil":"2026-09-16",
//!  "frequencyPerDay":4,"combinedServiceIndicator":false}
//! ```
//! (`frequencyPerDay` from 1; `validUntil` is cut to 180 days from today) → 201,
//! `ASPSP-SCA-Approach: REDIRECT`, `Location` of the consent, and
//! ```json
//! {"consentStatus":"received","consentId":"c-8mY…","_links":{
//!  "scaRedirect":{"href":"http://127.0.0.1:8090/signed/sca/c-8mY…"},
//!  "self":{"href":"/signed/v1/consents/c-8mY…"},"status":{"href":"/signed/v1/consents/c-8mY…/status"}}}
//! ```
//! `GET …/consents/{id}/status` → 200 `{"consentStatus":"valid"}`: `received`, `valid`, `rejected`, `expired`,
//! `revokedByPsu`, `terminatedByTpp`. `GET …/consents/{id}` → 200 with what was asked for, as it is in force, and
//! `lastActionDate`, `consentStatus`. `DELETE …/consents/{id}` → 204; also when it is over already.
//!
//! **The customer's page**, unsigned HTML without JavaScript. `GET /signed/sca/{id}` → 200 with a form
//! (`POST`, same address) of `username`, `password` and two buttons `name="decision"`, `value="allow"` and
//! `value="deny"`. `POST` of that form: `deny`, with or without password → 303 to the `TPP-Redirect-URI`, its
//! query kept, with `error=access_denied` added; `allow` with the right password → 303 to the
//! `TPP-Redirect-URI` as it was given (no code comes with it: ask for the status); a wrong one → 200, the form
//! again and `Your user name or password is wrong.`; locked → 200 and `Your access is locked. Please call
//! us.` An unknown or decided consent → 404 and `This request is no longer open.`
//!
//! **Reading**, with `Consent-ID`. With `PSU-IP-Address` the customer is waiting. Without, a reading counts
//! as unattended: of each kind (accounts, balances, transactions) and account, `frequencyPerDay` are allowed on a
//! day of the bank's clock. Further pages are not counted.
//!
//! `GET /signed/v1/accounts` → `{"accounts":[{"resourceId":"22289001","iban":"GB17DEMO40051560000001",
//! "currency":"GBP","name":"Everyday","ownerName":"Ada Lovelace","cashAccountType":"CACC","_links":{…}}]}`.
//!
//! `GET /signed/v1/accounts/{resourceId}/balances` → `{"account":{"iban":"…"},"balances":[{"balanceType":
//! "closingBooked","creditLimitIncluded":false,"balanceAmount":{"currency":"GBP","amount":"-1234.56"},
//! "referenceDate":"2026-03-20","lastChangeDateTime":"2026-03-20T12:00:00Z"},…]}` with `closingBooked` (the booked rows), `interimAvailable`
//! (less what pending rows reserve) and `expected` (with all pending rows), all at the moment of the answer.
//!
//! `GET /signed/v1/accounts/{resourceId}/transactions?dateFrom=2026-01-01&dateTo=2026-03-20&bookingStatus=both`
//! (`bookingStatus` `booked`, `pending` or `both`; `dateTo` today if left out; days inclusive, of booking or,
//! if pending, of authorisation) →
//! ```json
//! {"account":{"iban":"…"},"transactions":{
//!  "booked":[{"entryReference":"9f3c…0000002a","bookingDate":"2026-03-19","valueDate":"2026-03-20",
//!   "transactionAmount":{"currency":"GBP","amount":"-3.20"},"creditorName":"Blue Door",
//!   "remittanceInformationUnstructured":"FLAT WHITE"}],
//!  "pending":[{"transactionId":"51b0…0000002b","valueDate":"2026-03-20",…}],
//!  "_links":{"account":{"href":"…"},"next":{"href":"http://127.0.0.1:8090/signed/v1/accounts/…&page=MTc3"}}}}
//! ```
//! Oldest first, an array only if it was asked for. Amounts are signed, positive when money arrives. A booked row has
//! `entryReference` (stable, unique), a pending one `transactionId` (another one when it is booked) and no
//! `bookingDate`. `creditorName` of a debit or `debtorName` of a credit, if known. If there is more, `next` is where;
//! it is absolute, and both arrays of a page may be short or empty before the last one.
//!
//! Must not know: what other doors answer.

use super::Visit;
use super::html;
use super::login::Refused;
use super::rows::{self, Place, is_booked};
use super::signature::Signers;
use super::signed_consents::{Consent, Consents, Denied, Reading, Request, Status};
use super::signed_page as page;
use super::signed_rows as json;
use crate::bank::books::Account;
use crate::bank::fault::PathKind;
use crate::bank::random::Random;
use crate::bank::service::json as answer_json;
use crate::bank::spoil::Answer;
use crate::bank::{Shared, State};
use axum::http::StatusCode;
use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::{Value, json};

/// Keys and consents.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) signers: Signers,
    pub(super) consents: Consents,
    random: Random,
}

impl Signed {
    pub(super) fn new(seed: u64) -> Self {
        let random = Random::new(seed ^ 0x7369_676e_6564);
        Self { signers: Signers::default(), consents: Consents::default(), random }
    }
}

/// Status, code and sentence of a refusal.
struct Refusal(StatusCode, &'static str, &'static str);

const FORMAT: &str = "FORMAT_ERROR";

fn format_error(text: &'static str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, FORMAT, text)
}

const CONSENT_UNKNOWN: Refusal =
    Refusal(StatusCode::FORBIDDEN, "CONSENT_UNKNOWN", "There is no such consent.");
const PERIOD_INVALID: Refusal =
    Refusal(StatusCode::BAD_REQUEST, "PERIOD_INVALID", "The period is past or ends before it begins.");

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Invalid => {
                Self(StatusCode::UNAUTHORIZED, "CONSENT_INVALID", "There is no consent in force.")
            }
            Denied::Expired => Self(StatusCode::UNAUTHORIZED, "CONSENT_EXPIRED", "The consent has expired."),
            Denied::NoSuchAccount => {
                Self(StatusCode::NOT_FOUND, "RESOURCE_UNKNOWN", "The consent covers no such account.")
            }
            Denied::TooOften => {
                let text = "Without the customer, that was enough for today.";
                Self(StatusCode::TOO_MANY_REQUESTS, "ACCESS_EXCEEDED", text)
            }
        }
    }
}

pub(super) fn answer(shared: &Shared, visit: &Visit<'_>) -> Answer {
    let state = &mut *shared.state();
    match visit.kind {
        PathKind::SignedPage => return customer_page(state, visit),
        PathKind::SignedDecision => return decide(state, visit),
        _ => {}
    }
    let is_post = visit.kind == PathKind::SignedConsentRequest;
    let verified = state.doors.signed.signers.verify(visit, is_post);
    let invalid = |text| Refusal(StatusCode::UNAUTHORIZED, "SIGNATURE_INVALID", text);
    let answered = verified.map_err(invalid).and_then(|key_id| match visit.kind {
        PathKind::SignedConsentRequest => ask(state, visit, &key_id, &shared.origin),
        PathKind::SignedConsent | PathKind::SignedConsentStatus | PathKind::SignedConsentEnd => {
            consent(state, visit, &key_id)
        }
        _ => read(state, visit, &key_id, shared),
    });
    let mut answer = answered.unwrap_or_else(|Refusal(status, code, text)| {
        let body = json!({ "tppMessages": [{ "category": "ERROR", "code": code, "text": text }] });
        answer_json(status, &body)
    });
    answer.header("x-request-id", visit.header("x-request-id"));
    answer
}

// ---------------------------------------------------------------- consents

fn ask(state: &mut State, visit: &Visit<'_>, key_id: &str, origin: &str) -> Result<Answer, Refusal> {
    let today = visit.now.date_naive();
    let request: Request =
        serde_json::from_slice(visit.body).map_err(|_| format_error("The body is not a consent."))?;
    if request.access.all_psd2 != "allAccounts" || request.frequency_per_day == 0 {
        return Err(format_error("Ask for allPsd2 allAccounts, and at least once a day."));
    }
    if request.valid_until < today {
        return Err(PERIOD_INVALID);
    }
    let redirect = visit.header("tpp-redirect-uri");
    let web = redirect.starts_with("https://") || redirect.starts_with("http://");
    if !web || visit.header("psu-ip-address").is_empty() {
        return Err(format_error("TPP-Redirect-URI and PSU-IP-Address are needed."));
    }
    let signed = &mut state.doors.signed;
    let id = signed.random.token("c-");
    let consent = signed.consents.ask(id, key_id, request, redirect, today);
    let this = format!("/signed/v1/consents/{}", consent.id);
    let body = json!({
        "consentStatus": consent.status(visit.now).text(),
        "consentId": consent.id,
        "_links": {
            "scaRedirect": { "href": format!("{origin}/signed/sca/{}", consent.id) },
            "self": { "href": this },
            "status": { "href": format!("{this}/status") },
        },
    });
    let mut answer = answer_json(StatusCode::CREATED, &body);
    answer.header("aspsp-sca-approach", "REDIRECT");
    answer.header("location", &this);
    Ok(answer)
}

fn consent(state: &mut State, visit: &Visit<'_>, key_id: &str) -> Result<Answer, Refusal> {
    let consents = &mut state.doors.signed.consents;
    let consent = consents.of(key_id, visit.id.unwrap_or_default()).ok_or(CONSENT_UNKNOWN)?;
    if visit.kind == PathKind::SignedConsentEnd {
        consent.end(Status::Terminated, visit.now);
        return Ok(Answer::new(StatusCode::NO_CONTENT, Vec::new()));
    }
    let status = consent.status(visit.now).text();
    let body = match visit.kind {
        PathKind::SignedConsentStatus => json!({ "consentStatus": status }),
        _ => json!({
            "access": { "allPsd2": consent.request.access.all_psd2 },
            "recurringIndicator": consent.request.recurring_indicator,
            "validUntil": consent.request.valid_until,
            "frequencyPerDay": consent.request.frequency_per_day,
            "combinedServiceIndicator": consent.request.combined_service_indicator,
            "lastActionDate": consent.last_action,
            "consentStatus": status,
        }),
    };
    Ok(answer_json(StatusCode::OK, &body))
}

// ---------------------------------------------------------------- the customer's page

/// The consent that waits for a decision.
fn waiting<'a>(state: &'a mut State, visit: &Visit<'_>) -> Option<&'a mut Consent> {
    let consent = state.doors.signed.consents.get_mut(visit.id.unwrap_or_default())?;
    (consent.status(visit.now) == Status::Received).then_some(consent)
}

fn customer_page(state: &mut State, visit: &Visit<'_>) -> Answer {
    waiting(state, visit).map_or_else(page::closed, |consent| page::question(&consent.request, None))
}

fn decide(state: &mut State, visit: &Visit<'_>) -> Answer {
    let form = html::form(visit.body);
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let Some(consent) = waiting(state, visit) else { return page::closed() };
    if field("decision") == "deny" {
        consent.decide(None, visit.now);
        return html::see_other(&page::with_denial(&consent.redirect), None);
    }
    let request = consent.request.clone();
    if field("decision") != "allow" {
        return page::question(&request, None);
    }
    let customer = match state.doors.logins.with_password(field("username"), field("password")) {
        Ok(customer) => customer,
        Err(Refused::Wrong) => return page::question(&request, Some("Your user name or password is wrong.")),
        Err(Refused::Locked) => return page::locked(),
    };
    let accounts = state.access.customer(&customer).map(|customer| customer.accounts.clone());
    let Some(consent) = waiting(state, visit) else { return page::closed() };
    consent.decide(Some(accounts.unwrap_or_default()), visit.now);
    html::see_other(&consent.redirect, None)
}

// ---------------------------------------------------------------- reading

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Query {
    date_from: NaiveDate,
    date_to: Option<NaiveDate>,
    booking_status: String,
    page: Option<String>,
}

fn read(state: &mut State, visit: &Visit<'_>, key_id: &str, shared: &Shared) -> Result<Answer, Refusal> {
    let State { books, doors, .. } = state;
    let kind = match visit.kind {
        PathKind::SignedAccounts => "accounts",
        PathKind::SignedBalances => "balances",
        _ => "transactions",
    };
    let query = if kind == "transactions" { Some(window(visit)?) } else { None };
    let further = query.as_ref().is_some_and(|(_, after)| after.is_some());
    let counted = visit.header("psu-ip-address").is_empty() && !further;
    let reading = Reading { kind, account: visit.id, counted };
    let covered = doors.signed.consents.check(key_id, visit.header("consent-id"), reading, visit.now)?;
    let Some(id) = visit.id else {
        let accounts: Vec<Value> =
            covered.iter().filter_map(|id| books.account(id).ok()).map(json::account).collect();
        return Ok(answer_json(StatusCode::OK, &json!({ "accounts": accounts })));
    };
    let account = books.account(id).map_err(|_| Denied::NoSuchAccount)?;
    let body = match query {
        Some((query, after)) => transactions(account, &query, after, visit, shared),
        None => {
            // These fail only if the ledger is broken, which the audit of every test would tell.
            let booked = books.booked(account).unwrap_or_default();
            let available = books.available(account).unwrap_or_default();
            let pending = account.entries.iter().filter(|entry| !is_booked(entry)).map(|entry| entry.minor);
            let expected = booked.saturating_add(pending.sum());
            json::balances(account, [booked, available, expected], visit.now)
        }
    };
    Ok(answer_json(StatusCode::OK, &body))
}

/// What of the transactions is asked for, and where the page before ended.
fn window(visit: &Visit<'_>) -> Result<(Query, Option<Place>), Refusal> {
    let bad = || format_error("dateFrom and bookingStatus are needed, and dates are YYYY-MM-DD.");
    let query: Query = serde_urlencoded::from_str(visit.query).map_err(|_| bad())?;
    let query = Query { date_to: query.date_to.or(Some(visit.now.date_naive())), ..query };
    if !["booked", "pending", "both"].contains(&query.booking_status.as_str()) {
        return Err(format_error("bookingStatus is booked, pending or both."));
    }
    if query.date_to.is_some_and(|to| to < query.date_from) {
        return Err(PERIOD_INVALID);
    }
    let after = query.page.as_deref().map(|text| Place::read(text).ok_or_else(bad)).transpose()?;
    Ok((query, after))
}

fn transactions(
    account: &Account,
    query: &Query,
    after: Option<Place>,
    visit: &Visit<'_>,
    shared: &Shared,
) -> Value {
    let (from, to) = (query.date_from, query.date_to.unwrap_or(query.date_from));
    let wanted = [query.booking_status != "pending", query.booking_status != "booked"];
    let [with_booked, with_pending] = wanted;
    let rows = rows::of_days(account, from, to);
    let rows = rows.iter().filter(|entry| if is_booked(entry) { with_booked } else { with_pending });
    let (page, more) = rows::page(rows, after, shared.config.page_rows);
    let next = more.map(|place| {
        let base = format!("{}/signed/v1/accounts/{}/transactions", shared.origin, account.id);
        let status = &query.booking_status;
        format!("{base}?dateFrom={from}&dateTo={to}&bookingStatus={status}&page={}", place.text())
    });
    json::transactions(account, &rows::shown(&page, &visit.tweak), wanted, next)
}
