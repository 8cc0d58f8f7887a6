//! `/v1/accounts/{account_id}/changes`: the history, by cursor. This is the truth; webhooks are hints.

use super::transactions::TransactionContent;
use super::{find, head};
use crate::api::Api;
use crate::api::cursor::{self, ChangesCursor, Cursor};
use crate::api::extract::{Ask, Id, PathId};
use crate::api::gate::Caller;
use crate::api::problem::{Answer, Code, Problem};
use crate::api::schema;
use crate::model::{self, AccountHead, AccountId, ChangeKind, SyncId, Timestamp};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// What happened to a transaction.
#[derive(Debug, Serialize, ToSchema)]
pub struct Change {
    /// Its place in the account's history: 1, 2, 3, … without a gap.
    seq: i64,
    /// What happened.
    #[schema(schema_with = schema::change_kind)]
    kind: ChangeKind,
    /// To which transaction.
    transaction_id: String,
    /// As we had it; null for `added`.
    before: Option<TransactionContent>,
    /// As it is now; null for `removed`.
    after: Option<TransactionContent>,
    /// When we knew.
    #[schema(value_type = String, format = DateTime)]
    observed_at: Timestamp,
    /// Which sync saw it.
    #[schema(value_type = String)]
    sync_id: SyncId,
}

/// A piece of an account's history.
#[derive(Debug, Serialize, ToSchema)]
pub struct Changes {
    /// In order.
    items: Vec<Change>,
    /// There are more right now.
    has_more: bool,
    /// Keep it: it goes on after the last item, today and after later syncs.
    next_cursor: String,
}

/// From where to read.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct From {
    /// `next_cursor` of the last answer; none to read from the beginning.
    cursor: Option<String>,
    /// Rows of the answer: 1 to 500, 100 by default.
    limit: Option<u32>,
}

/// Read an account's changes
///
/// Applied in order to an empty table, they give exactly `GET …/transactions`.
#[utoipa::path(get, path = "/v1/accounts/{account_id}/changes", operation_id = "list_changes", tag = "accounts",
    params(("account_id" = String, Path, description = "The account's id."), From),
    responses(
        (status = 200, description = "What happened since.", body = Changes),
        (status = 410, description = "The history was rebuilt: read again without a cursor (`cursor-expired`). Or the \
            customer has left: delete your copy (`account-erased`).",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<AccountId>,
    Ask(ask): Ask<From>,
) -> Answer<Json<Changes>> {
    let erased = async || erased(&api, caller, id, ask.cursor.as_deref()).await;
    let head = match find(&api, caller, id).await {
        Ok(_) => head(&api, id).await?,
        Err(unknown) => return Err(erased().await?.unwrap_or(unknown)),
    };
    let start = match &ask.cursor {
        None => ChangesCursor { account: id, epoch: head.epoch, seq: 0 },
        Some(text) => usable(ChangesCursor::decode(text)?, &head)?,
    };
    let page = api.app.store.changes(id, start.seq, crate::api::v1::limit(ask.limit)).await?;
    if page.items.iter().any(model::Change::is_erased) {
        return Err(erased().await?.unwrap_or_else(AccountId::unknown)); // since the account was found
    }
    let next = ChangesCursor { seq: page.items.last().map_or(start.seq, |last| last.seq), ..start };
    Ok(Json(Changes {
        items: page.items.into_iter().map(Change::of).collect(),
        has_more: page.has_more,
        next_cursor: next.encode(),
    }))
}

/// What a cursor of an account is answered whose customer has left. Without one the account is unknown.
async fn erased(api: &Api, caller: Caller, id: AccountId, cursor: Option<&str>) -> Answer<Option<Problem>> {
    let of_this =
        cursor.and_then(|text| ChangesCursor::decode(text).ok()).filter(|cursor| cursor.account == id);
    if of_this.is_none() || !api.app.store.is_erased_account(caller.business, id).await? {
        return Ok(None);
    }
    Ok(Some(Problem::new(
        Code::AccountErased,
        "The customer's connection was deleted, and the account's data with it. Delete your copy of this account and \
         do not ask for it again.",
    )))
}

/// The cursor, if it is of this account and this writing of its history.
fn usable(cursor: ChangesCursor, head: &AccountHead) -> Answer<ChangesCursor> {
    if cursor.account != head.account {
        return Err(cursor::bad());
    }
    // A cursor past the end was given out before the database was restored from a backup.
    if cursor.epoch != head.epoch || cursor.seq > head.seq {
        return Err(Problem::new(
            Code::CursorExpired,
            "The account's history was rebuilt since this cursor was given. Read again without a cursor and replace \
             your copy of this account.",
        ));
    }
    Ok(cursor)
}

impl Change {
    /// As JSON.
    pub fn of(stored: model::Change) -> Self {
        Self {
            seq: stored.seq,
            kind: stored.kind,
            transaction_id: stored.transaction.to_string(),
            before: stored.before.map(TransactionContent::of),
            after: stored.after.map(TransactionContent::of),
            observed_at: stored.observed_at,
            sync_id: stored.sync,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_used_only_for_its_account_and_writing() {
        let account = AccountId::new();
        let head = AccountHead {
            account,
            seq: 5,
            epoch: 1,
            balances: vec![],
            state: None,
            due_at: Timestamp(0),
            requested_at: None,
            next_allowed_at: None,
            failures: 0,
            last_sync: None,
            fresh_at: None,
            history_since: None,
        };
        let check = |account, epoch, seq| {
            usable(ChangesCursor { account, epoch, seq }, &head).map_err(|no| no.code())
        };
        assert!(check(account, 1, 5).is_ok());
        assert_eq!(check(AccountId::new(), 1, 5), Err(Code::BadCursor));
        assert_eq!(check(account, 0, 5), Err(Code::CursorExpired));
        assert_eq!(check(account, 1, 6), Err(Code::CursorExpired));
    }
}
