//! A tiny client for a JSON API, for tests and the demo.
//!
//! Must not know: which API, and what it means.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

/// Asks one API with one key. Follows no redirect.
#[derive(Clone)]
pub struct Api {
    client: reqwest::Client,
    origin: String,
    key: Option<String>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The JSON; a text if it is none; null if it is empty.
    pub body: Value,
}

impl Answer {
    /// A header as text; empty if absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
    /// The text at a JSON pointer (RFC 6901); empty if there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }
}

impl Api {
    /// `origin` without a slash at the end; paths are appended to it.
    pub fn new(origin: impl Into<String>, key: Option<&str>) -> reqwest::Result<Self> {
        let client =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self::with_client(client, origin, key))
    }

    /// Through a client of the caller's making, as with a certificate of its own.
    pub fn with_client(client: reqwest::Client, origin: impl Into<String>, key: Option<&str>) -> Self {
        Self { client, origin: origin.into(), key: key.map(str::to_owned) }
    }

    /// The same connections with another key.
    #[must_use]
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned), ..self.clone() }
    }

    /// The key that is sent as a bearer token.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// GET.
    pub async fn get(&self, path: &str) -> reqwest::Result<Answer> {
        self.send(Method::GET, path, &[], None).await
    }
    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> reqwest::Result<Answer> {
        self.send(Method::POST, path, &[], Some(body)).await
    }
    /// DELETE.
    pub async fn delete(&self, path: &str) -> reqwest::Result<Answer> {
        self.send(Method::DELETE, path, &[], None).await
    }

    /// Any method, with more headers.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<Answer> {
        let bytes = body.map(|body| body.to_string().into_bytes());
        let json = [("content-type", "application/json")];
        let content_type = if bytes.is_some() { json.as_slice() } else { &[] };
        let all: Vec<_> = content_type.iter().chain(headers).copied().collect();
        self.send_raw(method, path, &all, bytes.unwrap_or_default()).await
    }

    /// Exactly these bytes and headers (and the key).
    pub async fn send_raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.origin)).body(body);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await?;
        let is_json = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
        let as_text = || match String::from_utf8_lossy(&bytes) {
            text if text.is_empty() => Value::Null,
            text => Value::String(text.into_owned()),
        };
        let body =
            if is_json || bytes.starts_with(b"{") { serde_json::from_slice(&bytes).ok() } else { None };
        Ok(Answer { status, headers, body: body.unwrap_or_else(as_text) })
    }
}

/// Fails with the whole answer if the status is another one.
pub fn expect(answer: &Answer, status: u16) -> anyhow::Result<()> {
    anyhow::ensure!(answer.status == status, "expected {status}, got {}: {}", answer.status, answer.body);
    Ok(())
}

/// `items` of an answer.
pub fn items(answer: &Answer) -> &[Value] {
    answer.body.get("items").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text inside JSON; empty if there is none.
pub fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}
