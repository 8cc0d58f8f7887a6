//! `/v1/accounts/{account_id}/transactions`: what the account holds now.

use super::find;
use crate::api::Api;
use crate::api::cursor::{self, Cursor, TransactionsCursor};
use crate::api::extract::{Ask, Id, PathId};
use crate::api::gate::Caller;
use crate::api::problem::{Answer, Code, Problem};
use crate::api::schema::{self, Page};
use crate::model::{
    self, AccountId, Currency, IdStability, Money, StoredTransaction, Timestamp, TransactionId,
    TransactionStatus,
};
use crate::store::TransactionFilter;
use axum::Json;
use axum::extract::State;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What the bank said of a transaction.
#[derive(Debug, Serialize, ToSchema)]
pub struct TransactionContent {
    /// `pending` entries may still change or vanish.
    #[schema(value_type = schema::TransactionStatus)]
    status: TransactionStatus,
    /// The bank's booking date.
    #[schema(value_type = Option<String>, format = Date)]
    booked_on: Option<NaiveDate>,
    /// The bank's value date.
    #[schema(value_type = Option<String>, format = Date)]
    valued_on: Option<NaiveDate>,
    /// Decimal text, with all decimals of the currency; positive when money arrives.
    #[schema(example = "-3.20")]
    amount: String,
    /// ISO 4217 letters.
    #[schema(example = "GBP")]
    currency: &'static str,
    /// The narration.
    text: String,
    /// Who paid or was paid.
    counterparty: Option<String>,
    /// The account's balance after this entry, if the bank gives it.
    balance_after: Option<String>,
    /// The bank's id: a claim, see `id_stability`.
    bank_id: Option<String>,
    /// What the bank promises about `bank_id`.
    #[schema(value_type = schema::IdStability)]
    id_stability: IdStability,
    /// Whatever else the bank said.
    #[schema(value_type = Object)]
    details: serde_json::Value,
}

/// A transaction that we hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct Transaction {
    /// Ours; stays when the bank's own id changes.
    #[schema(example = "txn_06f5k8d9t3e4h7z2m1p0q8r6vw_17")]
    id: String,
    /// The account it stands in.
    #[schema(value_type = String)]
    account_id: AccountId,
    /// What the bank said last.
    #[serde(flatten)]
    content: TransactionContent,
    /// When it was first seen.
    #[schema(value_type = String, format = DateTime)]
    first_seen_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    changed_at: Timestamp,
    /// The `seq` of its last change.
    last_seq: i64,
}

/// Which transactions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Booked (or, without a booking date, first seen) on or after this day.
    #[param(value_type = Option<String>, format = Date)]
    from: Option<NaiveDate>,
    /// On or before this day.
    #[param(value_type = Option<String>, format = Date)]
    to: Option<NaiveDate>,
    /// `pending` or `booked`.
    #[param(value_type = Option<schema::TransactionStatus>, inline)]
    status: Option<TransactionStatus>,
    /// Decimal text in the account's currency; money that leaves is negative.
    #[param(example = "-50.00")]
    min_amount: Option<String>,
    /// Decimal text in the account's currency.
    max_amount: Option<String>,
    /// What we believed at that moment, instead of now: not to be combined with other filters.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-01T00:00:00Z")]
    as_of: Option<Timestamp>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows of the page: 1 to 500, 100 by default.
    limit: Option<u32>,
}

impl Filter {
    fn is_by_content(&self) -> bool {
        self.from.is_some()
            || self.to.is_some()
            || self.status.is_some()
            || self.min_amount.is_some()
            || self.max_amount.is_some()
    }
}

/// List transactions
///
/// In the order in which they were first seen. To follow an account, read its changes instead.
#[utoipa::path(get, path = "/v1/accounts/{account_id}/transactions", operation_id = "list_transactions", tag = "accounts",
    params(("account_id" = String, Path, description = "The account's id."), Filter),
    responses((status = 200, description = "A page.", body = Page<Transaction>)))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<AccountId>,
    Ask(ask): Ask<Filter>,
) -> Answer<Json<Page<Transaction>>> {
    let account = find(&api, caller, id).await?;
    let after = ask.cursor.as_deref().map(TransactionsCursor::decode).transpose()?;
    if after.is_some_and(|after| after.account != id) {
        return Err(cursor::bad());
    }
    let limit = crate::api::v1::limit(ask.limit);
    if ask.as_of.is_some() || after.is_some_and(|after| after.as_of.is_some()) {
        return Ok(Json(as_of(&api, id, &ask, after, limit).await?));
    }
    if ask.from.zip(ask.to).is_some_and(|(from, to)| from > to) {
        return Err(Problem::new(Code::InvalidQuery, "`from` lies after `to`."));
    }
    let currency = account.bank.currency;
    let filter = TransactionFilter {
        from: ask.from,
        to: ask.to,
        status: ask.status,
        min_amount_minor: minor("min_amount", ask.min_amount.as_deref(), currency)?,
        max_amount_minor: minor("max_amount", ask.max_amount.as_deref(), currency)?,
        after: after.map(|after| after.number),
    };
    let page = api.app.store.transactions(id, &filter, limit).await.map_err(super::erased)?;
    let cursor = |last: &StoredTransaction| {
        TransactionsCursor { account: id, number: last.id.number, as_of: None }.encode()
    };
    Ok(Json(Page::of(page, cursor, Transaction::of)))
}

/// What was believed then. The first page decides which change was the last one then; the others keep to it.
async fn as_of(
    api: &Api,
    account: AccountId,
    ask: &Filter,
    after: Option<TransactionsCursor>,
    limit: u32,
) -> Answer<Page<Transaction>> {
    if ask.is_by_content() {
        return Err(Problem::new(
            Code::InvalidQuery,
            "`as_of` shows all transactions of that moment: leave out the other filters.",
        ));
    }
    let seq = match (after, ask.as_of) {
        (Some(after), _) => after.as_of.ok_or_else(cursor::bad)?,
        (None, at) => api.app.store.seq_at(account, at.unwrap_or_else(|| api.app.clock.now())).await?,
    };
    let number = after.map_or(0, |after| after.number);
    let page = api.app.store.held_at(account, seq, number, limit).await.map_err(super::erased)?;
    let cursor = |last: &StoredTransaction| {
        TransactionsCursor { account, number: last.id.number, as_of: Some(seq) }.encode()
    };
    Ok(Page::of(page, cursor, Transaction::of))
}

/// Show a transaction
#[utoipa::path(get, path = "/v1/accounts/{account_id}/transactions/{transaction_id}", operation_id = "show_transaction",
    tag = "accounts",
    params(
        ("account_id" = String, Path, description = "The account's id."),
        ("transaction_id" = String, Path, description = "The transaction's id.")),
    responses((status = 200, description = "The transaction.", body = Transaction)))]
pub async fn show(
    State(api): State<Api>,
    caller: Caller,
    Id(account): Id<AccountId>,
    Id(id): Id<TransactionId>,
) -> Answer<Json<Transaction>> {
    find(&api, caller, account).await?;
    if id.account != account {
        return Err(TransactionId::unknown());
    }
    let found = api.app.store.transaction(id).await.map_err(super::erased)?;
    found.map(|found| Json(Transaction::of(found))).ok_or_else(TransactionId::unknown)
}

fn minor(field: &str, text: Option<&str>, currency: Currency) -> Answer<Option<i64>> {
    text.map(|text| Money::parse(text, currency.code()))
        .transpose()
        .map(|money| money.map(|money| money.minor))
        .map_err(|error| Problem::new(Code::InvalidQuery, format!("{field}: {error} ({currency}).")))
}

impl Transaction {
    /// As JSON.
    pub fn of(stored: StoredTransaction) -> Self {
        Self {
            id: stored.id.to_string(),
            account_id: stored.id.account,
            content: TransactionContent::of(stored.transaction),
            first_seen_at: stored.first_seen_at,
            changed_at: stored.changed_at,
            last_seq: stored.last_seq,
        }
    }
}

impl TransactionContent {
    /// As JSON.
    pub fn of(stored: model::Transaction) -> Self {
        let currency = stored.money.currency;
        Self {
            status: stored.status,
            booked_on: stored.booked_on,
            valued_on: stored.valued_on,
            amount: stored.money.amount(),
            currency: currency.code(),
            text: stored.text,
            counterparty: stored.counterparty,
            balance_after: stored.balance_after.map(|minor| Money { minor, currency }.amount()),
            bank_id: stored.bank_id,
            id_stability: stored.stability,
            details: serde_json::from_str(&stored.details).unwrap_or_else(|_| serde_json::json!({})),
        }
    }
}
