//! `/v1/consents`: the audit trail of what customers agreed to, and what became of it.

use super::limit;
use crate::api::Api;
use crate::api::cursor::Cursor;
use crate::api::extract::{Ask, Id, PathId};
use crate::api::gate::Caller;
use crate::api::ndjson::{self, End, NDJSON, ROWS};
use crate::api::problem::Answer;
use crate::api::schema::{self, Page};
use crate::app::App;
use crate::model::{self, BusinessId, ConnectionId, ConsentId, RecordedConsent, Timestamp};
use crate::store::{ConsentFilter, StoreError};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// What a customer agreed to.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConsentShown {
    /// Ours.
    #[schema(value_type = String, example = "cns_06f5k8d9t3e4h7z2m1p0q8r6vw")]
    id: ConsentId,
    /// When it was given.
    #[schema(value_type = String, format = DateTime)]
    granted_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The permissions, in the bank's words.
    scopes: Vec<String>,
    /// How it was given.
    how: String,
    /// Your or the bank's reference; null once the customer has left.
    reference: Option<String>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Why it ended: `replaced`, `expired`, `ended_by_bank` or `deleted`.
    #[schema(value_type = Option<schema::ConsentEnd>)]
    end_reason: Option<String>,
}

/// What a customer agreed to, with the link it is for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Consent {
    /// For which link.
    #[schema(value_type = String)]
    connection_id: ConnectionId,
    /// At which bank.
    institution_id: String,
    /// Your own name for the customer; null once the customer has left.
    customer_ref: Option<String>,
    /// The consent.
    #[serde(flatten)]
    consent: ConsentShown,
}

/// Is a consent in force?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentState {
    /// The bank may be asked.
    InForce,
    /// It may not.
    Ended,
}

/// Which consents to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only those of this connection, also of one that is erased.
    connection_id: Option<String>,
    /// Only those of this customer.
    customer_ref: Option<String>,
    /// Only those at this bank.
    institution_id: Option<String>,
    /// Only those in force, or only those that ended.
    #[param(value_type = Option<schema::ConsentState>, inline)]
    state: Option<ConsentState>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Rows of the page: 1 to 500, 100 by default.
    limit: Option<u32>,
}

/// One line of an export.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
#[schema(as = ConsentLine)]
pub enum Line {
    /// A consent, oldest first.
    Consent(Box<Consent>),
    /// The last line. Without it the export broke off.
    End(End),
}

/// List consents
///
/// All that your customers ever agreed to, oldest first. Of those who left, dates, permissions and ends stay for as long
/// as `retention.ended-consents-days` says; name and reference are gone.
#[utoipa::path(get, path = "/v1/consents", operation_id = "list_consents", tag = "consents", params(Filter),
    responses(
        (status = 200, description = "A page.", body = Page<Consent>),
        (status = 404, description = "You have no connection with this id.",
            body = crate::api::problem::ProblemSchema, content_type = "application/problem+json")))]
pub async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ask(ask): Ask<Filter>,
) -> Answer<Json<Page<Consent>>> {
    let after = ask.cursor.as_deref().map(ConsentId::decode).transpose()?;
    let connection = match ask.connection_id {
        None => None,
        Some(text) => {
            let id = text.parse().map_err(|_| ConnectionId::unknown())?;
            Some(api.app.store.connection(caller.business, id).await?.ok_or_else(ConnectionId::unknown)?.id)
        }
    };
    let filter = ConsentFilter {
        connection,
        customer_ref: ask.customer_ref.as_deref(),
        institution: ask.institution_id.as_deref(),
        in_force: ask.state.map(|state| state == ConsentState::InForce),
    };
    let (limit, now) = (limit(ask.limit), api.app.clock.now());
    let page = api.app.store.recorded_consents(caller.business, &filter, after, limit, now).await?;
    Ok(Json(Page::of(page, |last| last.consent.id.encode(), Consent::of)))
}

/// Show a consent
#[utoipa::path(get, path = "/v1/consents/{consent_id}", operation_id = "show_consent", tag = "consents",
    params(("consent_id" = String, Path, description = "The consent's id.")),
    responses((status = 200, description = "The consent.", body = Consent)))]
pub async fn show(State(api): State<Api>, caller: Caller, Id(id): Id<ConsentId>) -> Answer<Json<Consent>> {
    let found = api.app.store.recorded_consent(caller.business, id).await?;
    found.map(|found| Json(Consent::of(found))).ok_or_else(ConsentId::unknown)
}

/// Export all consents
///
/// The whole audit trail as newline-delimited JSON, one object a line, oldest first.
#[utoipa::path(get, path = "/v1/consents/export", operation_id = "export_consents", tag = "consents",
    responses((status = 200, description = "Lines; the last one is `end`.", body = Line,
        content_type = "application/x-ndjson")))]
pub async fn export(State(api): State<Api>, caller: Caller) -> Response {
    let export =
        Export { app: api.app, business: caller.business, step: Step::Consents { after: None }, lines: 0 };
    let pieces = stream::unfold(Some(export), |export: Option<Export>| async move {
        let mut export = export?;
        match export.piece().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(export))),
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(business = %export.business, %error, "an export of consents broke off");
                Some((Err(error), None))
            }
        }
    });
    ([(CONTENT_TYPE, NDJSON)], Body::from_stream(pieces)).into_response()
}

/// What is still to be written.
#[derive(Clone, Copy)]
enum Step {
    Consents { after: Option<ConsentId> },
    End,
    Nothing,
}

struct Export {
    app: Arc<App>,
    business: BusinessId,
    step: Step,
    lines: u64,
}

impl Export {
    /// The next lines, read when the ones before were taken; none after the last.
    async fn piece(&mut self) -> Result<Option<Bytes>, StoreError> {
        if let Step::Consents { after } = self.step {
            let (store, filter) = (&self.app.store, ConsentFilter::default());
            let now = self.app.clock.now();
            let page = store.recorded_consents(self.business, &filter, after, ROWS, now).await?;
            let last = page.items.last().filter(|_| page.has_more).map(|last| last.consent.id);
            self.step = last.map_or(Step::End, |last| Step::Consents { after: Some(last) });
            let lines: Vec<_> =
                page.items.into_iter().map(|row| Line::Consent(Box::new(Consent::of(row)))).collect();
            if !lines.is_empty() {
                self.lines += lines.len() as u64;
                return ndjson::piece(&lines).map(Some);
            }
        }
        match std::mem::replace(&mut self.step, Step::Nothing) {
            Step::Nothing => Ok(None),
            _ => ndjson::piece(&[Line::End(End { lines: self.lines })]).map(Some),
        }
    }
}

impl ConsentShown {
    /// As JSON.
    pub fn of(stored: model::Consent) -> Self {
        Self {
            id: stored.id,
            granted_at: stored.granted_at,
            expires_at: stored.expires_at,
            scopes: stored.scopes,
            how: stored.how,
            reference: stored.reference,
            ended_at: stored.ended_at,
            end_reason: stored.end_reason,
        }
    }
}

impl Consent {
    fn of(stored: RecordedConsent) -> Self {
        Self {
            connection_id: stored.consent.connection,
            institution_id: stored.institution,
            customer_ref: stored.customer_ref,
            consent: ConsentShown::of(stored.consent),
        }
    }
}
