//! `/v1/accounts`: what the customers' links hold.

pub mod changes;
pub mod sync;
pub mod transactions;

use crate::api::Api;
use crate::api::cursor::Cursor;
use crate::api::extract::{Ask, Id, PathId};
use crate::api::gate::Caller;
use crate::api::problem::{Answer, Problem};
use crate::api::schema::{self, Page};
use crate::model::{
    self, AccountHead, AccountId, AccountState, BalanceKind, ConnectionId, Credit, Money, SyncId, Timestamp,
};
use axum::Json;
use axum::extract::State;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub struct Account {
    /// Ours; stays when the customer authorises again.
    #[schema(value_type = String, example = "acc_06f5k8d9t3e4h7z2m1p0q8r6vw")]
    id: AccountId,
    /// The link it came through.
    #[schema(value_type = String)]
    connection_id: ConnectionId,
    /// What the bank calls it.
    name: String,
    /// ISO 4217 letters.
    #[schema(example = "GBP")]
    currency: &'static str,
    /// The number that people know.
    number: Option<String>,
    /// The bank's id, stable for one consent.
    bank_id: String,
    /// `closed` when the bank no longer lists it, `excluded` when it is switched off; its history stays.
    #[schema(value_type = schema::AccountState)]
    state: AccountState,
    /// When it was first listed.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// An account, and where it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountStatus {
    /// The account.
    #[serde(flatten)]
    account: Account,
    /// When our copy was last known to be what the bank has.
    #[schema(value_type = Option<String>, format = DateTime)]
    fresh_at: Option<Timestamp>,
    /// How many seconds ago that was.
    age_s: Option<u64>,
    /// It should have been read some time ago (`stale-after-minutes` of the bank's profile) and was not.
    stale: bool,
    /// The `seq` of its last change; 0 before the first.
    seq: i64,
    /// Its transactions are held from this day on without a gap; null before the first sync.
    #[schema(value_type = Option<String>, format = Date)]
    history_from: Option<NaiveDate>,
    /// They reach as far back as the bank gives. Until then older ones are still being read.
    history_complete: bool,
    /// The bank's transaction ids named other transactions than before: they are not used any more.
    ids_demoted: bool,
    /// When it is due again, apart from requests; null if it is closed or switched off.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
    /// No reading before: the bank's limit, what it has agreed to without the customer, or it fails for many. A
    /// `/sync` with the customer there may be allowed sooner.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_allowed_at: Option<Timestamp>,
    /// Failed syncs in a row.
    failures: i32,
    /// Its last finished sync.
    #[schema(value_type = Option<String>)]
    last_sync_id: Option<SyncId>,
}

/// An account's balances.
#[derive(Debug, Serialize, ToSchema)]
pub struct Balances {
    /// When they were last known to be what the bank has; null before the first sync.
    #[schema(value_type = Option<String>, format = DateTime)]
    fresh_at: Option<Timestamp>,
    /// As the bank gave them.
    items: Vec<Balance>,
}

/// A balance.
#[derive(Debug, Serialize, ToSchema)]
pub struct Balance {
    /// What it means.
    #[schema(value_type = schema::BalanceKind)]
    kind: BalanceKind,
    /// Decimal text, with all decimals of the currency.
    #[schema(example = "1204.50")]
    amount: String,
    /// ISO 4217 letters.
    #[schema(example = "GBP")]
    currency: &'static str,
    /// When, as the bank said.
    #[schema(value_type = Option<String>, format = DateTime)]
    as_of: Option<Timestamp>,
    /// Pending entries are in the amount.
    includes_pending: bool,
    /// How much of the amount is credit that the bank counts in, such as an agreed overdraft; `0.00`: none; null:
    /// some, and the bank does not say how much.
    #[schema(example = "0.00")]
    credit_included: Option<String>,
}

/// Which accounts to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only those of this connection.
    connection_id: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows of the page: 1 to 500, 100 by default.
    limit: Option<u32>,
}

/// List accounts
///
/// Oldest first.
#[utoipa::path(get, path = "/v1/accounts", operation_id = "list_accounts", tag = "accounts", params(Filter),
    responses(
        (status = 200, description = "A page.", body = Page<Account>),
        (status = 404, description = "You have no connection with this id.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ask(ask): Ask<Filter>,
) -> Answer<Json<Page<Account>>> {
    let after = ask.cursor.as_deref().map(AccountId::decode).transpose()?;
    let connection = match ask.connection_id {
        None => None,
        Some(text) => {
            let id = text.parse().map_err(|_| ConnectionId::unknown())?;
            Some(api.app.store.connection(caller.business, id).await?.ok_or_else(ConnectionId::unknown)?.id)
        }
    };
    let page = api.app.store.accounts(caller.business, connection, after, super::limit(ask.limit)).await?;
    Ok(Json(Page::of(page, |last| last.id.encode(), Account::of)))
}

/// Show an account
#[utoipa::path(get, path = "/v1/accounts/{account_id}", operation_id = "show_account", tag = "accounts",
    params(("account_id" = String, Path, description = "The account's id.")),
    responses((status = 200, description = "The account.", body = AccountStatus)))]
pub async fn show(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<AccountId>,
) -> Answer<Json<AccountStatus>> {
    let account = find(&api, caller, id).await?;
    let head = head(&api, id).await?;
    Ok(Json(AccountStatus::of(account, head, api.app.clock.now())))
}

/// Show an account's balances
///
/// As of the last successful sync.
#[utoipa::path(get, path = "/v1/accounts/{account_id}/balances", operation_id = "show_balances", tag = "accounts",
    params(("account_id" = String, Path, description = "The account's id.")),
    responses((status = 200, description = "The balances.", body = Balances)))]
pub async fn balances(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<AccountId>,
) -> Answer<Json<Balances>> {
    find(&api, caller, id).await?;
    let head = head(&api, id).await?;
    Ok(Json(Balances {
        fresh_at: head.fresh_at,
        items: head.balances.into_iter().map(Balance::of).collect(),
    }))
}

/// One of the caller's accounts.
pub(super) async fn find(api: &Api, caller: Caller, id: AccountId) -> Answer<model::Account> {
    api.app.store.account(caller.business, id).await?.ok_or_else(AccountId::unknown)
}

/// Where an account that was just found stands; it may have been erased since.
async fn head(api: &Api, id: AccountId) -> Answer<AccountHead> {
    api.app.store.head(id).await?.ok_or_else(AccountId::unknown)
}

/// What a `Problem` for an erased connection says of its account.
fn erased(error: crate::store::StoreError) -> Problem {
    match error {
        crate::store::StoreError::Erased => AccountId::unknown(),
        other => other.into(),
    }
}

impl AccountStatus {
    /// As JSON.
    pub fn of(account: model::Account, head: AccountHead, now: Timestamp) -> Self {
        let is_read = account.state == AccountState::Active;
        Self {
            account: Account::of(account),
            fresh_at: head.fresh_at,
            age_s: head.fresh_at.map(|at| now.since(at).as_secs()),
            stale: is_read && head.stale_at.is_some_and(|at| at <= now),
            seq: head.seq,
            history_from: head.history_from,
            history_complete: head.fresh_at.is_some() && head.history_due_at.is_none(),
            ids_demoted: head.standing.ids_demoted,
            next_at: is_read.then_some(head.due_at),
            next_allowed_at: head.allowed_at(),
            failures: head.failures,
            last_sync_id: head.last_sync,
        }
    }
}

impl Account {
    fn of(stored: model::Account) -> Self {
        Self {
            id: stored.id,
            connection_id: stored.connection,
            name: stored.bank.name,
            currency: stored.bank.currency.code(),
            number: stored.bank.number,
            bank_id: stored.bank.bank_id,
            state: stored.state,
            created_at: stored.created_at,
        }
    }
}

impl Balance {
    /// As JSON.
    pub fn of(stored: model::Balance) -> Self {
        Self {
            kind: stored.kind,
            amount: stored.money.amount(),
            currency: stored.money.currency.code(),
            as_of: stored.as_of,
            includes_pending: stored.includes_pending,
            credit_included: match stored.credit_included {
                Credit::None => Some(0),
                Credit::Included(minor) => Some(minor),
                Credit::Unknown => None,
            }
            .map(|minor| Money { minor, ..stored.money }.amount()),
        }
    }
}
