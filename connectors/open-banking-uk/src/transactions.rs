//! A page of transactions (OBReadTransaction6), in one pass: this is what a sync spends its
//! computing time on, so a row has a structure of its own.

use crate::bank::{self, Amount, Direction};
use serde::Deserialize;
use std::borrow::Cow;
use tidegate_sdk::json::{self, Listed, Object, RawValue, Text};
use tidegate_sdk::{Coverage, Failure, IdStability, Reply, Status, Transaction, Window, date};

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
    #[serde(borrow)] // said once, it holds for all
    account_id: Text<'a>,
    transaction_id: Option<Text<'a>>,
    credit_debit_indicator: Direction,
    status: EntryStatus,
    transaction_mutability: Option<Mutability>,
    booking_date_time: Text<'a>,
    value_date_time: Option<Text<'a>>,
    transaction_information: Option<Text<'a>>,
    amount: Amount<'a>,
    balance: Option<BalanceAfter<'a>>,
    transaction_reference: Option<&'a RawValue>,
    statement_reference: Option<&'a RawValue>,
    address_line: Option<&'a RawValue>,
    charge_amount: Option<&'a RawValue>,
    currency_exchange: Option<&'a RawValue>,
    bank_transaction_code: Option<&'a RawValue>,
    proprietary_bank_transaction_code: Option<&'a RawValue>,
    merchant_details: Option<&'a RawValue>,
    creditor_agent: Option<&'a RawValue>,
    creditor_account: Option<&'a RawValue>,
    debtor_agent: Option<&'a RawValue>,
    debtor_account: Option<&'a RawValue>,
    card_instrument: Option<&'a RawValue>,
    supplementary_data: Option<&'a RawValue>,
}

/// OBTransactionCashBalance.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BalanceAfter<'a> {
    credit_debit_indicator: Direction,
    #[serde(borrow)]
    r#type: Text<'a>,
    amount: Amount<'a>,
}

/// Reads a page of `account`.
///
/// Fails as `unreadable`, naming row and field, when one row is not as the standard promises or is
/// of another account.
pub fn parse(reply: &Reply, account: &str) -> Result<Read, Failure> {
    if reply.status == 204 {
        return Ok(Read { transactions: Vec::new(), next: None, first_available: None });
    }
    let listed: Listed<Row> = Listed::read(&reply.body, "Data.Transaction")?;
    Ok(Read {
        next: listed.said("Links", "Next")?,
        first_available: listed.said("Meta", "FirstAvailableDateTime")?,
        transactions: json::each(&listed.rows.unwrap_or_default(), |row| row.transaction(account))?,
    })
}

/// What was seen when the last page was read: all of the window, or as much of it as the bank has.
/// Without the latter, rows older than the bank's memory would look removed.
pub fn coverage(window: &Window, first_available: Option<&str>) -> Option<Coverage> {
    let since = match first_available.and_then(date::civil) {
        Some(first) if first > window.since.as_str() => first,
        _ => window.since.as_str(),
    };
    let seen = Window { since: since.to_owned(), until: window.until.clone() };
    (seen.since <= seen.until).then(|| Coverage::snapshot(&seen, &[Status::Pending, Status::Booked]))
}

impl Row<'_> {
    /// As the contract has it; none if it was rejected: no money moved, and none will.
    fn transaction(&self, account: &str) -> Result<Option<Transaction>, Failure> {
        let status = match self.status {
            EntryStatus::Booked => Status::Booked,
            EntryStatus::Pending => Status::Pending,
            EntryStatus::Rejected => return Ok(None),
        };
        bank::check_account(self.account_id.as_str(), account)?;
        let amount = self.amount.signed(self.credit_debit_indicator)?;
        let booked_on = day(&self.booking_date_time, "BookingDateTime")?;
        let valued_on = self.value_date_time.as_ref().map(|text| day(text, "ValueDateTime")).transpose()?;
        let text = self.transaction_information.as_ref().map_or("", Text::as_str);
        let written = Transaction::new(status, amount, &self.amount.currency, text)
            .on(Some(booked_on), valued_on)
            .with(self.counterparty()?.as_deref())
            .with_balance_after(self.balance_after()?)
            .with_details(self.details());
        Ok(Some(match &self.transaction_id {
            Some(id) => written.with_id(id.as_str(), self.stability()),
            None => written,
        }))
    }

    /// The standard calls `TransactionId` "both unique and immutable", and lets a bank say
    /// otherwise of a row with `TransactionMutability`. A pending row's id holds until it is booked
    /// at best, whatever the bank says.
    fn stability(&self) -> IdStability {
        match (self.status, self.transaction_mutability) {
            (EntryStatus::Booked, None | Some(Mutability::Immutable)) => IdStability::Immutable,
            _ => IdStability::Provisional,
        }
    }

    /// The merchant, else whoever stands on the other side.
    fn counterparty(&self) -> Result<Option<Cow<'_, str>>, Failure> {
        let merchant = named(self.merchant_details, "MerchantDetails", "MerchantName")?;
        match self.credit_debit_indicator {
            _ if merchant.is_some() => Ok(merchant),
            Direction::Debit => named(self.creditor_account, "CreditorAccount", "Name"),
            Direction::Credit => named(self.debtor_account, "DebtorAccount", "Name"),
        }
    }

    /// Only a booked balance in the row's own currency is a balance after the row.
    fn balance_after(&self) -> Result<Option<String>, Failure> {
        let Some(BalanceAfter { credit_debit_indicator, r#type, amount }) = &self.balance else {
            return Ok(None);
        };
        if !r#type.as_str().ends_with("Booked") || amount.currency != self.amount.currency {
            return Ok(None);
        }
        amount.signed(*credit_debit_indicator).map(Some).map_err(|failure| failure.under("Balance"))
    }

    /// The rest, as the bank wrote it, in one order.
    fn details(&self) -> String {
        json::keep([
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
        ])
    }
}

fn day(text: &Text<'_>, field: &str) -> Result<String, Failure> {
    date::civil(text.as_str()).map(str::to_owned).ok_or_else(|| Failure::unreadable(None, field))
}

/// A name within an object of the row.
fn named<'a>(raw: Option<&'a RawValue>, field: &str, name: &str) -> Result<Option<Cow<'a, str>>, Failure> {
    let Some(raw) = raw else { return Ok(None) };
    let read = json::document(raw.get().as_bytes()).and_then(|object: Object<'a>| object.text_if(name));
    read.map_err(|failure| failure.under(field))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::fixtures::*;
    use tidegate_sdk::decimal;

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
