//! The standards' own examples.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::model::hex;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::signature::{self, KeyPair as _, UnparsedPublicKey};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn sha256_agrees_with_fips_180() {
    assert_eq!(hex(&sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn hmac_agrees_with_rfc_4231() {
    let (key, text) = (b"Jefe", b"what do ya want for nothing?");
    assert_eq!(
        hex(&mac("SHA256", key, text).unwrap()),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert_eq!(
        hex(&mac("SHA384", key, text).unwrap()),
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"
    );
    assert_eq!(
        hex(&mac("SHA512", key, text).unwrap()),
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
    );
    assert_eq!(mac("SHA1", key, text), None);
}

#[test]
fn totp_agrees_with_rfc_6238() {
    let seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"; // "12345678901234567890"
    for (at, code) in [
        (59, "287082"),
        (1_111_111_109, "081804"),
        (1_111_111_111, "050471"),
        (1_234_567_890, "005924"),
        (2_000_000_000, "279037"),
        (20_000_000_000, "353130"),
    ] {
        assert_eq!(totp(seed, at).unwrap(), code, "{at}");
    }
    assert_eq!(totp("gezd gnbv gy3t qojq gezd gnbv gy3t qojq", 59).unwrap(), "287082");
    assert_eq!(totp("JBSWY3DPEHPK3PX1", 59), None, "1 is no letter of base32");
    assert_eq!(totp("", 59), None);
}

#[test]
fn eddsa_agrees_with_rfc_8032_test_2() {
    let seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
    let key = pem(&bytes(&format!("302e020100300506032b657004220420{seed}")));
    assert_eq!(
        hex(&sign("EdDSA", &key, &[0x72]).unwrap()),
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    );
}

/// RFC 7515 appendix A.2: the RSA key and the text that is signed.
#[test]
fn rs256_agrees_with_rfc_7515_a_2() {
    let over = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let wanted = concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7",
        "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4",
        "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K",
        "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv",
        "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB",
        "p0igcN_IoypGlUPQGe77Rw"
    );
    let key = include_str!("rfc7515_a2.pem");
    assert_eq!(URL_SAFE_NO_PAD.encode(sign("RS256", key, over.as_bytes()).unwrap()), wanted);
}

#[test]
fn ps256_and_rs256_verify_with_the_public_key() {
    let key = include_str!("rfc7515_a2.pem");
    let pair = RsaKeyPair::from_pkcs8(&pkcs8(key).unwrap()).unwrap();
    let public = pair.public_key().as_ref();
    for (name, rule) in
        [("RS256", &signature::RSA_PKCS1_2048_8192_SHA256), ("PS256", &signature::RSA_PSS_2048_8192_SHA256)]
    {
        let signed = sign(name, key, b"text").unwrap();
        assert!(UnparsedPublicKey::new(rule, public).verify(b"text", &signed).is_ok(), "{name}");
        assert!(UnparsedPublicKey::new(rule, public).verify(b"other", &signed).is_err(), "{name}");
    }
}

#[test]
fn es256_is_64_bytes_and_verifies() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let key = pem(pair.to_pkcs8v1().unwrap().as_ref());
    let signed = sign("ES256", &key, b"text").unwrap();
    assert_eq!(signed.len(), 64);
    let public: aws_lc_rs::encoding::PublicKeyX509Der = pair.public_key().as_der().unwrap();
    assert!(
        UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, public.as_ref())
            .verify(b"text", &signed)
            .is_ok()
    );
}

#[test]
fn a_key_of_another_kind_or_form_does_not_sign() {
    let ec =
        pem(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap().as_ref());
    for (algorithm, key, why) in [
        ("RS256", ec.as_str(), NotSigned::Key),
        ("EdDSA", &ec, NotSigned::Key),
        ("HS256", &ec, NotSigned::Algorithm),
        ("none", &ec, NotSigned::Algorithm),
        ("ES256", "not PEM", NotSigned::Key),
        ("ES256", "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----", NotSigned::Key),
        ("RS256", "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", NotSigned::Key),
    ] {
        assert_eq!(sign(algorithm, key, b"text"), Err(why), "{algorithm}");
    }
}
