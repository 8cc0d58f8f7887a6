//! Files of two banks, and contexts to read them in.

use tidegate_sdk::{Context, CredentialInfo, Reply, ReplyHeader};

pub const ACCOUNTS: &str = include_str!("../fixtures/accounts.xml");
/// One document for two accounts.
pub const STATEMENT: &str = include_str!("../fixtures/statement.xml");
/// Two documents of one account, as mock-bank 0.9.0 writes them.
pub const KEPT: &str = include_str!("../fixtures/kept.xml");

/// 2026-03-20T12:00:00Z
const NOW: u64 = 1_774_008_000_000;

/// With these values, of so many bytes each; at a bank with a list of accounts.
pub fn context(values: &[(&str, u32)]) -> Context {
    let credential = |(name, bytes): &(&str, u32)| CredentialInfo {
        name: (*name).into(),
        bytes: *bytes,
        expires_at_ms: None,
    };
    Context {
        now_ms: NOW,
        seed: vec![7; 32],
        profile: r#"{"origins":{"bank":"https://bank.example/camt"},"settings":{"accounts":"accounts"}}"#
            .into(),
        credentials: values.iter().map(credential).collect(),
        consent: None,
        customer_present: false,
        state: None,
    }
}

pub fn known() -> Context {
    context(&[("username", 4), ("password", 20)])
}

/// At a bank that keeps its statements.
pub fn keeping() -> Context {
    let profile = r#"{"origins":{"bank":"https://bank.example/_mock"},"settings":{"statements":"mailbox?leave&raw&type=camt.053"}}"#;
    Context { profile: profile.into(), ..known() }
}

/// `statement` empty: no such header.
pub fn reply(status: u16, body: &[u8], statement: &str) -> Reply {
    let header = ReplyHeader { name: "x-statement-id".into(), value: statement.into() };
    let headers = if statement.is_empty() { vec![] } else { vec![header] };
    Reply { status, headers, body: body.to_vec(), captured: vec![] }
}
