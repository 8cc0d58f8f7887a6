//! `/v1/connections/{connection_id}/export`: all that is held of one customer, a line at a time.
//!
//! A piece is read from the database when the caller has taken the one before, so memory is bounded
//! and nothing is left running when the caller hangs up. Credentials are not read at all.

use super::{Connection, find};
use crate::api::Api;
use crate::api::extract::Id;
use crate::api::gate::Caller;
use crate::api::ndjson::{self, End, NDJSON, ROWS};
use crate::api::problem::Answer;
use crate::api::v1::accounts::changes::Change;
use crate::api::v1::accounts::transactions::Transaction;
use crate::api::v1::accounts::{AccountStatus, Balance};
use crate::api::v1::consents::ConsentShown;
use crate::api::v1::syncs::Sync;
use crate::app::App;
use crate::model::{self, AccountId, BusinessId, ConnectionId, SyncId};
use crate::store::{StoreError, TransactionFilter};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;
use utoipa::ToSchema;

/// One line of an export.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
#[schema(as = ExportLine)]
pub enum Line {
    /// The link; the first line.
    Connection(Connection),
    /// A consent, oldest first; all that there were.
    Consent(ConsentShown),
    /// An account, oldest first, closed ones too; then all that belongs to it.
    Account(AccountStatus),
    /// A balance of the account before.
    Balance(OfAccount<Balance>),
    /// What the account holds now, in the order in which it was first seen.
    Transaction(Transaction),
    /// The account's history, in order.
    Change(Box<OfAccount<Change>>),
    /// The account's syncs, newest first.
    Sync(Sync),
    /// The last line. Without it the export broke off.
    End(End),
}

/// Something of an account.
#[derive(Serialize, ToSchema)]
pub struct OfAccount<T> {
    /// Which.
    #[schema(value_type = String)]
    account_id: AccountId,
    /// What.
    #[serde(flatten)]
    what: T,
}

/// Export a customer's data
///
/// All that is held of one customer as newline-delimited JSON, one object a line: the link, its consents, and for each
/// account its number, balances, transactions, changes with before and after, and syncs. Never credentials. What a sync
/// stores meanwhile may stand in later lines and not in earlier ones: the changes, applied in order, are the truth.
#[utoipa::path(get, path = "/v1/connections/{connection_id}/export", operation_id = "export_connection",
    tag = "connections",
    params(("connection_id" = String, Path, description = "The link's id.")),
    responses((status = 200, description = "Lines; the last one is `end`.", body = Line,
        content_type = "application/x-ndjson")))]
pub async fn export(State(api): State<Api>, caller: Caller, Id(id): Id<ConnectionId>) -> Answer<Response> {
    let connection = find(&api, caller, id).await?;
    let export = Export {
        business: caller.business,
        connection: id,
        todo: VecDeque::from([Step::Connection(Box::new(connection)), Step::Consents, Step::Accounts(None)]),
        lines: 0,
        app: api.app,
    };
    let pieces = stream::unfold(Some(export), |export: Option<Export>| async move {
        let mut export = export?;
        match export.piece().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(export))),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(connection = %export.connection, %error, "an export broke off");
                Some((Err(error), None))
            }
        }
    });
    Ok(([(CONTENT_TYPE, NDJSON)], Body::from_stream(pieces)).into_response())
}

/// What is still to be written.
enum Step {
    Connection(Box<model::Connection>),
    Consents,
    Accounts(Option<AccountId>),
    Account(Box<model::Account>),
    Transactions { account: AccountId, after: Option<i64> },
    Changes { account: AccountId, after_seq: i64 },
    Syncs { account: AccountId, before: Option<SyncId> },
    End,
}

struct Export {
    app: Arc<App>,
    business: BusinessId,
    connection: ConnectionId,
    todo: VecDeque<Step>,
    lines: u64,
}

impl Export {
    /// The next lines; none after the last.
    async fn piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        while let Some(step) = self.todo.pop_front() {
            let lines = self.step(step).await?;
            if lines.is_empty() {
                continue; // an empty piece would be taken for the end
            }
            self.lines += lines.len() as u64;
            return ndjson::piece(&lines).map(Some);
        }
        Ok(None)
    }

    /// The lines of a step; what follows from it is put first among what is to be done.
    async fn step(&mut self, step: Step) -> Result<Vec<Line>, StoreError> {
        let store = &self.app.store;
        let (lines, next): (Vec<Line>, Vec<Step>) = match step {
            Step::Connection(connection) => (vec![Line::Connection(Connection::of(*connection))], vec![]),
            Step::Consents => {
                let consents = store.consents(self.connection).await?;
                (
                    consents.into_iter().map(|consent| Line::Consent(ConsentShown::of(consent))).collect(),
                    vec![],
                )
            }
            Step::Accounts(after) => {
                let page = store.accounts(self.business, Some(self.connection), after, ROWS).await?;
                let rest = page.items.last().map(|last| Step::Accounts(Some(last.id)));
                let rest = rest.filter(|_| page.has_more).unwrap_or(Step::End);
                let each = page.items.into_iter().map(|account| Step::Account(Box::new(account)));
                (vec![], each.chain([rest]).collect())
            }
            Step::Account(account) => {
                let id = account.id;
                let head = store.head(id).await?.ok_or(StoreError::Erased)?;
                let balances = head.balances.clone();
                let mut lines = vec![Line::Account(AccountStatus::of(*account, head, self.app.clock.now()))];
                lines.extend(
                    balances.into_iter().map(|balance| {
                        Line::Balance(OfAccount { account_id: id, what: Balance::of(balance) })
                    }),
                );
                let next = vec![
                    Step::Transactions { account: id, after: None },
                    Step::Changes { account: id, after_seq: 0 },
                    Step::Syncs { account: id, before: None },
                ];
                (lines, next)
            }
            Step::Transactions { account, after } => {
                let filter = TransactionFilter { after, ..TransactionFilter::default() };
                let page = store.transactions(account, &filter, ROWS).await?;
                let last = page.items.last().filter(|_| page.has_more);
                let next = last.map(|last| Step::Transactions { account, after: Some(last.id.number) });
                let lines = page.items.into_iter().map(|row| Line::Transaction(Transaction::of(row)));
                (lines.collect(), next.into_iter().collect())
            }
            Step::Changes { account, after_seq } => {
                let page = store.changes(account, after_seq, ROWS).await?;
                if page.items.iter().any(model::Change::is_erased) {
                    return Err(StoreError::Erased);
                }
                let last = page.items.last().filter(|_| page.has_more);
                let next = last.map(|last| Step::Changes { account, after_seq: last.seq });
                let of = |change| {
                    Line::Change(Box::new(OfAccount { account_id: account, what: Change::of(change) }))
                };
                (page.items.into_iter().map(of).collect(), next.into_iter().collect())
            }
            Step::Syncs { account, before } => {
                let page = store.syncs(account, before, ROWS).await?;
                let last = page.items.last().filter(|_| page.has_more);
                let next = last.map(|last| Step::Syncs { account, before: Some(last.id) });
                let lines = page.items.into_iter().map(|sync| Line::Sync(Sync::finished(sync)));
                (lines.collect(), next.into_iter().collect())
            }
            Step::End => {
                // A customer who left meanwhile has no accounts any more: that is not all there was.
                let found = store.connection(self.business, self.connection).await?;
                found.filter(|found| !found.state.is_over()).ok_or(StoreError::Erased)?;
                (vec![Line::End(End { lines: self.lines })], vec![])
            }
        };
        for step in next.into_iter().rev() {
            self.todo.push_front(step);
        }
        Ok(lines)
    }
}
