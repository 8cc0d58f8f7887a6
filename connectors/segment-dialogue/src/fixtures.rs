//! Answers of a bank without their `HDR`, and a context to read them in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_sdk::{Context, CredentialInfo, Reply};

pub const ACCOUNTS: &str = include_str!("../fixtures/accounts.txt");
pub const ROWS_1: &str = include_str!("../fixtures/rows-1.txt");
pub const ROWS_2: &str = include_str!("../fixtures/rows-2.txt");
pub const BALANCE: &str = include_str!("../fixtures/balance.txt");

/// 2026-03-20T12:00:00Z
pub const NOW: u64 = 1_774_008_000_000;

/// With these values.
pub fn context(names: &[&str]) -> Context {
    let credential = |name: &&str| CredentialInfo { name: (*name).into(), bytes: 9, expires_at_ms: None };
    Context {
        now_ms: NOW,
        seed: vec![7; 32],
        profile: r#"{"origins":{"dialogue":"https://bank.example/dialogue"},"settings":{}}"#.to_owned(),
        credentials: names.iter().map(credential).collect(),
        consent: None,
        customer_present: false,
        state: None,
    }
}

/// With user and PIN, and these values besides.
pub fn known(more: &[&str]) -> Context {
    context(&[&["user", "pin"], more].concat())
}

/// An answer in a dialogue, as it travels. Fixtures end with a line break, which does not.
pub fn answered(segments: &str) -> Reply {
    let body = format!("HDR+000000000000+d-1+4'{}", segments.trim_end_matches('\n'));
    Reply { status: 200, headers: vec![], body: STANDARD.encode(body).into_bytes(), captured: vec![] }
}

/// The answer to a login, as the host shows it.
pub fn login(body: &str, has_dialogue: bool) -> Reply {
    let captured = if has_dialogue { vec!["dialogue-id".to_owned()] } else { vec![] };
    Reply { status: 200, headers: vec![], body: body.as_bytes().to_vec(), captured }
}
