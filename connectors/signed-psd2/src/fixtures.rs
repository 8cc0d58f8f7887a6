//! Answers of a bank, and contexts to read them in.

use tidegate_sdk::{Context, CredentialInfo, Reply};

/// As the host shows it: only the fields that the route lists.
pub const CONSENT: &[u8] = include_bytes!("../fixtures/consent.json");
pub const ACCOUNTS: &[u8] = include_bytes!("../fixtures/accounts.json");
pub const BALANCES: &[u8] = include_bytes!("../fixtures/balances.json");
pub const PAGE_1: &[u8] = include_bytes!("../fixtures/transactions-1.json");
pub const PAGE_2: &[u8] = include_bytes!("../fixtures/transactions-2.json");

/// 2026-03-20T12:00:00Z
pub const NOW: u64 = 1_774_008_000_000;

fn with(names: &[&str]) -> Context {
    let credential = |name: &&str| CredentialInfo { name: (*name).into(), bytes: 20, expires_at_ms: None };
    Context {
        now_ms: NOW,
        seed: vec![7; 32],
        profile: r#"{"origins":{"api":"https://bank.example/psd2","customer":"https://login.bank.example/sca"},"settings":{}}"#.into(),
        credentials: names.iter().map(credential).collect(),
        consent: None,
        customer_present: names.contains(&"customer-ip"),
        state: None,
    }
}

/// Without a consent, and nobody there.
pub fn context() -> Context {
    with(&["key-id", "signing-key"])
}

/// A customer is there, without a consent.
pub fn with_customer() -> Context {
    with(&["key-id", "signing-key", "customer-ip"])
}

/// With a consent, and nobody there.
pub fn held() -> Context {
    with(&["key-id", "signing-key", "consent-id"])
}

pub fn reply(status: u16, body: &[u8]) -> Reply {
    Reply { status, headers: vec![], body: body.to_vec(), captured: vec![] }
}
