//! Domain values as stored text: enum words, dates, JSON.

use super::{Result, StoreError};
use crate::model::*;
use chrono::NaiveDate;
use serde::de::{DeserializeOwned, IntoDeserializer, value::StrDeserializer};
use serde::{Deserialize, Serialize};

/// A value as JSON text.
pub(super) fn json<T: Serialize>(value: &T, what: &'static str) -> Result<String> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt(what))
}

/// A value from JSON text.
pub(super) fn parsed<T: DeserializeOwned>(text: &str, what: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt(what))
}

/// The stored word of an enum without contents.
pub(super) fn word<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(), // no enum of the model has contents; the CHECK of the column would refuse this
    }
}

/// The enum of a stored word.
pub(super) fn from_word<'a, T: Deserialize<'a>>(word: &'a str, what: &'static str) -> Result<T> {
    let word: StrDeserializer<'a, serde::de::value::Error> = word.into_deserializer();
    T::deserialize(word).map_err(|_| StoreError::Corrupt(what))
}

/// A stored integer in the size of the domain.
pub(super) fn small<T: TryFrom<i64>>(value: i64, what: &'static str) -> Result<T> {
    T::try_from(value).map_err(|_| StoreError::Corrupt(what))
}

/// A stored currency.
pub(super) fn currency(code: &str) -> Result<Currency> {
    Currency::from_code(code).ok_or(StoreError::Corrupt("currency"))
}

/// A stored date.
pub(super) fn date(text: Option<&str>) -> Result<Option<NaiveDate>> {
    text.map(|text| text.parse().map_err(|_| StoreError::Corrupt("date"))).transpose()
}

/// What of a transaction only its customer and business may read: sealed in `txn_body`.
#[derive(Serialize, Deserialize)]
pub(super) struct Body {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bank_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    supersedes: Option<String>,
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counterparty: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    balance_after: Option<i64>,
    details: String,
}

impl Body {
    /// The sealed part of a transaction.
    pub(super) fn of(transaction: &Transaction) -> Self {
        Self {
            bank_id: transaction.bank_id.clone(),
            supersedes: transaction.supersedes.clone(),
            text: transaction.text.clone(),
            counterparty: transaction.counterparty.clone(),
            balance_after: transaction.balance_after,
            details: transaction.details.clone(),
        }
    }

    /// The whole, with the columns that stand in the clear.
    pub(super) fn transaction(self, clear: &Clear<'_>) -> Result<Transaction> {
        Ok(Transaction {
            bank_id: self.bank_id,
            stability: from_word(clear.stability, "id stability")?,
            supersedes: self.supersedes,
            status: from_word(clear.status, "transaction status")?,
            booked_on: date(clear.booked_on)?,
            valued_on: date(clear.valued_on)?,
            money: Money { minor: clear.amount_minor, currency: currency(clear.currency)? },
            text: self.text,
            counterparty: self.counterparty,
            balance_after: self.balance_after,
            details: self.details,
        })
    }
}

/// What of a transaction is filtered by, in the clear.
pub(super) struct Clear<'a> {
    pub(super) status: &'a str,
    pub(super) stability: &'a str,
    pub(super) booked_on: Option<&'a str>,
    pub(super) valued_on: Option<&'a str>,
    pub(super) amount_minor: i64,
    pub(super) currency: &'a str,
}

/// A whole transaction as history keeps it, sealed in `txn_change`.
#[derive(Serialize, Deserialize)]
pub(super) struct Image {
    status: TransactionStatus,
    stability: IdStability,
    booked_on: Option<String>,
    valued_on: Option<String>,
    amount_minor: i64,
    currency: String,
    #[serde(flatten)]
    body: Body,
}

impl Image {
    /// The stored form.
    pub(super) fn of(transaction: &Transaction) -> Self {
        Self {
            status: transaction.status,
            stability: transaction.stability,
            booked_on: transaction.booked_on.map(|day| day.to_string()),
            valued_on: transaction.valued_on.map(|day| day.to_string()),
            amount_minor: transaction.money.minor,
            currency: transaction.money.currency.code().to_owned(),
            body: Body::of(transaction),
        }
    }

    /// The transaction.
    pub(super) fn transaction(self) -> Result<Transaction> {
        let (status, stability) = (word(self.status), word(self.stability));
        self.body.transaction(&Clear {
            status: &status,
            stability: &stability,
            booked_on: self.booked_on.as_deref(),
            valued_on: self.valued_on.as_deref(),
            amount_minor: self.amount_minor,
            currency: &self.currency,
        })
    }
}

/// A balance as stored.
#[derive(Serialize, Deserialize)]
struct StoredBalance {
    kind: BalanceKind,
    minor: i64,
    currency: String,
    as_of: Option<i64>,
    includes_pending: bool,
    credit_included: Credit,
}

/// Balances as JSON text.
pub(super) fn balances_json(balances: &[Balance]) -> Result<String> {
    let stored: Vec<StoredBalance> = balances
        .iter()
        .map(|balance| StoredBalance {
            kind: balance.kind,
            minor: balance.money.minor,
            currency: balance.money.currency.code().to_owned(),
            as_of: balance.as_of.map(|at| at.0),
            includes_pending: balance.includes_pending,
            credit_included: balance.credit_included,
        })
        .collect();
    json(&stored, "balances")
}

/// Balances from JSON text.
pub(super) fn balances(text: &str) -> Result<Vec<Balance>> {
    let stored: Vec<StoredBalance> = parsed(text, "balances")?;
    let balance = |stored: StoredBalance| {
        Ok(Balance {
            kind: stored.kind,
            money: Money { minor: stored.minor, currency: currency(&stored.currency)? },
            as_of: stored.as_of.map(Timestamp),
            includes_pending: stored.includes_pending,
            credit_included: stored.credit_included,
        })
    };
    stored.into_iter().map(balance).collect()
}

/// What the ledger remembers, as stored.
#[derive(Serialize, Deserialize, Default)]
struct StoredStanding {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected: Option<(i64, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unexplained: Option<i64>,
    #[serde(default)]
    first_rows: i64,
    #[serde(default)]
    in_doubt: bool,
    #[serde(default)]
    ids_demoted: bool,
    #[serde(default)]
    looked_on: Option<NaiveDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending_since: Option<NaiveDate>,
    #[serde(default)]
    all_looked_on: Option<NaiveDate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reach_days: Option<u32>,
    #[serde(default)]
    lateness: Lateness,
}

/// What the ledger remembers before the first look.
pub(super) const NEW_STANDING: &str = "{}";

/// What the ledger remembers as JSON text.
pub(super) fn standing_json(standing: &Standing) -> Result<String> {
    let Standing {
        first_rows,
        in_doubt,
        unexplained,
        ids_demoted,
        looked_on,
        pending_since,
        all_looked_on,
        reach_days,
        lateness,
        ..
    } = *standing;
    let expected = standing.expected.map(|money| (money.minor, money.currency.code().to_owned()));
    let stored = StoredStanding {
        expected,
        first_rows,
        in_doubt,
        unexplained,
        ids_demoted,
        looked_on,
        pending_since,
        all_looked_on,
        reach_days,
        lateness,
    };
    json(&stored, "standing")
}

/// What the ledger remembers from JSON text.
pub(super) fn standing(text: &str) -> Result<Standing> {
    let stored: StoredStanding = parsed(text, "standing")?;
    let expected = stored
        .expected
        .map(|(minor, code)| Ok::<_, StoreError>(Money { minor, currency: currency(&code)? }))
        .transpose()?;
    Ok(Standing {
        expected,
        first_rows: stored.first_rows,
        in_doubt: stored.in_doubt,
        unexplained: stored.unexplained,
        ids_demoted: stored.ids_demoted,
        looked_on: stored.looked_on,
        pending_since: stored.pending_since,
        all_looked_on: stored.all_looked_on,
        reach_days: stored.reach_days,
        lateness: stored.lateness,
    })
}

/// Do two lists of balances say the same money? Their order and `as_of` don't count: many banks
/// give the moment of the request, which is no news.
pub(super) fn same_money(one: &[Balance], other: &[Balance]) -> bool {
    let said = |balances: &[Balance]| {
        let mut said: Vec<_> = balances
            .iter()
            .map(|balance| {
                let counted = (balance.includes_pending, balance.credit_included);
                (balance.kind, balance.money.currency.code(), balance.money.minor, counted)
            })
            .collect();
        said.sort_unstable();
        said
    };
    said(one) == said(other)
}
