//! Replies of a bank that are valid by the standard's schemas, and a context to read them in.

use tidegate_sdk::{ConsentInfo, Context, CredentialInfo, Derived, Operation, Part, Reply, Want, Window};

pub const ACCOUNTS: &[u8] = include_bytes!("../fixtures/accounts.json");
pub const BALANCES: &[u8] = include_bytes!("../fixtures/balances.json");
pub const PAGE_1: &[u8] = include_bytes!("../fixtures/transactions-1.json");
pub const PAGE_2: &[u8] = include_bytes!("../fixtures/transactions-2.json");
pub const CONSENT: &[u8] = include_bytes!("../fixtures/consent.json");
pub const ERROR_REAUTHENTICATE: &[u8] = include_bytes!("../fixtures/error-reauthenticate.json");
pub const ERROR_WINDOW: &[u8] = include_bytes!("../fixtures/error-window.json");
/// As the host shows it: only the fields that the route lists.
pub const TOKEN: &[u8] = include_bytes!("../fixtures/token.json");
pub const TOKEN_INVALID_GRANT: &[u8] = include_bytes!("../fixtures/token-invalid-grant.json");

pub const CONSENTS: &str = "https://api.bank.example/open-banking/v3.1/aisp/account-access-consents";

/// 2026-11-20T12:00:00Z
pub const NOW: u64 = 1_795_176_000_000;
/// 2026-11-01T00:00:00Z
const GRANTED: u64 = 1_793_491_200_000;

pub fn context() -> Context {
    Context {
        now_ms: NOW,
        seed: vec![7; 32],
        profile: r#"{"origins":{"api":"https://api.bank.example/open-banking/v3.1/aisp","auth":"https://auth.bank.example","authorise":"https://bank.example/login"},"settings":{}}"#.to_owned(),
        credentials: vec![credential("refresh-token", None)],
        consent: Some(ConsentInfo {
            granted_at_ms: GRANTED,
            expires_at_ms: None,
            scopes: vec!["ReadBalances".into(), "ReadTransactionsDetail".into()],
        }),
        customer_present: false,
        state: None,
    }
}

/// With nothing to get in with, but a registration that may send customers to the bank.
pub fn registered() -> Context {
    let names = ["client-id", "signing-key", "signing-key-id"];
    Context { credentials: names.map(|name| credential(name, None)).into(), consent: None, ..context() }
}

/// Parts as text, with `<name>` where a value stands.
pub fn filled(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.clone(),
        Part::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Part::Value(name) => format!("<{name}>"),
    };
    parts.iter().map(part).collect()
}

/// What a derived value encodes, as [`filled`] shows it; empty if there is none.
pub fn derived(all: &[Derived], name: &str) -> String {
    match all.iter().find(|derived| derived.name == name).map(|derived| &derived.how) {
        Some(Operation::Encode(encoded)) => filled(&encoded.over),
        _ => String::new(),
    }
}

pub fn credential(name: &str, expires_at_ms: Option<u64>) -> CredentialInfo {
    CredentialInfo { name: name.to_owned(), bytes: 40, expires_at_ms }
}

pub fn reply(status: u16, body: &[u8]) -> Reply {
    Reply { status, headers: vec![], body: body.to_vec(), captured: vec![] }
}

/// Balances, and transactions if asked.
pub fn want(account: &str, transactions: bool) -> Want {
    let window = Window { since: "2026-11-01".into(), until: "2026-11-20".into() };
    Want {
        account: account.to_owned(),
        transactions: transactions.then_some(window),
        balances: true,
        state: None,
    }
}
