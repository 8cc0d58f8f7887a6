//! The JSON of UK Open Banking 3.1.11 (`OBReadAccount6`, `OBReadBalance1`, `OBReadTransaction6`,
//! `OBErrorResponse1`), written straight from the books without an intermediate tree.
//!
//! Must not know: HTTP, tokens.

use super::books::{Account, Entry, EntryKind};
use super::history::category_code;
use super::money;
use super::statement::RowStatus;
use chrono::{DateTime, SecondsFormat, Timelike, Utc};
use serde::{Serialize, Serializer};

/// A moment as the bank writes it: `2017-04-05T10:43:07+00:00`.
#[derive(Clone, Copy)]
struct Moment(DateTime<Utc>);

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
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Money<'a> {
    amount: &'a str,
    currency: &'a str,
}

fn indicator(minor: i64) -> &'static str {
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
    account: [AccountNumber<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccountNumber<'a> {
    scheme_name: &'static str,
    identification: &'a str,
    name: &'a str,
}

pub(super) fn accounts<'a>(accounts: impl Iterator<Item = &'a Account>) -> Accounts<'a> {
    let row = |account: &'a Account| AccountRow {
        account_id: &account.id,
        status: "Enabled",
        status_update_date_time: Moment(account.opened_at),
        currency: &account.currency,
        account_type: "Personal",
        account_sub_type: if account.savings { "Savings" } else { "CurrentAccount" },
        nickname: &account.nickname,
        opening_date: Moment(account.opened_at),
        account: [AccountNumber {
            scheme_name: "UK.OBIE.SortCodeAccountNumber",
            identification: &account.number,
            name: &account.owner,
        }],
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
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OwnedMoney<'a> {
    amount: String,
    currency: &'a str,
}

pub(super) fn balances(account: &Account, now: DateTime<Utc>, booked: i64, available: i64) -> Balances<'_> {
    let row = |kind, minor| BalanceRow {
        account_id: &account.id,
        credit_debit_indicator: indicator(minor),
        kind,
        date_time: Moment(now),
        amount: OwnedMoney {
            amount: money::unsigned_text(minor, &account.currency),
            currency: &account.currency,
        },
    };
    Balances { balance: [row("InterimBooked", booked), row("InterimAvailable", available)] }
}

// ---------------------------------------------------------------- transactions

/// What a fault changes in the first row of a page.
#[derive(Debug, Clone, Default)]
pub(super) struct Tweak {
    pub(super) amount: Option<String>,
    pub(super) text: Option<String>,
    /// How often the row stands there; once if not said.
    pub(super) times: Option<usize>,
}

/// What the rows of a page look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowStyle {
    pub(super) with_id: bool,
}

/// One page; each row with the booked balance after it, if the bank gives that.
pub(super) struct Transactions<'a> {
    pub(super) account: &'a Account,
    pub(super) rows: Vec<(&'a Entry, Option<i64>)>,
    pub(super) style: RowStyle,
    pub(super) tweak: Tweak,
}

impl Serialize for Transactions<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Data<R: Serialize> {
            transaction: R,
        }
        Data { transaction: Rows(self) }.serialize(to)
    }
}

struct Rows<'a>(&'a Transactions<'a>);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Transactions { account, rows, style, tweak } = self.0;
        let plain = Tweak::default();
        to.collect_seq(rows.iter().enumerate().map(|(place, (entry, balance))| TransactionRow {
            account,
            entry,
            balance: *balance,
            style: *style,
            tweak: if place == 0 { tweak } else { &plain },
        }))
    }
}

struct TransactionRow<'a> {
    account: &'a Account,
    entry: &'a Entry,
    balance: Option<i64>,
    style: RowStyle,
    tweak: &'a Tweak,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ObTransaction6<'a> {
    account_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<&'a str>,
    transaction_reference: String,
    statement_reference: [String; 1],
    credit_debit_indicator: &'static str,
    status: &'static str,
    transaction_mutability: &'static str,
    booking_date_time: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_date_time: Option<Moment>,
    transaction_information: &'a str,
    amount: Money<'a>,
    bank_transaction_code: BankCode,
    proprietary_bank_transaction_code: ProprietaryCode,
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<RowBalance<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_details: Option<Merchant<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    card_instrument: Option<Card<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creditor_account: Option<AccountNumber<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    debtor_account: Option<AccountNumber<'a>>,
    supplementary_data: Supplement,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct BankCode {
    code: &'static str,
    sub_code: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProprietaryCode {
    code: &'static str,
    issuer: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RowBalance<'a> {
    credit_debit_indicator: &'static str,
    #[serde(rename = "Type")]
    kind: &'static str,
    amount: OwnedMoney<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Merchant<'a> {
    merchant_name: &'a str,
    merchant_category_code: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Card<'a> {
    card_scheme_name: &'static str,
    authorisation_type: &'static str,
    name: &'a str,
    identification: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Supplement {
    channel: &'static str,
    authorised_date_time: Moment,
    scheme: &'static str,
}

/// Bank code, sub-code, the bank's own code, channel, scheme.
fn codes(kind: EntryKind, credit: bool) -> [&'static str; 5] {
    match (kind, credit) {
        (EntryKind::Card, _) => {
            ["CustomerCardTransactions", "PointOfSalePaymentDebitCard", "POS", "CardTerminal", "VisaDebit"]
        }
        (EntryKind::DirectDebit, _) => {
            ["IssuedDirectDebits", "DirectDebitPayment", "DD", "AutomatedClearing", "BacsDirectDebit"]
        }
        (EntryKind::Salary, _) => [
            "ReceivedCreditTransfers",
            "PayrollOrSalaryPayment",
            "BGC",
            "AutomatedClearing",
            "BacsDirectCredit",
        ],
        (EntryKind::Interest, _) => {
            ["MiscellaneousCreditOperations", "Interest", "INT", "Branch", "Internal"]
        }
        (EntryKind::Transfer, true) => {
            ["ReceivedCreditTransfers", "DomesticCreditTransfer", "FPI", "InternetBanking", "FasterPayments"]
        }
        (EntryKind::Transfer, false) => {
            ["IssuedCreditTransfers", "DomesticCreditTransfer", "FPO", "InternetBanking", "FasterPayments"]
        }
    }
}

impl Serialize for TransactionRow<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { account, entry, tweak, .. } = self;
        let currency = account.currency.as_str();
        let credit = entry.minor >= 0;
        let card = entry.kind == EntryKind::Card;
        let [code, sub_code, own_code, channel, scheme] = codes(entry.kind, credit);
        let amount = tweak.amount.clone().unwrap_or_else(|| money::unsigned_text(entry.minor, currency));
        let merchant = entry.merchant.as_deref();
        let other_account = merchant.filter(|_| !card).map(|name| AccountNumber {
            scheme_name: "UK.OBIE.SortCodeAccountNumber",
            identification: "20304055779911",
            name,
        });
        let (creditor_account, debtor_account) =
            if credit { (None, other_account) } else { (other_account, None) };
        let balance = self.balance.map(|minor| RowBalance {
            credit_debit_indicator: indicator(minor),
            kind: "InterimBooked",
            amount: OwnedMoney { amount: money::unsigned_text(minor, currency), currency },
        });
        ObTransaction6 {
            account_id: &account.id,
            transaction_id: self.style.with_id.then_some(entry.id.as_str()),
            transaction_reference: format!("{own_code}-{:012}", entry.serial),
            statement_reference: [entry.booked_at.format("%Y-%m").to_string()],
            credit_debit_indicator: indicator(entry.minor),
            status: if entry.status == RowStatus::Booked { "Booked" } else { "Pending" },
            // This bank corrects booked rows under the same id, so it promises nothing else.
            transaction_mutability: "Mutable",
            booking_date_time: Moment(entry.booked_at),
            value_date_time: entry.valued_at.map(Moment),
            transaction_information: tweak.text.as_deref().unwrap_or(&entry.text),
            amount: Money { amount: &amount, currency },
            bank_transaction_code: BankCode { code, sub_code },
            proprietary_bank_transaction_code: ProprietaryCode { code: own_code, issuer: "Demo Bank plc" },
            balance,
            merchant_details: merchant
                .map(|name| Merchant { merchant_name: name, merchant_category_code: category_code(name) }),
            card_instrument: card.then_some(Card {
                card_scheme_name: "VISA",
                authorisation_type: "Contactless",
                name: &account.owner,
                identification: "4929XXXXXXXX1147",
            }),
            creditor_account,
            debtor_account,
            supplementary_data: Supplement { channel, authorised_date_time: Moment(entry.booked_at), scheme },
        }
        .serialize(to)
    }
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
}
