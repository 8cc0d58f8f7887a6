//! Who asks, how often, and whether they may: the only way to a business's id.
//!
//! Every route of `/v1` stands behind [`gate`] with the scope it needs. Must not know: what a route does.

use super::Api;
use super::key;
use super::problem::{Answer, Code, Problem};
use crate::model::{ApiKey, ApiKeyId, BusinessId, Scope};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;

/// Who asks: proof that the gate was passed.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Whose data.
    pub business: BusinessId,
}

/// Requests per key: a bucket that fills at a steady rate.
pub struct Limiter {
    buckets: DefaultKeyedRateLimiter<ApiKeyId>,
    clock: DefaultClock,
}

impl Limiter {
    /// `per_second` sustained, `burst` at once; zero counts as one.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
        Self { buckets: RateLimiter::keyed(quota), clock: DefaultClock::default() }
    }

    fn check(&self, key: ApiKeyId) -> Answer<()> {
        self.buckets.check_key(&key).map_err(|until| {
            Problem::new(
                Code::TooManyRequests,
                "This API key asks more often than it may. Wait for the seconds in Retry-After; webhooks and cursors \
                 save most requests.",
            )
            .retry_after(until.wait_time_from(self.clock.now()))
        })
    }
}

/// Lets a request through whose key works, is within its rate, and has the scope.
pub async fn gate(
    State((api, scope)): State<(Api, Scope)>,
    mut request: Request,
    next: Next,
) -> Answer<Response> {
    let key = authenticate(&api, request.headers()).await?;
    api.limiter.check(key.id)?;
    if !key.scopes.contains(&scope) {
        return Err(Problem::new(
            Code::MissingScope,
            format!(
                "This request needs the scope \"{0}\", which the API key lacks. Make a key that has it: tidegate \
                 api-key create {1} --scopes {0}",
                scope.name(),
                key.business
            ),
        ));
    }
    request.extensions_mut().insert(Caller { business: key.business });
    Ok(next.run(request).await)
}

async fn authenticate(api: &Api, headers: &HeaderMap) -> Answer<ApiKey> {
    let refused = || {
        Problem::new(
            Code::Unauthenticated,
            "Send the header `Authorization: Bearer tg_…` with a key that is not revoked; `tidegate api-key create` \
             makes one.",
        )
    };
    let (id, given) = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .and_then(|(_, text)| key::parse(text.trim()))
        .ok_or_else(refused)?;
    let (stored, hash) = api.app.store.api_key(id).await?.ok_or_else(refused)?;
    if !key::matches(&hash, &given) || stored.revoked_at.is_some() {
        return Err(refused());
    }
    Ok(stored)
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        parts
            .extensions
            .get()
            .copied()
            .ok_or_else(|| Problem::internal(&"a route that needs a caller does not stand behind the gate"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_over_its_burst_waits_while_another_does_not() {
        let limiter = Limiter::new(1, 2);
        let (busy, quiet) = (ApiKeyId::new(), ApiKeyId::new());
        assert!(limiter.check(busy).is_ok());
        assert!(limiter.check(busy).is_ok());
        assert_eq!(limiter.check(busy).unwrap_err().code(), Code::TooManyRequests);
        assert!(limiter.check(quiet).is_ok());
    }
}
