//! The load bank: UK Open Banking account information 3.1.11 for twenty institutions at one address, with replies that
//! cost almost nothing to make. A process of its own, so that what it costs is not counted as the service's.
//!
//! An institution lies below its name, `/bank-07/accounts`; the access token of a connection is [`TOKEN`] and its number.
//! What a bank does under load is set with `PUT /control/bank-07` ([`Behaviour`]), what all of them show with `PUT /control`
//! ([`Show`]). `GET /control/log` tells when each account was asked last, if that is kept, `GET /control/most` how many
//! requests waited for a slow one at the same time, at most.
//!
//! Must not know: the service.

use super::books::{Account, Books, INSTITUTIONS, Row, accounts_of, institution};
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use chrono::{NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What stands before the connection's number in its access token.
pub const TOKEN: &str = "load-bank-access-token-";
/// The content type that the standard names.
const JSON: &str = "application/json; charset=utf-8";
/// The header that every reply of the standard has.
const INTERACTION: &str = "x-fapi-interaction-id";
/// The part of a row that is the same in all: a row has at least 900 bytes.
const DETAILS: &str = r#""BankTransactionCode":{"Code":"IssuedCreditTransfers","SubCode":"DomesticCreditTransfer"},"ProprietaryBankTransactionCode":{"Code":"FPO","Issuer":"Load Bank plc"},"MerchantDetails":{"MerchantName":"Corner Grocery and Household Supplies Ltd","MerchantCategoryCode":"5411"},"CardInstrument":{"CardSchemeName":"VISA","AuthorisationType":"Contactless","Name":"Ada Sample","Identification":"4929********1147"},"CreditorAccount":{"SchemeName":"UK.OBIE.SortCodeAccountNumber","Identification":"20304055779911","Name":"Corner Grocery and Household Supplies Ltd","SecondaryIdentification":"ROLL-2217"},"SupplementaryData":{"Channel":"Internet","Terminal":"LDN-0042-WEST"}}"#;

/// How the bank is set up.
#[derive(Debug, Clone, Copy)]
pub struct LoadBank {
    /// Rows of a reply.
    pub reply_rows: u32,
    /// Its day; none for the real one.
    pub today: Option<NaiveDate>,
}

/// How one institution does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Before each answer.
    pub latency_ms: u64,
    /// Answers 503.
    pub down: bool,
    /// Takes requests and never answers.
    pub silent: bool,
}

/// What all institutions show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Show {
    /// What is new has come.
    pub fresh: bool,
    /// When each account was asked is kept.
    pub log: bool,
    /// The day; none leaves it.
    pub today: Option<NaiveDate>,
}

/// When one request came in and when its answer was ready, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// For its transactions, and not for its balances.
    pub transactions: bool,
    /// Came in.
    pub from: i64,
    /// Was ready.
    pub until: i64,
}

/// What was kept, by the account's name at the bank.
pub type Log = HashMap<String, Vec<Asked>>;

struct Standing {
    books: Books,
    log: Option<Log>,
    behaviours: BTreeMap<String, Behaviour>,
    /// Requests that wait for the bank, and the most that ever did.
    waiting: (u64, u64),
}

/// The running bank.
#[derive(Clone)]
pub struct Bank(Arc<Mutex<Standing>>);

impl Bank {
    /// Nothing new yet, all well.
    pub fn new(config: LoadBank) -> Self {
        let today = config.today.unwrap_or_else(|| Utc::now().date_naive());
        let books = Books { today, reply_rows: config.reply_rows, fresh: false };
        let behaviours = (0..INSTITUTIONS).map(|number| (institution(number), Behaviour::default()));
        Self(Arc::new(Mutex::new(Standing {
            books,
            log: None,
            behaviours: behaviours.collect(),
            waiting: (0, 0),
        })))
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is shown.
    pub fn show(&self, show: Show) {
        let mut standing = self.standing();
        standing.books.fresh = show.fresh;
        standing.books.today = show.today.unwrap_or(standing.books.today);
        standing.log = show.log.then(|| standing.log.take().unwrap_or_default());
    }

    /// Changes how an institution does.
    pub fn behave(&self, institution: &str, behaviour: Behaviour) {
        self.standing().behaviours.insert(institution.to_owned(), behaviour);
    }

    /// When each account was asked, if that is kept.
    pub fn log(&self) -> Log {
        self.standing().log.clone().unwrap_or_default()
    }

    /// Its routes.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/{institution}/accounts", get(accounts))
            .route("/{institution}/accounts/{account}/transactions", get(transactions))
            .route("/{institution}/accounts/{account}/balances", get(balances))
            .route("/control", put(control))
            .route("/control/log", get(log))
            .route("/control/most", get(most))
            .route("/control/{institution}", put(behave))
            .with_state(self.clone())
    }

    /// How the institution takes this request: the reply if it is none of the bank's.
    async fn meet(&self, institution: &str) -> Result<Books, Response> {
        let (books, behaviour) = {
            let standing = self.standing();
            (standing.books, standing.behaviours.get(institution).copied())
        };
        let Some(behaviour) = behaviour else { return Err(StatusCode::NOT_FOUND.into_response()) };
        if behaviour.silent {
            std::future::pending::<()>().await;
        }
        if behaviour.latency_ms > 0 {
            {
                let mut standing = self.standing();
                standing.waiting.0 += 1;
                standing.waiting.1 = standing.waiting.1.max(standing.waiting.0);
            }
            tokio::time::sleep(Duration::from_millis(behaviour.latency_ms)).await;
            self.standing().waiting.0 -= 1;
        }
        if behaviour.down {
            return Err(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        Ok(books)
    }

    /// The same for what is the customer's of this token.
    async fn ask(
        &self,
        institution: &str,
        id: &str,
        headers: &HeaderMap,
    ) -> Result<(Books, Account), Response> {
        let books = self.meet(institution).await?;
        let account = owned(headers, id).ok_or_else(|| StatusCode::FORBIDDEN.into_response())?;
        Ok((books, account))
    }

    fn note(&self, account: &str, transactions: bool, from: i64) {
        if let Some(log) = &mut self.standing().log {
            log.entry(account.to_owned()).or_default().push(Asked { transactions, from, until: micros() });
        }
    }
}

fn micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn answer(headers: &HeaderMap, body: String) -> Response {
    let mut response = ([(CONTENT_TYPE, JSON)], body).into_response();
    let id = headers.get(INTERACTION).cloned();
    // Who sends none gets one all the same.
    let id =
        id.unwrap_or_else(|| axum::http::HeaderValue::from_static("00000000-0000-4000-8000-000000000000"));
    response.headers_mut().insert(INTERACTION, id);
    response
}

/// The connection that the token is of.
fn connection(headers: &HeaderMap) -> Option<u32> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?.strip_prefix(TOKEN)?.parse().ok()
}

/// The account, if it is the customer's of this token.
fn owned(headers: &HeaderMap, bank_id: &str) -> Option<Account> {
    let account = Account::from_bank_id(bank_id)?;
    (connection(headers)? == account.connection && account.nth < accounts_of(account.connection))
        .then_some(account)
}

async fn accounts(State(bank): State<Bank>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if let Err(refused) = bank.meet(&name).await {
        return refused;
    }
    let Some(connection) = connection(&headers) else { return StatusCode::UNAUTHORIZED.into_response() };
    let mut body = String::from(r#"{"Data":{"Account":["#);
    for nth in 0..accounts_of(connection) {
        let id = Account { connection, nth }.bank_id();
        let comma = if nth > 0 { "," } else { "" };
        let number = format!("{:06}{connection:07}{nth}", 203_040);
        let _ = write!(
            body,
            r#"{comma}{{"AccountId":"{id}","Currency":"GBP","AccountType":"Personal","AccountSubType":"CurrentAccount","Nickname":"Account {id}","Account":[{{"SchemeName":"UK.OBIE.SortCodeAccountNumber","Identification":"{number}","Name":"Ada Sample"}}]}}"#
        );
    }
    body.push_str("]}");
    end(&mut body, &format!("/{name}/accounts"));
    answer(&headers, body)
}

fn end(body: &mut String, path: &str) {
    let _ =
        write!(body, r#","Links":{{"Self":"https://load-bank.example{path}"}},"Meta":{{"TotalPages":1}}}}"#);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asks {
    from_booking_date_time: Option<String>,
    to_booking_date_time: Option<String>,
}

/// The day of a date and time; none if there is none.
fn day(text: Option<&str>) -> Option<NaiveDate> {
    text.and_then(|text| text.get(..10)).and_then(|text| text.parse().ok())
}

async fn transactions(
    State(bank): State<Bank>,
    Path((name, id)): Path<(String, String)>,
    Query(asks): Query<Asks>,
    headers: HeaderMap,
) -> Response {
    let came = micros();
    let (books, account) = match bank.ask(&name, &id, &headers).await {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    let from = day(asks.from_booking_date_time.as_deref()).unwrap_or(NaiveDate::MIN);
    let until = day(asks.to_booking_date_time.as_deref()).unwrap_or(NaiveDate::MAX);
    let rows = books.rows(account).filter(|row| (from..=until).contains(&row.day));
    let body = page(&name, &id, account, rows);
    bank.note(&id, true, came);
    answer(&headers, body)
}

/// Rows of [`DETAILS`] and what is the row's own: about a kilobyte each.
fn page(institution: &str, id: &str, account: Account, rows: impl Iterator<Item = Row>) -> String {
    let number = account.number();
    let mut body = String::with_capacity(32 * 1024);
    body.push_str(r#"{"Data":{"Transaction":["#);
    let (mut first, mut last, mut written) = (true, NaiveDate::MIN, String::new());
    for row in rows {
        if !first {
            body.push(',');
        }
        first = false;
        if row.day != last {
            last = row.day;
            written = row.day.to_string();
        }
        let direction = if row.minor < 0 { "Debit" } else { "Credit" };
        let side = if row.balance < 0 { "Debit" } else { "Credit" };
        let (minor, balance) = (row.minor.unsigned_abs(), row.balance.unsigned_abs());
        let _ = write!(
            body,
            r#"{{"AccountId":"{id}","TransactionId":"T{number}-{place}","TransactionReference":"FPO-{number:08}{place:04}","CreditDebitIndicator":"{direction}","Status":"Booked","TransactionMutability":"Immutable","BookingDateTime":"{written}T09:00:00+00:00","ValueDateTime":"{written}T09:00:00+00:00","TransactionInformation":"CARD PAYMENT TO CORNER GROCERY {place:04} LONDON GB","Amount":{{"Amount":"{}.{:02}","Currency":"GBP"}},"Balance":{{"CreditDebitIndicator":"{side}","Type":"InterimBooked","Amount":{{"Amount":"{}.{:02}","Currency":"GBP"}}}},{DETAILS}"#,
            minor / 100,
            minor % 100,
            balance / 100,
            balance % 100,
            place = row.place,
        );
    }
    body.push_str("]}");
    end(&mut body, &format!("/{institution}/accounts/{id}/transactions"));
    body
}

async fn balances(
    State(bank): State<Bank>,
    Path((name, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let came = micros();
    let (books, account) = match bank.ask(&name, &id, &headers).await {
        Ok(asked) => asked,
        Err(refused) => return refused,
    };
    let minor = books.balance(account);
    let side = if minor < 0 { "Debit" } else { "Credit" };
    let mut body = String::new();
    let _ = write!(
        body,
        r#"{{"Data":{{"Balance":[{{"AccountId":"{id}","CreditDebitIndicator":"{side}","Type":"InterimBooked","DateTime":"{}T12:00:00+00:00","Amount":{{"Amount":"{}.{:02}","Currency":"GBP"}}}}]}}"#,
        books.today,
        minor.unsigned_abs() / 100,
        minor.unsigned_abs() % 100
    );
    end(&mut body, &format!("/{name}/accounts/{id}/balances"));
    bank.note(&id, false, came);
    answer(&headers, body)
}

async fn control(State(bank): State<Bank>, Json(show): Json<Show>) -> StatusCode {
    bank.show(show);
    StatusCode::NO_CONTENT
}

async fn behave(
    State(bank): State<Bank>,
    Path(institution): Path<String>,
    Json(behaviour): Json<Behaviour>,
) -> StatusCode {
    bank.behave(&institution, behaviour);
    StatusCode::NO_CONTENT
}

async fn most(State(bank): State<Bank>) -> Json<u64> {
    Json(bank.standing().waiting.1)
}

async fn log(State(bank): State<Bank>) -> Json<Log> {
    Json(bank.log())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::books::OVERLAP_DAYS;
    use super::*;

    #[test]
    fn a_row_has_at_least_nine_hundred_bytes() {
        let account = Account { connection: 3, nth: 1 };
        for reply_rows in [25, 100] {
            let books = Books { today: "2026-11-27".parse().unwrap(), reply_rows, fresh: true };
            let since = books.today - chrono::Days::new(u64::from(OVERLAP_DAYS));
            let rows: Vec<Row> = books.rows(account).filter(|row| row.day > since).collect();
            let body = page("bank-03", "3-1", account, rows.iter().copied());
            let read: serde_json::Value = serde_json::from_str(&body).unwrap();
            let rows = read["Data"]["Transaction"].as_array().unwrap();
            assert_eq!(rows.len(), usize::try_from(reply_rows).unwrap());
            assert!(rows.iter().all(|row| row.to_string().len() >= 900), "{}", rows[0].to_string().len());
        }
    }
}
