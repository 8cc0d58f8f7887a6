//! The JSON of signed requests: accounts, balances, transactions. What stands in it is said in the header
//! of `signed`.
//!
//! Must not know: consents, signatures, which rows were asked for.

use super::iban::iban;
use super::rows::{Shown, is_booked};
use crate::bank::books::Account;
use crate::bank::money;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

pub(super) fn account(account: &Account) -> Value {
    let base = format!("/signed/v1/accounts/{}", account.id);
    json!({
        "resourceId": account.id,
        "iban": iban(&account.number),
        "currency": account.currency,
        "name": account.nickname,
        "ownerName": account.owner,
        "cashAccountType": if account.savings { "SVGS" } else { "CACC" },
        "_links": {
            "balances": { "href": format!("{base}/balances") },
            "transactions": { "href": format!("{base}/transactions") },
        },
    })
}

/// Minor units: booked, available, and with all that is pending. Credit is counted in.
pub(super) fn balances(account: &Account, amounts: [i64; 3], now: DateTime<Utc>) -> Value {
    let kinds = ["closingBooked", "interimAvailable", "expected"];
    let line = |(kind, own): (&str, i64)| {
        let minor = own.saturating_add(account.credit.unwrap_or_default());
        json!({
            "balanceType": kind,
            "creditLimitIncluded": account.credit.is_some(),
            "balanceAmount": amount(&money::text(minor, &account.currency), &account.currency),
            "referenceDate": now.date_naive(),
            "lastChangeDateTime": now.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        })
    };
    let lines: Vec<Value> = kinds.into_iter().zip(amounts).map(line).collect();
    json!({ "account": { "iban": iban(&account.number) }, "balances": lines })
}

fn amount(written: &str, currency: &str) -> Value {
    json!({ "currency": currency, "amount": written })
}

/// One page; each of the arrays stands there only if it was asked for.
pub(super) fn transactions(
    account: &Account,
    rows: &[Shown<'_>],
    [with_booked, with_pending]: [bool; 2],
    next: Option<String>,
) -> Value {
    let lines = |booked: bool| -> Vec<Value> {
        let wanted = rows.iter().filter(|row| is_booked(row.entry) == booked);
        wanted.map(|row| transaction(row, &account.currency)).collect()
    };
    let mut inside = Map::new();
    if with_booked {
        inside.insert("booked".to_owned(), lines(true).into());
    }
    if with_pending {
        inside.insert("pending".to_owned(), lines(false).into());
    }
    let mut links = json!({ "account": { "href": format!("/signed/v1/accounts/{}", account.id) } });
    if let (Some(next), Value::Object(links)) = (next, &mut links) {
        links.insert("next".to_owned(), json!({ "href": next }));
    }
    inside.insert("_links".to_owned(), links);
    json!({ "account": { "iban": iban(&account.number) }, "transactions": inside })
}

fn transaction(row: &Shown<'_>, currency: &str) -> Value {
    let entry = row.entry;
    let written = row.amount.map_or_else(|| money::text(entry.minor, currency), str::to_owned);
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| drop(line.insert(name.to_owned(), value));
    if is_booked(entry) {
        put("entryReference", json!(entry.id));
        put("bookingDate", json!(entry.booked_at.date_naive()));
    } else {
        put("transactionId", json!(entry.id));
    }
    put("valueDate", json!(entry.valued_at.unwrap_or(entry.booked_at).date_naive()));
    put("transactionAmount", amount(&written, currency));
    if let Some(other) = &entry.merchant {
        put(if entry.minor < 0 { "creditorName" } else { "debtorName" }, json!(other));
    }
    put("remittanceInformationUnstructured", json!(row.text));
    Value::Object(line)
}
