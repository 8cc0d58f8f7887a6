//! `/v1/syncs`: what a run over an account came to.

use crate::api::Api;
use crate::api::cursor::{ChangesCursor, Cursor};
use crate::api::extract::{Id, PathId};
use crate::api::gate::Caller;
use crate::api::problem::Answer;
use crate::api::schema;
use crate::model::{self, AccountId, Proof, SyncCode, SyncId, SyncStatus, Timestamp};
use crate::store::FoundSync;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// One run over one account. While it is running, everything but its id, account and status is null.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sync {
    /// Ours.
    #[schema(value_type = String, example = "syn_06f5k8d9t3e4h7z2m1p0q8r6vw")]
    id: SyncId,
    /// Over which account.
    #[schema(value_type = String)]
    account_id: AccountId,
    /// Running or finished.
    #[schema(value_type = schema::SyncStatus)]
    status: SyncStatus,
    /// Name and version of the connector that was run; null if none could be.
    #[schema(example = "open-banking-uk 0.1.0")]
    connector: Option<String>,
    /// The customer was at a screen, as the call said that asked for it.
    customer_present: Option<bool>,
    /// What it came to.
    #[schema(value_type = Option<schema::SyncCode>)]
    code: Option<SyncCode>,
    /// Finer than the code.
    #[schema(example = "rate-limited")]
    reason: Option<String>,
    /// What happened and what to do, for people.
    message: Option<String>,
    /// This run stored a change of transactions or balances.
    has_new_data: Option<bool>,
    /// How many transactions were new.
    added: Option<i32>,
    /// How many changed.
    modified: Option<i32>,
    /// How many are gone.
    removed: Option<i32>,
    /// Did the bank's own balance agree with the changes?
    #[schema(value_type = Option<schema::Proof>)]
    proof: Option<Proof>,
    /// When the bank was asked about this account first; null if it was not.
    #[schema(value_type = Option<String>, format = DateTime)]
    bank_asked_at: Option<Timestamp>,
    /// When its last answer was read.
    #[schema(value_type = Option<String>, format = DateTime)]
    bank_answered_at: Option<Timestamp>,
    /// When the run began.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When it was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// The bank allows no reading before.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_allowed_at: Option<Timestamp>,
    /// When the account is due again; null while polling is stopped.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_at: Option<Timestamp>,
    /// How many runs this stands for: scheduled ones of one day that changed nothing are one sync, whose times are the
    /// last one's, but for `started_at`.
    runs: Option<i32>,
    /// Where the account's history ended after this run: what `…/changes` gives for it is newer.
    cursor: Option<String>,
}

impl Sync {
    /// One that is over.
    pub fn finished(stored: model::Sync) -> Self {
        Self {
            id: stored.id,
            account_id: stored.account,
            status: SyncStatus::Finished,
            connector: Some(stored.connector).filter(|label| !label.is_empty()),
            customer_present: Some(stored.customer_present),
            code: Some(stored.code),
            reason: stored.reason,
            message: stored.message,
            has_new_data: Some(stored.has_new_data),
            added: Some(stored.added),
            modified: Some(stored.modified),
            removed: Some(stored.removed),
            proof: Some(stored.proof),
            bank_asked_at: stored.bank_asked_at,
            bank_answered_at: stored.bank_answered_at,
            started_at: Some(stored.started_at),
            finished_at: Some(stored.finished_at),
            next_allowed_at: stored.next_allowed_at,
            next_at: stored.next_at,
            runs: Some(stored.runs),
            cursor: Some(
                ChangesCursor {
                    account: stored.account,
                    epoch: stored.epoch,
                    seq: stored.seq,
                    compact: None,
                }
                .encode(),
            ),
        }
    }

    /// One that is wanted or being read.
    pub fn running(id: SyncId, account: AccountId) -> Self {
        Self {
            id,
            account_id: account,
            status: SyncStatus::Running,
            connector: None,
            customer_present: None,
            code: None,
            reason: None,
            message: None,
            has_new_data: None,
            added: None,
            modified: None,
            removed: None,
            proof: None,
            bank_asked_at: None,
            bank_answered_at: None,
            started_at: None,
            finished_at: None,
            next_allowed_at: None,
            next_at: None,
            runs: None,
            cursor: None,
        }
    }
}

/// Show a sync
#[utoipa::path(get, path = "/v1/syncs/{sync_id}", operation_id = "show_sync", tag = "syncs",
    params(("sync_id" = String, Path, description = "The sync's id.")),
    responses((status = 200, description = "The sync.", body = Sync)))]
pub async fn show(State(api): State<Api>, caller: Caller, Id(id): Id<SyncId>) -> Answer<Json<Sync>> {
    match api.app.store.sync(caller.business, id).await?.ok_or_else(SyncId::unknown)? {
        FoundSync::Finished(done) => Ok(Json(Sync::finished(*done))),
        FoundSync::Running { account } => Ok(Json(Sync::running(id, account))),
    }
}
