//! Tokens: renewal (RFC 6749, section 6), and one for the client itself (section 4.4), with HTTP Basic.

use super::Shared;
use super::service::json;
use super::spoil::Answer;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

/// A renewal has three short fields.
const TOKEN_REQUEST_BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
struct TokenRequest {
    grant_type: String,
    refresh_token: Option<String>,
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

fn refuse(status: StatusCode, error: &'static str, error_description: &'static str) -> Answer {
    json(status, &TokenError { error, error_description })
}

pub(super) async fn issue(shared: &Shared, headers: &HeaderMap, body: Body) -> Answer {
    let Ok(body) = axum::body::to_bytes(body, TOKEN_REQUEST_BYTES_MAX).await else {
        return refuse(StatusCode::BAD_REQUEST, "invalid_request", "The body could not be read");
    };
    let config = &shared.config;
    let expected = STANDARD.encode(format!("{}:{}", config.client_id, config.client_secret));
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given.and_then(|value| value.strip_prefix("Basic ")) != Some(expected.as_str()) {
        let mut answer = refuse(StatusCode::UNAUTHORIZED, "invalid_client", "Client id or secret are wrong");
        answer.header(header::WWW_AUTHENTICATE.as_str(), "Basic realm=\"token\"");
        return answer;
    }
    let form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = form.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let Some(request) = serde_urlencoded::from_bytes::<TokenRequest>(&body).ok().filter(|_| form) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "Send grant_type and refresh_token as a form",
        );
    };
    let lives = TimeDelta::from_std(config.access_token_lives).unwrap_or(TimeDelta::MAX);
    let (access_token, refresh_token) = match request.grant_type.as_str() {
        "client_credentials" => {
            let access = &mut shared.state().access;
            (access.issue_client_token(shared.clock.now(), lives), None)
        }
        "refresh_token" => {
            let given = request.refresh_token.unwrap_or_default();
            let renewed = shared.state().access.renew(&given, shared.clock.now(), lives);
            let Some(tokens) = renewed else {
                return refuse(
                    StatusCode::BAD_REQUEST,
                    "invalid_grant",
                    "The refresh token or its consent has ended",
                );
            };
            (tokens.access_token, Some(tokens.refresh_token))
        }
        _ => {
            return refuse(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "Only refresh_token and client_credentials are supported",
            );
        }
    };
    let mut answer = json(
        StatusCode::OK,
        &TokenAnswer {
            access_token: &access_token,
            token_type: "Bearer",
            expires_in: config.access_token_lives.as_secs(),
            refresh_token: refresh_token.as_deref(),
            scope: "accounts",
        },
    );
    answer.header(header::CACHE_CONTROL.as_str(), "no-store");
    answer
}
