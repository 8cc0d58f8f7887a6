//! The JSON of one page of transactions: `OBReadDataTransaction6`.
//!
//! Must not know: which page it is.

use super::books::{Account, Entry};
use super::entry::EntryKind;
use super::history::category_code;
use super::money;
use super::rows::{AccountNumber, Moment, Money, OwnedMoney, indicator};
use super::statement::RowStatus;
use serde::{Serialize, Serializer};

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
    /// Narration, balance and the other side, which not every consent covers.
    pub(super) with_details: bool,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_reference: Option<String>,
    credit_debit_indicator: &'static str,
    status: &'static str,
    transaction_mutability: &'static str,
    booking_date_time: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_date_time: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_information: Option<&'a str>,
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
}

/// Bank code, sub-code, the bank's own code, channel.
fn codes(kind: EntryKind, credit: bool) -> [&'static str; 4] {
    let [credited, issued] = ["ReceivedCreditTransfers", "IssuedCreditTransfers"];
    const CARD: &str = "PointOfSalePaymentDebitCard";
    match (kind, credit) {
        (EntryKind::Card, _) => ["CustomerCardTransactions", CARD, "POS", "CardTerminal"],
        (EntryKind::DirectDebit, _) => ["IssuedDirectDebits", "DirectDebitPayment", "DD", "Bacs"],
        (EntryKind::Salary, _) => [credited, "PayrollOrSalaryPayment", "BGC", "Bacs"],
        (EntryKind::Interest, _) => ["MiscellaneousCreditOperations", "Interest", "INT", "Branch"],
        (EntryKind::Transfer, true) => [credited, "DomesticCreditTransfer", "FPI", "Internet"],
        (EntryKind::Transfer, false) => [issued, "DomesticCreditTransfer", "FPO", "Internet"],
    }
}

impl Serialize for TransactionRow<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { account, entry, tweak, .. } = self;
        let currency = account.currency.as_str();
        let credit = entry.minor >= 0;
        let card = entry.kind == EntryKind::Card;
        let [code, sub_code, own_code, channel] = codes(entry.kind, credit);
        let amount = tweak.amount.clone().unwrap_or_else(|| money::unsigned_text(entry.minor, currency));
        let details = self.style.with_details;
        let merchant = entry.merchant.as_deref().filter(|_| details);
        let other_account = merchant.filter(|_| !card).map(|name| AccountNumber {
            scheme_name: "UK.OBIE.SortCodeAccountNumber",
            identification: "20304055779911",
            name,
        });
        let (creditor_account, debtor_account) =
            if credit { (None, other_account) } else { (other_account, None) };
        let balance = self.balance.filter(|_| details).map(|minor| RowBalance {
            credit_debit_indicator: indicator(minor),
            kind: "InterimBooked",
            amount: OwnedMoney { amount: money::unsigned_text(minor, currency), currency },
        });
        let display = account.display();
        let promises =
            entry.status == RowStatus::Booked && display.is_some_and(|display| display.promises_ids);
        ObTransaction6 {
            account_id: &account.id,
            transaction_id: Some(entry.id.as_str()).filter(|id| self.style.with_id && !id.is_empty()),
            // It would tell who is who in a scenario.
            transaction_reference: display.is_none().then(|| format!("{own_code}-{:012}", entry.serial)),
            credit_debit_indicator: indicator(entry.minor),
            status: match entry.status {
                _ if display.is_some_and(|display| display.declines(entry)) => "Rejected",
                RowStatus::Booked => "Booked",
                RowStatus::Pending => "Pending",
            },
            // This bank corrects booked rows under the same id, so it promises nothing else.
            transaction_mutability: if promises { "Immutable" } else { "Mutable" },
            booking_date_time: Moment(entry.booked_at),
            value_date_time: entry.valued_at.map(Moment),
            transaction_information: details.then(|| tweak.text.as_deref().unwrap_or(&entry.text)),
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
            supplementary_data: Supplement { channel, authorised_date_time: Moment(entry.booked_at) },
        }
        .serialize(to)
    }
}
