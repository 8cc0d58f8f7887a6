//! Signatures of Standard Webhooks 1.0.0, version `v1`: HMAC-SHA256 over `{id}.{timestamp}.{body}`.
//!
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.
//! Must not know: HTTP, the database, the clock.

use crate::model::{EndpointSecret, Secret, Timestamp};
use crate::vault::{self, VaultError};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What a symmetric secret starts with.
pub const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a secret we take: the bounds of the standard.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why nothing could be signed. Never holds a part of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Not `whsec_` and base64.
    #[error("a signing secret is \"whsec_\" followed by standard base64; let Tidegate make one")]
    NotASecret,
    /// Too short to be safe, or longer than receivers accept.
    #[error("a signing secret holds 24 to 64 bytes, this one {0}; let Tidegate make one")]
    Length(usize),
    /// All secrets of the endpoint ran out.
    #[error("the endpoint has no signing secret in force; rotate its secret")]
    NoSecret,
}

/// A new random secret, `whsec_` and base64 of 32 bytes: the size of the hash, more adds nothing.
pub fn new_secret() -> Result<Secret, VaultError> {
    Ok(Secret::new(format!("{SECRET_PREFIX}{}", STANDARD.encode(vault::random_key()?.as_slice()))))
}

/// The bytes of a secret, checked.
fn secret_bytes(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, SignError> {
    let text = secret.reveal().strip_prefix(SECRET_PREFIX).ok_or(SignError::NotASecret)?;
    let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| SignError::NotASecret)?);
    if !SECRET_BYTES.contains(&bytes.len()) {
        return Err(SignError::Length(bytes.len()));
    }
    Ok(bytes)
}

/// The value of `webhook-signature`: one `v1,…` for each secret in force at `now`, the newest
/// first, separated by spaces. `timestamp_s` is in Unix seconds, of this attempt.
pub fn signatures(
    secrets: &[EndpointSecret],
    now: Timestamp,
    id: &str,
    timestamp_s: i64,
    body: &[u8],
) -> Result<String, SignError> {
    let in_force = secrets.iter().filter(|secret| secret.expires_at.is_none_or(|end| end > now));
    let signed = in_force
        .map(|secret| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &secret_bytes(&secret.secret)?);
            let mut mac = hmac::Context::with_key(&key);
            mac.update(format!("{id}.{timestamp_s}.").as_bytes());
            mac.update(body);
            Ok(format!("v1,{}", STANDARD.encode(mac.sign())))
        })
        .collect::<Result<Vec<_>, SignError>>()?;
    if signed.is_empty() {
        return Err(SignError::NoSecret);
    }
    Ok(signed.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_649_367_553_000_000);

    fn in_force(secret: &str, expires_at: Option<Timestamp>) -> EndpointSecret {
        EndpointSecret { secret: Secret::new(secret), expires_at }
    }

    #[test]
    fn the_official_vector_is_signed_as_the_official_libraries_sign_it() {
        let secrets = [in_force("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", None)];
        let body = br#"{"email":"test@example.com","username":"test_user"}"#;
        let header = signatures(&secrets, NOW, "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", NOW.seconds(), body);
        assert_eq!(header.as_deref(), Ok("v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="));
    }

    #[test]
    fn another_body_id_or_time_gives_another_signature() {
        let secrets = [in_force("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", None)];
        let sign = |id: &str, at: i64, body: &[u8]| signatures(&secrets, NOW, id, at, body).unwrap();
        let first = sign("evt_1", 1, b"{}");
        for other in [sign("evt_2", 1, b"{}"), sign("evt_1", 2, b"{}"), sign("evt_1", 1, b"{ }")] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn the_standardwebhooks_crate_accepts_what_we_sign_with_either_secret_of_a_rotation() {
        let (new, old) = (new_secret().unwrap(), new_secret().unwrap());
        let secrets = [
            EndpointSecret { secret: new.clone(), expires_at: None },
            EndpointSecret {
                secret: old.clone(),
                expires_at: Some(NOW.plus(std::time::Duration::from_secs(60))),
            },
        ];
        // The crate compares with the real time, so the attempt is made at the real time.
        #[allow(clippy::disallowed_methods)]
        let at = chrono::Utc::now().timestamp();
        let header = signatures(&secrets, NOW, "evt_1", at, b"{}").unwrap();
        assert_eq!(header.split(' ').count(), 2);
        let mut headers = axum::http::HeaderMap::new();
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.insert("webhook-timestamp", at.to_string().parse().unwrap());
        headers.insert("webhook-signature", header.parse().unwrap());
        for secret in [&new, &old] {
            let receiver = standardwebhooks::Webhook::new(secret.reveal()).unwrap();
            receiver.verify(b"{}", &headers).unwrap();
            assert!(receiver.verify(b"{\"a\":1}", &headers).is_err());
        }
    }

    #[test]
    fn a_rotated_secret_stops_signing_when_its_time_is_over() {
        let new = new_secret().unwrap();
        let secrets = [
            EndpointSecret { secret: new, expires_at: None },
            EndpointSecret { secret: new_secret().unwrap(), expires_at: Some(NOW) },
        ];
        assert_eq!(signatures(&secrets, NOW, "evt_1", 1, b"").unwrap().split(' ').count(), 1);
        assert_eq!(signatures(secrets.get(1..).unwrap(), NOW, "evt_1", 1, b""), Err(SignError::NoSecret));
    }

    #[test]
    fn a_secret_of_the_wrong_shape_or_size_is_refused() {
        let of_length = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7_u8; bytes]));
        for (secret, expected) in [
            ("C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned(), Some(SignError::NotASecret)),
            ("whsec_not base64".to_owned(), Some(SignError::NotASecret)),
            (of_length(23), Some(SignError::Length(23))),
            (of_length(24), None),
            (of_length(64), None),
            (of_length(65), Some(SignError::Length(65))),
        ] {
            assert_eq!(signatures(&[in_force(&secret, None)], NOW, "e", 1, b"").err(), expected, "{secret}");
        }
    }

    #[test]
    fn new_secrets_differ_and_hold_32_bytes() {
        let (one, other) = (new_secret().unwrap(), new_secret().unwrap());
        assert_ne!(one, other);
        assert_eq!(secret_bytes(&one).unwrap().len(), 32);
    }
}
