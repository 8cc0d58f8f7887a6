//! The token endpoint.
//!
//! # The wire
//! `POST {origin}/token`, `Content-Type: application/x-www-form-urlencoded`; the client proves who it
//! is as `client_auth` says. A field must not stand there twice.
//!
//! | `grant_type` | more fields | answers |
//! |---|---|---|
//! | `client_credentials` | `scope=accounts` (optional) | a token of the business itself, for consents (RFC 6749, 4.4) |
//! | `authorization_code` | `code`, `redirect_uri`, `code_verifier` | the first tokens of a consent (RFC 6749, 4.1.3; RFC 7636) |
//! | `refresh_token` | `refresh_token` | a new pair; the old token is used up (RFC 6749, 6) |
//!
//! 200: `{"access_token", "token_type": "Bearer", "expires_in": seconds, "refresh_token"?, "scope":
//! "accounts"}`. 400: `{"error": "invalid_grant" | "invalid_request" | "invalid_scope" |
//! "unsupported_grant_type", "error_description"}`; 401: `invalid_client`. A code lives 60 seconds and
//! is good for one try; a second one ends the tokens that the first gave. New tokens of a consent end
//! the ones from before. A refresh token used twice ends the consent.

use super::access::{Asking, Tokens};
use super::client_auth::{Presented, authenticate};
use super::service::{Asked, json};
use super::spoil::Answer;
use super::{Shared, State};
use axum::body::Body;
use axum::http::{StatusCode, header};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// The longest field is a client assertion.
const TOKEN_REQUEST_BYTES_MAX: usize = 64 * 1024;

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
    refresh_token: Option<String>,
    code: Option<String>,
    redirect_uri: Option<String>,
    code_verifier: Option<String>,
    scope: Option<String>,
    client_id: Option<String>,
    client_assertion_type: Option<String>,
    client_assertion: Option<String>,
}

#[derive(Serialize)]
struct TokenAnswer<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    scope: &'static str,
}

#[derive(Serialize)]
struct TokenError {
    error: &'static str,
    error_description: &'static str,
}

/// `error` and `error_description`.
type Refused = (&'static str, &'static str);

fn refuse((error, error_description): Refused) -> Answer {
    let status = match error {
        "invalid_client" => StatusCode::UNAUTHORIZED,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut answer = json(status, &TokenError { error, error_description });
    if status == StatusCode::UNAUTHORIZED {
        answer.header(header::WWW_AUTHENTICATE.as_str(), "Basic realm=\"token\"");
    }
    answer.header(header::CACHE_CONTROL.as_str(), "no-store");
    answer
}

pub(super) async fn issue(shared: &Shared, asked: &Asked<'_>, body: Body) -> Answer {
    let body = axum::body::to_bytes(body, TOKEN_REQUEST_BYTES_MAX).await.ok();
    let form = asked.header(&header::CONTENT_TYPE);
    let form = form.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let request = body.filter(|_| form).and_then(|body| serde_urlencoded::from_bytes(&body).ok());
    let issued = match request {
        Some(request) => tokens(shared, asked, &request),
        // Who it is cannot be seen in a form that cannot be read, but Basic can.
        None => match authenticate(shared, asked, Presented::default()) {
            Err(why) => Err(("invalid_client", why)),
            Ok(_) => Err(("invalid_request", "Send grant_type and its fields as a form, each once")),
        },
    };
    let (access_token, refresh_token) = match issued {
        Ok(issued) => issued,
        Err(refused) => return refuse(refused),
    };
    let answer = TokenAnswer {
        access_token: &access_token,
        token_type: "Bearer",
        expires_in: shared.config.access_token_lives.as_secs(),
        refresh_token: refresh_token.as_deref(),
        scope: "accounts",
    };
    let mut answer = json(StatusCode::OK, &answer);
    answer.header(header::CACHE_CONTROL.as_str(), "no-store");
    answer
}

/// Access token, and a refresh token if there is a customer behind it.
fn tokens(
    shared: &Shared,
    asked: &Asked<'_>,
    request: &TokenRequest,
) -> Result<(String, Option<String>), Refused> {
    let presented = Presented {
        client_id: request.client_id.as_deref(),
        assertion_type: request.client_assertion_type.as_deref(),
        assertion: request.client_assertion.as_deref(),
    };
    let client = authenticate(shared, asked, presented).map_err(|why| ("invalid_client", why))?;
    let lives = TimeDelta::from_std(shared.config.access_token_lives).unwrap_or(TimeDelta::MAX);
    let asking = Asking { client: &client, caller: asked.caller, now: shared.clock.now(), lives };
    if request.scope.as_deref().is_some_and(|scope| !scope.split(' ').any(|one| one == "accounts")) {
        return Err(("invalid_scope", "This bank has the scope accounts"));
    }
    let state = &mut *shared.state();
    let Tokens { access_token, refresh_token } = match request.grant_type.as_str() {
        "client_credentials" => return Ok((state.access.issue_client_token(&asking), None)),
        "authorization_code" => by_code(state, &asking, request)?,
        "refresh_token" => {
            let given = request.refresh_token.as_deref().unwrap_or_default();
            let renewed = state.access.renew(given, &asking);
            renewed.ok_or(("invalid_grant", "The refresh token or its consent has ended"))?
        }
        _ => {
            let known = "Only authorization_code, refresh_token and client_credentials are supported";
            return Err(("unsupported_grant_type", known));
        }
    };
    Ok((access_token, Some(refresh_token)))
}

fn by_code(state: &mut State, asking: &Asking<'_>, request: &TokenRequest) -> Result<Tokens, Refused> {
    let missing = ("invalid_request", "code, redirect_uri and code_verifier are needed");
    let code = request.code.as_deref().ok_or(missing)?;
    let redirect_uri = request.redirect_uri.as_deref().ok_or(missing)?;
    let verifier = request.code_verifier.as_deref().ok_or(missing)?;
    let State { access, authorisations, .. } = state;
    authorisations.redeem(access, code, redirect_uri, verifier, asking).map_err(|why| ("invalid_grant", why))
}
