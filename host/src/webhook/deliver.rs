//! One attempt: sign, send, decide, record.
//!
//! Must not know: which delivery is next, how many run. Logs ids and codes, never a payload or a
//! URL (customers put tokens into theirs).

use super::schedule::{self, Outcome};
use super::sign;
use crate::app::App;
use crate::egress::EgressError;
use crate::model::{AfterAttempt, AttemptId, ClaimedDelivery, NewAttempt, Timestamp};
use std::time::{Duration, Instant};

/// How receivers recognise us in their logs.
const USER_AGENT: &str = concat!("Tidegate/", env!("CARGO_PKG_VERSION"));
/// Tries to store what an attempt came to; after them it is sent again when its lease is over.
const RECORD_TRIES: u32 = 3;
/// Pause between those tries.
const RECORD_PAUSE: Duration = Duration::from_millis(200);

/// Makes one attempt and records it. Never fails: what can't be recorded is attempted again.
pub(super) async fn attempt(app: &App, delivery: &ClaimedDelivery) {
    let at = app.clock.now();
    let started = Instant::now();
    let (outcome, error) = send(app, delivery, at).await;
    let attempt = NewAttempt {
        id: AttemptId::new(),
        at,
        duration_ms: i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX),
        status: match outcome {
            Outcome::Answered { status, .. } => i16::try_from(status).ok(),
            Outcome::Unanswered => None,
        },
        error: error.map(str::to_owned),
    };
    app.metrics.attempted(error.unwrap_or("delivered"));
    let after = decide(app, delivery, outcome).await;
    report(delivery, &attempt, &after);
    for tried in 1..=RECORD_TRIES {
        match app.store.record_attempt(delivery, &attempt, &after).await {
            Ok(true) => return,
            Ok(false) => {
                tracing::info!(delivery = %delivery.id, "the delivery was attempted elsewhere meanwhile");
                return;
            }
            Err(error) => {
                tracing::error!(delivery = %delivery.id, tried, %error, "an attempt could not be recorded")
            }
        }
        #[allow(clippy::disallowed_methods)] // the database's recovery is a matter of real time
        tokio::time::sleep(RECORD_PAUSE).await;
    }
}

/// Signs and sends; what came of it, and a code if it is not success.
async fn send(app: &App, delivery: &ClaimedDelivery, at: Timestamp) -> (Outcome, Option<&'static str>) {
    let id = delivery.event.to_string();
    let secrets = &delivery.endpoint.secrets;
    let signature = match sign::signatures(secrets, at, &id, at.seconds(), delivery.payload.as_bytes()) {
        Ok(signature) => signature,
        Err(error) => {
            tracing::error!(endpoint = %delivery.endpoint.id, %error, "a webhook could not be signed");
            return (Outcome::Unanswered, Some("unsigned"));
        }
    };
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("user-agent", USER_AGENT.to_owned()),
        ("webhook-id", id),
        ("webhook-timestamp", at.seconds().to_string()),
        ("webhook-signature", signature),
    ];
    match app.egress.post(&delivery.endpoint.url, &headers, delivery.payload.clone().into_bytes()).await {
        Ok(answer) => {
            let error = (!(200..300).contains(&answer.status)).then_some("status");
            (Outcome::Answered { status: answer.status, retry_after_s: answer.retry_after_s }, error)
        }
        Err(error) => (Outcome::Unanswered, Some(code(&error))),
    }
}

/// The word an attempt is recorded with.
fn code(error: &EgressError) -> &'static str {
    match error {
        EgressError::Refused(_) => "refused",
        EgressError::BlockedAddress(_) => "blocked-address",
        EgressError::SecretEchoed(_) => "secret-echoed",
        EgressError::ReplyTooLarge(_) => "reply-too-large",
        EgressError::BadReply(_) => "bad-reply",
        EgressError::Unreachable { code, .. } => code,
        EgressError::LineTooLong { .. } | EgressError::DeadlinePassed => "deadline",
    }
}

/// What becomes of the delivery. Before an endpoint is disabled for failing long, it is looked at
/// again: another delivery may have succeeded since the claim.
async fn decide(app: &App, delivery: &ClaimedDelivery, outcome: Outcome) -> AfterAttempt {
    let endpoint = &delivery.endpoint;
    let attempts = u32::try_from(delivery.attempts).unwrap_or(0);
    let (now, jitter) = (app.clock.now(), jitter());
    let failed = !matches!(outcome, Outcome::Answered { status: 200..=299, .. });
    let failing_long = endpoint.failing_since.is_some_and(|since| now.since(since) >= schedule::FAILING_MAX);
    let mut failing_since = endpoint.failing_since;
    if failed
        && failing_long
        && let Ok(Some(today)) = app.store.endpoint(endpoint.business, endpoint.id).await
    {
        failing_since = today.failing_since;
    }
    schedule::after(attempts, outcome, failing_since, now, jitter)
}

/// Chance for the spread of a retry. Without randomness every retry is at its earliest, which is
/// within the rules.
fn jitter() -> u32 {
    let mut bytes = [0; 4];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

fn report(delivery: &ClaimedDelivery, attempt: &NewAttempt, after: &AfterAttempt) {
    let (id, event, endpoint) = (delivery.id, delivery.event, delivery.endpoint.id);
    let (number, status, ms) = (delivery.attempts.saturating_add(1), attempt.status, attempt.duration_ms);
    let error = attempt.error.as_deref().unwrap_or("");
    match after {
        AfterAttempt::Delivered => {
            tracing::debug!(delivery = %id, %event, %endpoint, number, status, ms, "webhook delivered");
        }
        AfterAttempt::Retry(at) => {
            tracing::info!(delivery = %id, %event, %endpoint, number, status, ms, error, again_at = %at, "webhook not delivered");
        }
        AfterAttempt::Exhausted => {
            tracing::warn!(delivery = %id, %event, %endpoint, number, status, ms, error, "webhook given up");
        }
        AfterAttempt::DisableEndpoint(reason) => {
            tracing::warn!(delivery = %id, %event, %endpoint, number, status, ms, error, reason, "webhook endpoint disabled");
        }
    }
}
