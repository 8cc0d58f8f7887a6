//! The JSON of UK Open Banking 3.1.11 (`OBReadAccount6`, `OBReadBalance1`, `OBReadTransaction6`,
//! `OBErrorResponse1`), written straight from the books without an intermediate tree.
//!
//! Must not know: HTTP, tokens.

use super::books::Account;
use super::money;
use chrono::{DateTime, SecondsFormat, Timelike, Utc};
use serde::{Serialize, Serializer};

/// A moment as the bank writes it: `2017-04-05T10:43:07+00:00`.
#[derive(Clone, Copy)]
pub(super) struct Moment(pub(super) DateTime<Utc>);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&moment(self.0))
    }
}

fn moment(at: DateTime<Utc>) -> String {
    at.with_nanosecond(0).unwrap_or(at).to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

/// The envelope of every 200.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Envelope<T> {
    pub(super) data: T,
    pub(super) links: Links,
    pub(super) meta: Meta,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Links {
    #[serde(rename = "Self")]
    pub(super) this: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Meta {
    pub(super) total_pages: usize,
    /// Older ones are not shown, whatever was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_available_date_time: Option<Moment>,
    /// Later ones are not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_available_date_time: Option<Moment>,
}

impl Meta {
    /// Of a list on one page.
    pub(super) fn one_page() -> Self {
        Self { total_pages: 1, first_available_date_time: None, last_available_date_time: None }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Money<'a> {
    pub(super) amount: &'a str,
    pub(super) currency: &'a str,
}

pub(super) fn indicator(minor: i64) -> &'static str {
    if minor < 0 { "Debit" } else { "Credit" }
}

// ---------------------------------------------------------------- accounts

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Accounts<'a> {
    account: Vec<AccountRow<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccountRow<'a> {
    account_id: &'a str,
    status: &'static str,
    status_update_date_time: Moment,
    currency: &'a str,
    account_type: &'static str,
    account_sub_type: &'static str,
    nickname: &'a str,
    opening_date: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<[AccountNumber<'a>; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AccountNumber<'a> {
    pub(super) scheme_name: &'static str,
    pub(super) identification: &'a str,
    pub(super) name: &'a str,
}

/// With the number and the owner's name only if `details`.
pub(super) fn accounts<'a>(accounts: impl Iterator<Item = &'a Account>, details: bool) -> Accounts<'a> {
    let row = |account: &'a Account| AccountRow {
        account_id: &account.id,
        status: "Enabled",
        status_update_date_time: Moment(account.opened_at),
        currency: &account.currency,
        account_type: "Personal",
        account_sub_type: if account.savings { "Savings" } else { "CurrentAccount" },
        nickname: &account.nickname,
        opening_date: Moment(account.opened_at),
        account: details.then(|| {
            [AccountNumber {
                scheme_name: "UK.OBIE.SortCodeAccountNumber",
                identification: &account.number,
                name: &account.owner,
            }]
        }),
    };
    Accounts { account: accounts.map(row).collect() }
}

// ---------------------------------------------------------------- balances

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Balances<'a> {
    balance: [BalanceRow<'a>; 2],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BalanceRow<'a> {
    account_id: &'a str,
    credit_debit_indicator: &'static str,
    #[serde(rename = "Type")]
    kind: &'static str,
    date_time: Moment,
    amount: OwnedMoney<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credit_line: Option<[CreditLine<'a>; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CreditLine<'a> {
    included: bool,
    #[serde(rename = "Type")]
    kind: &'static str,
    amount: OwnedMoney<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct OwnedMoney<'a> {
    pub(super) amount: String,
    pub(super) currency: &'a str,
}

pub(super) fn balances(account: &Account, now: DateTime<Utc>, booked: i64, available: i64) -> Balances<'_> {
    let unsigned = |minor| OwnedMoney {
        amount: money::unsigned_text(minor, &account.currency),
        currency: &account.currency,
    };
    let row = |kind, own: i64| {
        let minor = own.saturating_add(account.credit.unwrap_or_default());
        BalanceRow {
            account_id: &account.id,
            credit_debit_indicator: indicator(minor),
            kind,
            date_time: Moment(now),
            amount: unsigned(minor),
            credit_line: account
                .credit
                .map(|credit| [CreditLine { included: true, kind: "Pre-Agreed", amount: unsigned(credit) }]),
        }
    };
    Balances { balance: [row("InterimBooked", booked), row("InterimAvailable", available)] }
}

// ---------------------------------------------------------------- errors

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ErrorResponse<'a> {
    pub(super) code: String,
    pub(super) id: &'a str,
    pub(super) message: &'a str,
    pub(super) errors: [ErrorLine<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ErrorLine<'a> {
    pub(super) error_code: &'a str,
    pub(super) message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<&'a str>,
}
