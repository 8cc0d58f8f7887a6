//! A page of transactions (OBReadTransaction6), in one pass: this is what a sync spends its
//! computing time on.

use crate::bank::{Amount, Direction, Links};
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_sdk::json::{self, Text};
use tidegate_sdk::{
    Coverage, CoverageKind, Failure, IdStability, Reply, Status, Transaction, Window, date, decimal,
};

/// Bytes of `details`; the contract's limit. What does not fit is left out.
const DETAILS_BYTES_MAX: usize = 16 * 1024;
/// Characters of `text`; the contract's limit (the standard says 500).
const TEXT_CHARS_MAX: usize = 2_000;
/// Characters of `counterparty`; the contract's limit (the standard says 350; all of it stands in
/// `details`).
const COUNTERPARTY_CHARS_MAX: usize = 256;

/// What a page came to.
#[derive(Debug)]
pub struct Read {
    /// As the bank gave them, without rejected ones.
    pub transactions: Vec<Transaction>,
    /// `Links.Next`, as written.
    pub next: Option<String>,
    /// `Meta.FirstAvailableDateTime`, as written.
    pub first_available: Option<String>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(rename = "Data", borrow)]
    data: Data<'a>,
    #[serde(rename = "Links", borrow)]
    links: Option<Links<'a>>,
    #[serde(rename = "Meta", borrow)]
    meta: Option<Meta<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "Transaction", borrow, default)]
    rows: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(rename = "FirstAvailableDateTime", borrow)]
    first_available: Option<Text<'a>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum EntryStatus {
    Booked,
    Pending,
    Rejected,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Mutability {
    Mutable,
    Immutable,
}

/// OBTransaction6. What is only handed on stays as the bank wrote it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    #[serde(borrow)]
    account_id: Text<'a>,
    #[serde(borrow)]
    transaction_id: Option<Text<'a>>,
    credit_debit_indicator: Direction,
    status: EntryStatus,
    transaction_mutability: Option<Mutability>,
    #[serde(borrow)]
    booking_date_time: Text<'a>,
    #[serde(borrow)]
    value_date_time: Option<Text<'a>>,
    #[serde(borrow)]
    transaction_information: Option<Text<'a>>,
    #[serde(borrow)]
    amount: Amount<'a>,
    #[serde(borrow)]
    balance: Option<BalanceAfter<'a>>,
    #[serde(borrow)]
    transaction_reference: Option<&'a RawValue>,
    #[serde(borrow)]
    statement_reference: Option<&'a RawValue>,
    #[serde(borrow)]
    address_line: Option<&'a RawValue>,
    #[serde(borrow)]
    charge_amount: Option<&'a RawValue>,
    #[serde(borrow)]
    currency_exchange: Option<&'a RawValue>,
    #[serde(borrow)]
    bank_transaction_code: Option<&'a RawValue>,
    #[serde(borrow)]
    proprietary_bank_transaction_code: Option<&'a RawValue>,
    #[serde(borrow)]
    merchant_details: Option<&'a RawValue>,
    #[serde(borrow)]
    creditor_agent: Option<&'a RawValue>,
    #[serde(borrow)]
    creditor_account: Option<&'a RawValue>,
    #[serde(borrow)]
    debtor_agent: Option<&'a RawValue>,
    #[serde(borrow)]
    debtor_account: Option<&'a RawValue>,
    #[serde(borrow)]
    card_instrument: Option<&'a RawValue>,
    #[serde(borrow)]
    supplementary_data: Option<&'a RawValue>,
}

/// OBTransactionCashBalance.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BalanceAfter<'a> {
    credit_debit_indicator: Direction,
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow)]
    amount: Amount<'a>,
}

#[derive(Deserialize)]
struct Merchant<'a> {
    #[serde(rename = "MerchantName", borrow)]
    name: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Party<'a> {
    #[serde(rename = "Name", borrow)]
    name: Option<Text<'a>>,
}

/// Reads a page of `account`.
///
/// Fails as `unreadable`, naming row and field, when one row is not as the standard promises or is
/// of another account.
pub fn parse(reply: &Reply, account: &str) -> Result<Read, Failure> {
    if reply.status == 204 {
        return Ok(Read { transactions: Vec::new(), next: None, first_available: None });
    }
    let document: Document = json::rows(&reply.body, "Data.Transaction")?;
    let mut transactions = Vec::with_capacity(document.data.rows.len());
    for (row, entry) in document.data.rows.iter().enumerate() {
        if entry.status == EntryStatus::Rejected {
            continue; // no money moved, and none will
        }
        let transaction =
            entry.transaction(account).map_err(|field| Failure::unreadable(Some(row), field))?;
        transactions.push(transaction);
    }
    let owned = |text: Text<'_>| text.as_str().to_owned();
    Ok(Read {
        transactions,
        next: document.links.and_then(|links| links.next).map(owned),
        first_available: document.meta.and_then(|meta| meta.first_available).map(owned),
    })
}

/// What was seen when the last page was read: all of the window, or as much of it as the bank has.
/// Without the latter, rows older than the bank's memory would look removed.
pub fn coverage(window: &Window, first_available: Option<&str>) -> Option<Coverage> {
    let since = match first_available.and_then(date::civil) {
        Some(first) if first > window.since.as_str() => first,
        _ => window.since.as_str(),
    };
    (since <= window.until.as_str()).then(|| Coverage {
        kind: CoverageKind::Snapshot,
        window: Window { since: since.to_owned(), until: window.until.clone() },
        statuses: vec![Status::Pending, Status::Booked],
        complete: true,
    })
}

impl Row<'_> {
    /// As the contract has it; else the path of the field that is wrong.
    fn transaction(&self, account: &str) -> Result<Transaction, &'static str> {
        if self.account_id.as_str() != account {
            return Err("AccountId");
        }
        let negative = self.credit_debit_indicator == Direction::Debit;
        let amount = decimal::with_sign(&self.amount.amount, negative).ok_or("Amount.Amount")?;
        let booked_on = date::civil(self.booking_date_time.as_str()).ok_or("BookingDateTime")?;
        let valued_on = match &self.value_date_time {
            Some(text) => Some(date::civil(text.as_str()).ok_or("ValueDateTime")?.to_owned()),
            None => None,
        };
        let text = self.transaction_information.as_ref().map_or("", Text::as_str);
        Ok(Transaction {
            id: self.transaction_id.as_ref().map(|id| id.as_str().to_owned()),
            stability: self.stability(),
            supersedes: None,
            status: match self.status {
                EntryStatus::Booked => Status::Booked,
                _ => Status::Pending,
            },
            booked_on: Some(booked_on.to_owned()),
            valued_on,
            amount,
            currency: self.amount.currency.as_ref().to_owned(),
            text: clip(text, TEXT_CHARS_MAX),
            counterparty: self.counterparty()?,
            balance_after: self.balance_after()?,
            details: self.details(),
        })
    }

    /// The standard calls `TransactionId` "both unique and immutable", and lets a bank say
    /// otherwise of a row with `TransactionMutability`. A pending row's id holds until it is booked
    /// at best, whatever the bank says.
    fn stability(&self) -> IdStability {
        match (&self.transaction_id, self.status, self.transaction_mutability) {
            (None, _, _) => IdStability::None,
            (Some(_), EntryStatus::Booked, None | Some(Mutability::Immutable)) => IdStability::Immutable,
            (Some(_), _, _) => IdStability::Provisional,
        }
    }

    /// The merchant, else whoever stands on the other side.
    fn counterparty(&self) -> Result<Option<String>, &'static str> {
        if let Some(raw) = self.merchant_details {
            let merchant: Merchant = serde_json::from_str(raw.get()).map_err(|_| "MerchantDetails")?;
            if let Some(name) = merchant.name {
                return Ok(Some(clip(name.as_str(), COUNTERPARTY_CHARS_MAX)));
            }
        }
        let (raw, field) = match self.credit_debit_indicator {
            Direction::Debit => (self.creditor_account, "CreditorAccount"),
            Direction::Credit => (self.debtor_account, "DebtorAccount"),
        };
        let Some(raw) = raw else {
            return Ok(None);
        };
        let party: Party = serde_json::from_str(raw.get()).map_err(|_| field)?;
        Ok(party.name.map(|name| clip(name.as_str(), COUNTERPARTY_CHARS_MAX)))
    }

    /// Only a booked balance in the row's own currency is a balance after the row.
    fn balance_after(&self) -> Result<Option<String>, &'static str> {
        let Some(balance) = &self.balance else {
            return Ok(None);
        };
        if !balance.r#type.as_str().ends_with("Booked") || balance.amount.currency != self.amount.currency {
            return Ok(None);
        }
        let negative = balance.credit_debit_indicator == Direction::Debit;
        decimal::with_sign(&balance.amount.amount, negative).map(Some).ok_or("Balance.Amount.Amount")
    }

    /// The rest, as the bank wrote it, in one order.
    fn details(&self) -> String {
        let fields = [
            ("TransactionReference", self.transaction_reference),
            ("StatementReference", self.statement_reference),
            ("AddressLine", self.address_line),
            ("ChargeAmount", self.charge_amount),
            ("CurrencyExchange", self.currency_exchange),
            ("BankTransactionCode", self.bank_transaction_code),
            ("ProprietaryBankTransactionCode", self.proprietary_bank_transaction_code),
            ("MerchantDetails", self.merchant_details),
            ("CreditorAgent", self.creditor_agent),
            ("CreditorAccount", self.creditor_account),
            ("DebtorAgent", self.debtor_agent),
            ("DebtorAccount", self.debtor_account),
            ("CardInstrument", self.card_instrument),
            ("SupplementaryData", self.supplementary_data),
        ];
        // `,"` + name + `":` + value, and the braces.
        let length = |name: &str, raw: &RawValue| name.len() + raw.get().len() + 4;
        let all: usize = fields.iter().filter_map(|(name, raw)| raw.map(|raw| length(name, raw))).sum();
        let mut details = String::with_capacity((all + 2).min(DETAILS_BYTES_MAX));
        details.push('{');
        for (name, raw) in fields {
            let Some(raw) = raw else { continue };
            if details.len() + length(name, raw) + 1 > DETAILS_BYTES_MAX {
                continue;
            }
            details.push_str(if details.len() > 1 { ",\"" } else { "\"" });
            details.push_str(name);
            details.push_str("\":");
            details.push_str(raw.get());
        }
        details.push('}');
        details
    }
}

/// At most so many characters.
fn clip(text: &str, chars: usize) -> String {
    if text.len() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::fixtures::*;

    const ROW: &str = r#"{"AccountId":"1","CreditDebitIndicator":"Debit","Status":"Booked","BookingDateTime":"2026-11-02T00:00:00Z","Amount":{"Amount":"1.50","Currency":"GBP"}"#;

    fn page(rows: &[String]) -> Result<Vec<Transaction>, Failure> {
        let body = format!(r#"{{"Data":{{"Transaction":[{}]}}}}"#, rows.join(","));
        parse(&reply(200, body.as_bytes()), "1").map(|read| read.transactions)
    }
    /// A row with more fields, or with one replaced.
    fn row(more: &str) -> String {
        format!("{ROW}{}{more}}}", if more.is_empty() { "" } else { "," })
    }
    fn one(more: &str) -> Transaction {
        page(&[row(more)]).unwrap().remove(0)
    }

    #[test]
    fn a_row_of_the_fixture_is_read_whole() {
        let read = parse(&reply(200, PAGE_1), "22289").unwrap();
        assert_eq!(read.transactions.len(), 25);
        let first = &read.transactions[0];
        assert_eq!(first.id.as_deref(), Some("TX-20261119-000001"));
        assert_eq!(first.stability, IdStability::Provisional);
        assert_eq!(first.status, Status::Pending);
        let coffee = &read.transactions[2];
        assert_eq!(coffee.id.as_deref(), Some("TX-20261118-000003"));
        assert_eq!(coffee.stability, IdStability::Immutable);
        assert_eq!(coffee.status, Status::Booked);
        assert_eq!(coffee.booked_on.as_deref(), Some("2026-11-18"));
        assert_eq!(coffee.valued_on.as_deref(), Some("2026-11-18"));
        assert_eq!((coffee.amount.as_str(), coffee.currency.as_str()), ("-3.40", "GBP"));
        assert!(coffee.text.starts_with("CARD PAYMENT TO"), "{}", coffee.text);
        assert!(coffee.counterparty.is_some());
        assert!(coffee.balance_after.is_some());
        let details: serde_json::Value = serde_json::from_str(&coffee.details).unwrap();
        assert!(details["MerchantDetails"]["MerchantCategoryCode"].is_string());
        assert!(details["BankTransactionCode"]["Code"].is_string());
        assert_eq!(details.get("Amount"), None);
        assert!(read.transactions.iter().any(|row| !decimal::is_negative(&row.amount)), "credits too");
    }

    #[test]
    fn the_sign_comes_from_the_indicator() {
        assert_eq!(one("").amount, "-1.50");
        let credit = row("").replace("\"Debit\"", "\"Credit\"");
        assert_eq!(page(&[credit]).unwrap()[0].amount, "1.50");
    }

    #[test]
    fn an_id_is_as_stable_as_the_bank_promises() {
        let check = |more: &str, expected| assert_eq!(one(more).stability, expected, "{more}");
        check("", IdStability::None);
        check(r#""TransactionId":"a""#, IdStability::Immutable);
        check(r#""TransactionId":"a","TransactionMutability":"Immutable""#, IdStability::Immutable);
        check(r#""TransactionId":"a","TransactionMutability":"Mutable""#, IdStability::Provisional);
        let pending =
            row(r#""TransactionId":"a","TransactionMutability":"Immutable""#).replace("Booked", "Pending");
        assert_eq!(page(&[pending]).unwrap()[0].stability, IdStability::Provisional);
    }

    #[test]
    fn rejected_rows_are_left_out_and_twins_stand_twice() {
        let rejected = row("").replace("Booked", "Rejected");
        assert_eq!(page(&[row(""), rejected, row("")]).unwrap().len(), 2);
    }

    #[test]
    fn the_counterparty_is_the_merchant_or_the_other_side() {
        let check = |more: &str, expected: Option<&str>| {
            assert_eq!(one(more).counterparty.as_deref(), expected, "{more}")
        };
        check("", None);
        check(r#""MerchantDetails":{"MerchantName":"Costa"},"CreditorAccount":{"Name":"C"}"#, Some("Costa"));
        check(
            r#""MerchantDetails":{"MerchantCategoryCode":"5814"},"CreditorAccount":{"Name":"C"}"#,
            Some("C"),
        );
        check(r#""DebtorAccount":{"Name":"Me"}"#, None);
        let credit = row(r#""DebtorAccount":{"Name":"Employer"}"#).replace("Debit\"", "Credit\"");
        assert_eq!(page(&[credit]).unwrap()[0].counterparty.as_deref(), Some("Employer"));
        let long = one(&format!(r#""MerchantDetails":{{"MerchantName":"{}"}}"#, "ä".repeat(350)));
        assert_eq!(long.counterparty.unwrap().chars().count(), 256);
    }

    #[test]
    fn only_a_booked_balance_of_the_same_currency_is_a_balance_after_the_row() {
        let balance = |kind: &str, currency: &str| {
            format!(
                r#""Balance":{{"CreditDebitIndicator":"Debit","Type":"{kind}","Amount":{{"Amount":"9.00","Currency":"{currency}"}}}}"#
            )
        };
        assert_eq!(one(&balance("InterimBooked", "GBP")).balance_after.as_deref(), Some("-9.00"));
        assert_eq!(one(&balance("InterimAvailable", "GBP")).balance_after, None);
        assert_eq!(one(&balance("InterimBooked", "EUR")).balance_after, None);
    }

    #[test]
    fn details_are_what_the_bank_wrote_and_never_too_long() {
        assert_eq!(one("").details, "{}");
        let more = r#""SupplementaryData":{"x":[1, 2]},"TransactionReference":"Ref \u00e4""#;
        assert_eq!(
            one(more).details,
            r#"{"TransactionReference":"Ref \u00e4","SupplementaryData":{"x":[1, 2]}}"#
        );
        let huge = format!(r#""SupplementaryData":"{}","AddressLine":"Leeds""#, "x".repeat(20_000));
        assert_eq!(one(&huge).details, r#"{"AddressLine":"Leeds"}"#);
    }

    #[test]
    fn one_unreadable_row_is_named_by_row_and_field_and_never_by_value() {
        let check = |from: &str, to: &str, field: &str| {
            let rows = [row(""), row("").replace(from, to), row("")];
            assert_eq!(page(&rows), Err(Failure::unreadable(Some(1), field)), "{to}");
        };
        check("\"1.50\"", "\"1e3\"", "Amount.Amount");
        check("\"1.50\"", "\"-1.50\"", "Amount.Amount");
        check("\"1.50\"", "1.50", "Amount.Amount");
        check("\"Currency\":\"GBP\"", "\"Currency\":null", "Amount.Currency");
        check("2026-11-02T", "2026-02-30T", "BookingDateTime");
        check("\"Debit\"", "\"Sideways\"", "CreditDebitIndicator");
        check("\"Booked\"", "\"Guessed\"", "Status");
        check("\"AccountId\":\"1\"", "\"AccountId\":\"2\"", "AccountId");
        check("\"AccountId\":\"1\",", "", "AccountId");
        check(r#""BookingDateTime":"2026-11-02T00:00:00Z","#, "", "BookingDateTime");
        let rows = [row(""), row(r#""ValueDateTime":"tomorrow""#)];
        assert_eq!(page(&rows), Err(Failure::unreadable(Some(1), "ValueDateTime")));
        let rows = [row(r#""MerchantDetails":7"#)];
        assert_eq!(page(&rows), Err(Failure::unreadable(Some(0), "MerchantDetails")));
    }

    #[test]
    fn coverage_never_reaches_back_before_the_banks_memory() {
        let window = Window { since: "2026-08-01".into(), until: "2026-11-20".into() };
        let since = |first| coverage(&window, first).map(|coverage| coverage.window.since);
        assert_eq!(since(None).as_deref(), Some("2026-08-01"));
        assert_eq!(since(Some("2017-05-03T00:00:00+00:00")).as_deref(), Some("2026-08-01"));
        assert_eq!(since(Some("2026-09-10T00:00:00+00:00")).as_deref(), Some("2026-09-10"));
        assert_eq!(since(Some("2026-12-01T00:00:00+00:00")), None);
    }
}
