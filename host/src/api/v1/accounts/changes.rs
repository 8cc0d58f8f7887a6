//! `/v1/accounts/{account_id}/changes`: the history, by cursor. This is the truth; webhooks are hints.

use super::transactions::TransactionContent;
use super::{find, head};
use crate::api::Api;
use crate::api::cursor::{self, ChangesCursor, Cursor, Span};
use crate::api::extract::{Ask, Id, PathId};
use crate::api::gate::Caller;
use crate::api::problem::{Answer, Code, Problem};
use crate::api::schema;
use crate::model::{
    self, AccountHead, AccountId, ChangeKind, ChangeReason, SyncId, Timestamp, TransactionId,
};
use crate::store::PageOf;
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
    #[schema(value_type = schema::ChangeKind)]
    kind: ChangeKind,
    /// Why.
    #[schema(value_type = schema::ChangeReason)]
    reason: ChangeReason,
    /// Another entry could have become this one as well: nothing that the bank showed decides it.
    ambiguous: bool,
    /// To which transaction.
    transaction_id: String,
    /// As we had it; null for `added`.
    before: Option<TransactionContent>,
    /// As it is now; null for `removed`.
    after: Option<TransactionContent>,
    /// Pending entries that an added one may be the booking of; they stand beside it until the bank settles it.
    links: Vec<Link>,
    /// When we knew.
    #[schema(value_type = String, format = DateTime)]
    observed_at: Timestamp,
    /// Which sync saw it.
    #[schema(value_type = String)]
    sync_id: SyncId,
}

/// An entry that may be the same one.
#[derive(Debug, Serialize, ToSchema)]
pub struct Link {
    /// Which.
    transaction_id: String,
    /// How likely, in percent: 1 to 99.
    #[schema(minimum = 1, maximum = 99)]
    confidence: u8,
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
    /// Of each transaction only what became of it since the cursor: one item, or none if it came and went.
    compact: Option<bool>,
}

/// Read an account's changes
///
/// Applied in order to an empty table, they give exactly `GET …/transactions`. History does not change: a page can't
/// fail because data moved. A cursor is good for as long as the account is. With `compact`, what happened until the
/// first page was read is shown; what follows comes after it.
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
        None => ChangesCursor { account: id, epoch: head.epoch, seq: 0, compact: None },
        Some(text) => usable(ChangesCursor::decode(text)?, &head)?,
    };
    let limit = crate::api::v1::limit(ask.limit);
    let begun = ask.compact.unwrap_or(false).then_some(Span { after: start.seq, until: head.seq });
    let (page, span) = match start.compact.or(begun) {
        Some(span) => {
            (api.app.store.compact_changes(id, (span.after, span.until), start.seq, limit).await?, Some(span))
        }
        None => (api.app.store.changes(id, start.seq, limit).await?, None),
    };
    if page.items.iter().any(model::Change::is_erased) {
        return Err(erased().await?.unwrap_or_else(AccountId::unknown)); // since the account was found
    }
    let last = page.items.last().map_or(start.seq, |last| last.seq);
    let next = match span {
        Some(span) if !page.has_more => ChangesCursor { seq: span.until, compact: None, ..start },
        _ => ChangesCursor { seq: last, compact: span, ..start },
    };
    Ok(Json(Changes::of(page, next)))
}

/// Read a transaction's history
///
/// Every change of one transaction, also of one that is gone.
#[utoipa::path(get, path = "/v1/accounts/{account_id}/transactions/{transaction_id}/changes",
    operation_id = "list_transaction_changes", tag = "accounts",
    params(
        ("account_id" = String, Path, description = "The account's id."),
        ("transaction_id" = String, Path, description = "The transaction's id."), History),
    responses((status = 200, description = "What happened to it.", body = Changes)))]
pub async fn of_transaction(
    State(api): State<Api>,
    caller: Caller,
    Id(account): Id<AccountId>,
    Id(id): Id<TransactionId>,
    Ask(ask): Ask<History>,
) -> Answer<Json<Changes>> {
    find(&api, caller, account).await?;
    let head = head(&api, account).await?;
    let start = match &ask.cursor {
        None => ChangesCursor { account, epoch: head.epoch, seq: 0, compact: None },
        Some(text) => usable(ChangesCursor::decode(text)?, &head)?,
    };
    if id.account != account || id.number > head.seq {
        return Err(TransactionId::unknown());
    }
    let page = api.app.store.changes_of(id, start.seq, crate::api::v1::limit(ask.limit)).await?;
    // A number that was never given out: its change would be its own first one.
    if page.items.is_empty() && start.seq < id.number {
        return Err(TransactionId::unknown());
    }
    if page.items.iter().any(model::Change::is_erased) {
        return Err(AccountId::unknown());
    }
    let seq = page.items.last().map_or(start.seq, |last| last.seq);
    Ok(Json(Changes::of(page, ChangesCursor { seq, compact: None, ..start })))
}

/// From where to read a transaction's history.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct History {
    /// `next_cursor` of the last answer.
    cursor: Option<String>,
    /// Rows of the answer: 1 to 500, 100 by default.
    limit: Option<u32>,
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
         do not ask for it again. If the customer links the bank anew, that is another account: read it without a \
         cursor.",
    )))
}

/// The cursor, if it is of this account and this writing of its history.
fn usable(cursor: ChangesCursor, head: &AccountHead) -> Answer<ChangesCursor> {
    if cursor.account != head.account {
        return Err(cursor::bad());
    }
    // A cursor past the end was given out before the database was restored from a backup.
    if cursor.epoch != head.epoch
        || cursor.seq > head.seq
        || cursor.compact.is_some_and(|span| span.until > head.seq)
    {
        return Err(Problem::new(
            Code::CursorExpired,
            "The account's history was rebuilt since this cursor was given. Read again without a cursor and replace \
             your copy of this account.",
        ));
    }
    Ok(cursor)
}

impl Changes {
    fn of(page: PageOf<model::Change>, next: ChangesCursor) -> Self {
        Self {
            items: page.items.into_iter().map(Change::of).collect(),
            has_more: page.has_more,
            next_cursor: next.encode(),
        }
    }
}

impl Change {
    /// As JSON.
    pub fn of(stored: model::Change) -> Self {
        Self {
            seq: stored.seq,
            kind: stored.kind,
            reason: stored.reason,
            ambiguous: stored.ambiguous,
            links: stored.links.iter().map(|link| Link::of(stored.transaction.account, *link)).collect(),
            transaction_id: stored.transaction.to_string(),
            before: stored.before.map(TransactionContent::of),
            after: stored.after.map(TransactionContent::of),
            observed_at: stored.observed_at,
            sync_id: stored.sync,
        }
    }
}

impl Link {
    fn of(account: AccountId, stored: model::Link) -> Self {
        let transaction_id = TransactionId { account, number: stored.number }.to_string();
        Self { transaction_id, confidence: stored.confidence }
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
            stale_at: None,
            history_from: None,
            history_due_at: None,
            standing: model::Standing::default(),
            take_incomplete: false,
            reads: 0,
            reads_until: None,
            unattended_at: None,
            is_attended: false,
            is_awaited: false,
            held_until: None,
            index: None,
        };
        let check = |account, epoch, seq| {
            usable(ChangesCursor { account, epoch, seq, compact: None }, &head).map_err(|no| no.code())
        };
        assert!(check(account, 1, 5).is_ok());
        assert_eq!(check(AccountId::new(), 1, 5), Err(Code::BadCursor));
        assert_eq!(check(account, 0, 5), Err(Code::CursorExpired));
        assert_eq!(check(account, 1, 6), Err(Code::CursorExpired));
    }
}
