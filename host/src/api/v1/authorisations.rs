//! `/v1/authorisations`: where a customer on the way in stands.

use crate::api::Api;
use crate::api::extract::{Id, PathId};
use crate::api::gate::Caller;
use crate::api::linking;
use crate::api::problem::Answer;
use crate::api::schema;
use crate::app::App;
use crate::model::{
    self, AuthorisationId, AuthorisationState, ConnectionId, Input, StandingAsk, Timestamp, ValueDeclaration,
};
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// Seconds after which somebody who waits should look again.
const LOOK_AGAIN_S: u32 = 2;

/// A customer's way in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Authorisation {
    /// Ours.
    #[schema(value_type = String, example = "aut_06f5k8d9t3e4h7z2m1p0q8r6vw")]
    id: AuthorisationId,
    /// The link it opens; none while the customer chooses the bank.
    #[schema(value_type = Option<String>)]
    connection_id: Option<ConnectionId>,
    /// Which bank; none while the customer chooses.
    institution_id: Option<String>,
    /// `choosing`, `asking` (our turn), `prompted` (the customer's), `ready` or `failed`.
    #[schema(value_type = schema::AuthorisationState)]
    state: AuthorisationState,
    /// Why it failed, or why the customer is asked again; a code such as `credentials-rejected`.
    reason: Option<String>,
    /// The same in words that may be shown to the customer.
    message: Option<&'static str>,
    /// The hosted page, where the customer can do whatever is next; none when it is over.
    link_url: Option<String>,
    /// What the customer must do now.
    next: Option<Next>,
    /// When it fails by itself.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// The newest authorisation of the same connection, where one came after this: the customer tried again, or you
    /// asked again. Go on with that one.
    #[schema(value_type = Option<String>)]
    superseded_by: Option<AuthorisationId>,
}

/// What the customer must do now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Next {
    /// Open the hosted page.
    Link {
        /// Where.
        url: String,
    },
    /// Go to the bank's own page.
    Redirect {
        /// What to tell them.
        text: String,
        /// Send the customer's browser here, not your server: the way back is bound to the browser.
        url: String,
    },
    /// Fill in a form: hand it in with `POST /v1/connections/{connection_id}/continue`.
    Form {
        /// What to tell them.
        text: String,
        /// What to ask for.
        fields: Vec<FormField>,
    },
    /// Nothing here: the customer acts elsewhere, or it is our turn. Look again.
    Wait {
        /// What to tell them.
        text: String,
        /// After so many seconds.
        look_again_s: u32,
    },
}

/// One field of a form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FormField {
    /// What `values` of the answer calls it.
    pub name: String,
    /// What the customer calls it.
    pub label: String,
    /// `text`, `password` or `code`.
    #[schema(value_type = schema::Input)]
    pub input: Input,
}

impl Authorisation {
    /// As it is shown to its business: the newest of its connection.
    pub fn of(app: &App, stored: model::Authorisation) -> Self {
        let link = linking::link_url(app, &stored);
        let over = stored.state.is_over();
        Self {
            next: next(app, &stored, &link),
            link_url: (!over).then_some(link),
            id: stored.id,
            connection_id: stored.connection,
            institution_id: stored.institution,
            state: stored.state,
            message: stored.reason.as_deref().map(linking::sentence),
            reason: stored.reason,
            expires_at: stored.expires_at,
            created_at: stored.created_at,
            ended_at: stored.ended_at,
            superseded_by: None,
        }
    }
}

fn next(app: &App, stored: &model::Authorisation, link: &str) -> Option<Next> {
    let look_again_s = LOOK_AGAIN_S;
    match (stored.state, &stored.prompt) {
        (AuthorisationState::Choosing, _) => Some(Next::Link { url: link.to_owned() }),
        (AuthorisationState::Asking, Some(prompt)) if prompt.ask == StandingAsk::Wait => {
            Some(Next::Wait { text: prompt.text.clone(), look_again_s })
        }
        (AuthorisationState::Asking, _) => {
            Some(Next::Wait { text: "We are talking to the bank.".to_owned(), look_again_s })
        }
        (AuthorisationState::Prompted, Some(prompt)) => {
            let text = prompt.text.clone();
            Some(match &prompt.ask {
                StandingAsk::Form(names) => {
                    Next::Form { text, fields: fields(app, stored.institution.as_deref(), names) }
                }
                StandingAsk::Redirect { .. } => Next::Redirect { text, url: format!("{link}/go") },
                StandingAsk::Wait => Next::Wait { text, look_again_s },
            })
        }
        _ => None,
    }
}

/// The fields of a form, as the connector declares them.
pub fn fields(app: &App, institution: Option<&str>, names: &[String]) -> Vec<FormField> {
    let manifest = institution.and_then(|id| app.institutions.get(id)).and_then(|bank| bank.manifest());
    let field = |name: &String| match manifest.and_then(|manifest| manifest.value(name)) {
        Some(declared) => FormField::of(declared),
        None => FormField { name: name.clone(), label: name.clone(), input: Input::Password },
    };
    names.iter().map(field).collect()
}

impl FormField {
    /// Of a value that a connector declares.
    pub fn of(declared: &ValueDeclaration) -> Self {
        Self { name: declared.name.clone(), label: declared.label.clone(), input: declared.input }
    }
}

/// Show an authorisation
#[utoipa::path(get, path = "/v1/authorisations/{authorisation_id}", operation_id = "show_authorisation",
    tag = "connections",
    params(("authorisation_id" = String, Path, description = "The authorisation's id.")),
    responses((status = 200, description = "Where it stands.", body = Authorisation)))]
pub async fn show(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id<AuthorisationId>,
) -> Answer<Json<Authorisation>> {
    let found = api.app.store.authorisation(caller.business, id).await?;
    let found = found.ok_or_else(AuthorisationId::unknown)?;
    let newest = match found.connection {
        Some(connection) => api.app.store.authorisation_of(connection).await?,
        None => None,
    };
    let superseded_by = newest.map(|newest| newest.id).filter(|newest| *newest != id);
    Ok(Json(Authorisation { superseded_by, ..Authorisation::of(&api.app, found) }))
}
