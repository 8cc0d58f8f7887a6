//! The businesses that are registered with the bank: how each proves who it is, with which key it
//! signs, and where its customers may be sent back to.
//!
//! Must not know: HTTP, consents.

use super::entry::BankError;
use super::jws::VerifyingKey;
use super::tls::{Authorities, Thumbprint};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// How a client proves at the token endpoint who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthentication {
    /// A signed assertion (RFC 7523).
    #[default]
    PrivateKeyJwt,
    /// HTTP Basic (RFC 6749, 2.3.1).
    ClientSecretBasic,
}

/// A client to register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewClient {
    /// As the client calls itself; new to the bank.
    pub client_id: String,
    /// Where customers may be sent back to; compared letter by letter.
    pub redirect_uris: Vec<String>,
    /// How it proves who it is.
    #[serde(default)]
    pub authentication: ClientAuthentication,
}

impl NewClient {
    /// With `private_key_jwt` and one address.
    pub fn new(client_id: &str, redirect_uri: &str) -> Self {
        let redirect_uris = vec![redirect_uri.to_owned()];
        Self { client_id: client_id.into(), redirect_uris, authentication: Default::default() }
    }
}

/// What a client gets when it is registered: all that it needs to speak with the bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// As asked for.
    pub client_id: String,
    /// Only with `client_secret_basic`.
    pub client_secret: Option<String>,
    /// RSA, for PS256; PKCS#8 in PEM. Signs request objects, and assertions.
    pub signing_key: String,
    /// May be given as `kid`.
    pub signing_key_id: String,
    /// Certificate and authority in PEM; only from a bank with mutual TLS.
    pub certificate: Option<String>,
    /// Of the certificate; PKCS#8 in PEM.
    pub certificate_key: Option<String>,
    /// As asked for.
    pub redirect_uris: Vec<String>,
}

/// What the bank remembers of a client.
#[derive(Debug)]
pub(super) struct Registered {
    /// With it, the client comes with HTTP Basic, else with an assertion.
    pub(super) secret: Option<String>,
    pub(super) key: Option<VerifyingKey>,
    /// None comes over plain HTTP only.
    pub(super) certificate: Option<Thumbprint>,
    pub(super) redirect_uris: Vec<String>,
}

/// Makes the keys of a new client. That takes a moment, so no lock should be held meanwhile.
pub(super) fn equip(
    new: &NewClient,
    secret: String,
    authorities: Option<&Authorities>,
) -> Result<(Client, Registered), BankError> {
    let keys = |error: &dyn std::fmt::Display| BankError::Keys(error.to_string());
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|error| keys(&error))?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|error| keys(&error))?;
    let public = pair.public_key().as_ref().to_vec();
    let id = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &public);
    let id = URL_SAFE_NO_PAD.encode(id.as_ref().get(..12).unwrap_or_default());
    let issued = authorities.map(|authorities| authorities.issue_client(&new.client_id)).transpose();
    let issued = issued.map_err(|error| keys(&error))?;
    let secret = (new.authentication == ClientAuthentication::ClientSecretBasic).then_some(secret);
    let registered = Registered {
        secret: secret.clone(),
        key: Some(VerifyingKey { id: id.clone(), der: public }),
        certificate: issued.as_ref().map(|issued| issued.thumbprint),
        redirect_uris: new.redirect_uris.clone(),
    };
    let (certificate, certificate_key) = issued.map(|issued| (issued.chain, issued.key)).unzip();
    let client = Client {
        client_id: new.client_id.clone(),
        client_secret: secret,
        signing_key: pem("PRIVATE KEY", der.as_ref()),
        signing_key_id: id,
        certificate,
        certificate_key,
        redirect_uris: new.redirect_uris.clone(),
    };
    Ok((client, registered))
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Clients {
    registered: HashMap<String, Registered>,
    /// Assertions that were used, by client and `jti`, with the end of each.
    used: HashMap<(String, String), DateTime<Utc>>,
}

impl Clients {
    pub(super) fn add(&mut self, id: &str, client: Registered) -> Result<(), BankError> {
        if self.registered.contains_key(id) {
            return Err(BankError::Registered(id.to_owned()));
        }
        self.registered.insert(id.to_owned(), client);
        Ok(())
    }

    pub(super) fn get(&self, id: &str) -> Option<&Registered> {
        self.registered.get(id)
    }

    /// Notes that an assertion is used; false if it was used before. Those that have ended need no
    /// remembering: their time is over.
    pub(super) fn use_up(&mut self, client: &str, jti: &str, end: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.used.retain(|_, end| *end > now);
        self.used.insert((client.to_owned(), jti.to_owned()), end).is_none()
    }
}
