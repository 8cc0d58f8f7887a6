//! Pages as the portal writes them, and a context to read them in.

use tidegate_sdk::{Context, Reply, ReplyHeader};

pub const ACCOUNTS: &[u8] = include_bytes!("../fixtures/accounts.html");
pub const PAGE_1: &[u8] = include_bytes!("../fixtures/account-1.html");
pub const PAGE_2: &[u8] = include_bytes!("../fixtures/account-2.html");

/// 2026-03-20T12:00:00Z
pub const NOW: u64 = 1_774_008_000_000;

pub fn context() -> Context {
    Context {
        now_ms: NOW,
        seed: vec![7; 32],
        profile: r#"{"origins":{"portal":"https://bank.example/portal"},"settings":{}}"#.to_owned(),
        credentials: Vec::new(),
        consent: None,
        customer_present: false,
        state: None,
    }
}

/// `location` empty: no such header.
pub fn page(status: u16, body: &[u8], location: &str) -> Reply {
    let header = ReplyHeader { name: "location".into(), value: location.into() };
    let headers = if location.is_empty() { vec![] } else { vec![header] };
    Reply { status, headers, body: body.to_vec(), captured: vec![] }
}
