//! Hashes, MACs, signatures and one-time codes over bytes. Pure but for the random padding of PS256
//! and the nonce of ES256.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair,
};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// HMAC (RFC 2104) with `SHA256`, `SHA384` or `SHA512`; none for another name.
pub(super) fn mac(algorithm: &str, key: &[u8], over: &[u8]) -> Option<Vec<u8>> {
    let algorithm = match algorithm {
        "SHA256" => hmac::HMAC_SHA256,
        "SHA384" => hmac::HMAC_SHA384,
        "SHA512" => hmac::HMAC_SHA512,
        _ => return None,
    };
    Some(hmac::sign(&hmac::Key::new(algorithm, key), over).as_ref().to_vec())
}

/// Why nothing was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotSigned {
    /// The algorithm is none of the contract's.
    Algorithm,
    /// The key is not PKCS#8 PEM, or not for this algorithm.
    Key,
}

/// Signs with a PKCS#8 PEM key: `RS256`, `PS256`, `ES256` (64 bytes r‖s) or `EdDSA` (Ed25519).
pub(super) fn sign(algorithm: &str, pem: &str, over: &[u8]) -> Result<Vec<u8>, NotSigned> {
    if !["RS256", "PS256", "ES256", "EdDSA"].contains(&algorithm) {
        return Err(NotSigned::Algorithm);
    }
    let key = pkcs8(pem).ok_or(NotSigned::Key)?;
    let random = SystemRandom::new();
    match algorithm {
        "ES256" => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key)
            .ok()
            .and_then(|pair| pair.sign(&random, over).ok())
            .map(|signature| signature.as_ref().to_vec()),
        "EdDSA" => Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key)
            .ok()
            .map(|pair| pair.sign(over).as_ref().to_vec()),
        _ => RsaKeyPair::from_pkcs8(&key).ok().and_then(|pair| {
            let padding = if algorithm == "RS256" { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &random, over, &mut signature).ok()?;
            Some(signature)
        }),
    }
    .ok_or(NotSigned::Key)
}

/// The bytes of the first `PRIVATE KEY` in PEM (RFC 7468).
fn pkcs8(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----")?;
    let (body, _) = rest.split_once("-----END PRIVATE KEY-----")?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    STANDARD.decode(body.as_bytes()).ok().map(Zeroizing::new)
}

/// RFC 6238 with SHA-1, 30 seconds and 6 digits, from a base32 seed; none if the seed is not base32.
pub(super) fn totp(seed: &str, unix_seconds: i64) -> Option<String> {
    Some(format!("{:06}", hotp(&base32(seed)?, unix_seconds.div_euclid(30)) % 1_000_000))
}

/// RFC 4226's dynamic truncation, before digits are cut.
fn hotp(key: &[u8], counter: i64) -> u32 {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), &counter.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag.last().copied().unwrap_or(0) & 15);
    tag.iter().skip(offset).take(4).fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) & 0x7fff_ffff
}

/// RFC 4648 base32 as people pass seeds on: any case, with or without padding and spaces.
fn base32(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut bits, mut held) = (0_u32, 0_u32);
    for letter in text.bytes().filter(|byte| !b" -=".contains(byte)) {
        let value = match letter.to_ascii_uppercase() {
            upper @ b'A'..=b'Z' => upper - b'A',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from((bits >> held) & 0xff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests;
