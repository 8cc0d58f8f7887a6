//! Answers of a connector, made easy to write: what is nearly always the same is said here once.

use crate::{
    Account, Balance, BalanceKind, Coverage, CoverageKind, Credit, IdStability, More, Page, Send,
    SessionInfo, Status, Transaction, Window,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Characters of a narration; the contract's limit.
const TEXT_CHARS_MAX: usize = 2_000;
/// Characters of a counterparty's name; the contract's limit.
const NAME_CHARS_MAX: usize = 256;
/// Bytes of `details`; the contract's limit.
pub(crate) const DETAILS_BYTES_MAX: usize = 16 * 1024;

/// As memory keeps it.
impl Serialize for Account {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (&self.id, &self.name, &self.currency, &self.number).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (id, name, currency, number) = Deserialize::deserialize(from)?;
        Ok(Self { id, name, currency, number })
    }
}

impl SessionInfo {
    /// A session that lasts until then; no state, and the consent is as it was.
    pub fn until(valid_until_ms: Option<u64>) -> Self {
        Self { valid_until_ms, state: None, consent: None }
    }
}

impl More {
    /// Pages, and what to ask for next.
    pub fn of(pages: Vec<Page>, next: Option<Send>) -> Self {
        Self { pages, unread: Vec::new(), next, after_commit: Vec::new() }
    }
}

impl Page {
    /// An empty page of an account.
    pub fn of(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            transactions: Vec::new(),
            removed: Vec::new(),
            balances: Vec::new(),
            coverage: None,
            state: None,
        }
    }
}

impl Coverage {
    /// All rows of these statuses in the window, read to its end.
    pub fn snapshot(window: &Window, statuses: &[Status]) -> Self {
        let (kind, window, statuses) = (CoverageKind::Snapshot, window.clone(), statuses.to_vec());
        Self { kind, window, statuses, complete: true }
    }
}

impl Transaction {
    /// A row without an id; texts are cut to what the contract allows.
    #[inline]
    pub fn new(status: Status, amount: String, currency: &str, text: &str) -> Self {
        Self {
            id: None,
            stability: IdStability::None,
            supersedes: None,
            status,
            booked_on: None,
            valued_on: None,
            amount,
            currency: currency.to_owned(),
            text: clip(text, TEXT_CHARS_MAX),
            counterparty: None,
            balance_after: None,
            details: "{}".to_owned(),
        }
    }

    /// With an id, as stable as the bank promises.
    #[must_use]
    #[inline]
    pub fn with_id(self, id: &str, stability: IdStability) -> Self {
        Self { id: Some(id.to_owned()), stability, ..self }
    }

    /// With the days it was booked and valued on.
    #[must_use]
    #[inline]
    pub fn on(self, booked_on: Option<String>, valued_on: Option<String>) -> Self {
        Self { booked_on, valued_on, ..self }
    }

    /// With the name of who paid or was paid; an empty one is none.
    #[must_use]
    #[inline]
    pub fn with(self, counterparty: Option<&str>) -> Self {
        let name = counterparty.filter(|name| !name.is_empty());
        Self { counterparty: name.map(|name| clip(name, NAME_CHARS_MAX)), ..self }
    }

    /// With the account's booked balance after this row.
    #[must_use]
    #[inline]
    pub fn with_balance_after(self, balance_after: Option<String>) -> Self {
        Self { balance_after, ..self }
    }

    /// With what else the bank says, a JSON object of at most 16 KiB: see [`crate::json::Object::keep`].
    #[must_use]
    #[inline]
    pub fn with_details(self, details: String) -> Self {
        Self { details, ..self }
    }
}

impl Balance {
    /// A balance without credit; what can be spent and what is expected include pending rows.
    pub fn new(kind: BalanceKind, amount: String, currency: &str, as_of_ms: Option<u64>) -> Self {
        let includes_pending = matches!(kind, BalanceKind::Available | BalanceKind::Expected);
        let (currency, credit_included) = (currency.to_owned(), Credit::None);
        Self { kind, amount, currency, as_of_ms, includes_pending, credit_included }
    }

    /// With the credit that the bank counts in its amount.
    #[must_use]
    pub fn with_credit(self, credit_included: Credit) -> Self {
        Self { credit_included, ..self }
    }
}

/// At most so many characters.
pub fn clip(text: &str, chars: usize) -> String {
    if text.len() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_to_what_the_contract_allows() {
        let row = Transaction::new(Status::Booked, "1.00".into(), "GBP", &"ä".repeat(2_001));
        assert_eq!(row.text.chars().count(), 2_000);
        let row = row.with(Some(&"x".repeat(300)));
        assert_eq!(row.counterparty.as_deref().map(str::len), Some(256));
        assert_eq!(row.with(Some("")).counterparty, None);
    }

    #[test]
    fn only_what_may_be_spent_or_is_expected_includes_pending_rows() {
        let includes = |kind| Balance::new(kind, "1.00".into(), "GBP", None).includes_pending;
        assert!(includes(BalanceKind::Available) && includes(BalanceKind::Expected));
        assert!(!includes(BalanceKind::Booked) && !includes(BalanceKind::Closing));
    }

    #[test]
    fn no_credit_is_counted_unless_it_is_said() {
        let balance = Balance::new(BalanceKind::Booked, "600.00".into(), "GBP", None);
        assert_eq!(balance.credit_included, Credit::None);
        let with = balance.clone().with_credit(Credit::Included("500.00".into()));
        assert_eq!(with, Balance { credit_included: Credit::Included("500.00".into()), ..balance });
    }
}
