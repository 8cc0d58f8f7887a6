//! The way of traces out: OTLP over HTTP, to the one address that the operator named in the configuration.
//!
//! No guard looks at that address, and `egress.allow` does not name it: nobody but the operator says where it is, and
//! what stands in `egress.allow` may be reached by customers' webhook addresses too. No redirect is followed, no proxy of
//! the environment used.

use super::limits::{ANSWER_BYTES_MAX, CONNECT_TIMEOUT};
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::Client;
use std::time::Duration;
use tokio::runtime::Handle;

/// Time for one batch of spans: a collector takes them at once, or is down.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends to a collector, from whatever thread: the exchange itself runs on the service's runtime.
#[derive(Debug, Clone)]
pub struct Collector {
    client: Client,
    runtime: Handle,
}

impl Collector {
    /// For an http or an https address. Must be called on the runtime. The error says what is wrong with this machine's
    /// certificates.
    pub fn new(plain: bool) -> Result<Self, String> {
        let builder = Client::builder()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(EXPORT_TIMEOUT);
        let builder = if plain { builder.tls_certs_only([]) } else { builder.https_only(true) };
        let client = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { client, runtime: Handle::current() })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.runtime.spawn(exchange(self.client.clone(), request)).await?
    }
}

async fn exchange(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("the collector's answer has more than {ANSWER_BYTES_MAX} bytes").into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Response::builder().status(answer.status().as_u16()).body(body.into())?)
}
