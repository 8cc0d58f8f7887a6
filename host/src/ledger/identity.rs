//! When are two rows the same row, the same contents, or merely alike?

use crate::model::{IdStability, Transaction, TransactionStatus};
use chrono::NaiveDate;
use std::collections::HashMap;

/// What makes two rows equal when ids don't decide.
pub(super) type ContentKey = (TransactionStatus, Option<NaiveDate>, i64, &'static str, String, Option<i64>);

/// The key; equal rows are twins and told apart by their number only.
pub(super) fn content_key(row: &Transaction) -> ContentKey {
    (
        row.status,
        row.booked_on,
        row.money.minor,
        row.money.currency.code(),
        normalised(&row.text),
        row.balance_after,
    )
}

/// Rows as seen, those that stand on two pages only once. Banks page over lists that move
/// (UK Open Banking promises no isolation), so a row may come twice; with an id and equal contents
/// it is one row. Without a usable id two equal rows are twins.
pub(super) fn without_repeats(rows: &[Transaction]) -> Vec<&Transaction> {
    let mut first: HashMap<&str, &Transaction> = HashMap::new();
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        let id = usable_id(row);
        match id.and_then(|id| first.get(id)) {
            Some(earlier) if *earlier == row => {}
            _ => {
                if let Some(id) = id {
                    first.entry(id).or_insert(row);
                }
                kept.push(row);
            }
        }
    }
    kept
}

/// The id, if the bank means it to name the row rather than its place.
pub(super) fn usable_id(row: &Transaction) -> Option<&str> {
    match row.stability {
        IdStability::Immutable | IdStability::Provisional => {
            row.bank_id.as_deref().filter(|id| !id.is_empty())
        }
        IdStability::Positional | IdStability::None => None,
    }
}

/// Two rows with one id that can't be one row: amount and date both differ.
pub(super) fn id_conflict(old: &Transaction, new: &Transaction) -> bool {
    old.money != new.money && old.booked_on != new.booked_on && old.status == new.status
}

/// Is there anything to tell? A new id alone is not: ids are claims. Nor is a new running balance,
/// which moves whenever an earlier row is inserted.
pub(super) fn differs(old: &Transaction, new: &Transaction) -> bool {
    old.status != new.status
        || old.booked_on != new.booked_on
        || old.valued_on != new.valued_on
        || old.money != new.money
        || old.text != new.text
        || old.counterparty != new.counterparty
        || old.details != new.details
}

/// Letters and digits in lower case, words separated by one space.
pub(super) fn normalised(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        if !words.is_empty() {
            words.push(' ');
        }
        words.extend(word.chars().flat_map(char::to_lowercase));
    }
    words
}

/// Do the texts speak of the same business?
pub(super) fn alike(old: &Transaction, new: &Transaction) -> bool {
    let same_party = match (&old.counterparty, &new.counterparty) {
        (Some(old), Some(new)) => normalised(old) == normalised(new),
        _ => false,
    };
    let (old, new) = (normalised(&old.text), normalised(&new.text));
    same_party || (!old.is_empty() && !new.is_empty() && (old.starts_with(&new) || new.starts_with(&old)))
}

/// An order of rows that does not depend on how the bank listed them.
pub(super) fn order(row: &Transaction) -> impl Ord + '_ {
    (
        row.booked_on.or(row.valued_on).unwrap_or(NaiveDate::MAX),
        row.status,
        row.balance_after,
        row.money.minor,
        row.text.as_str(),
        row.bank_id.as_deref(),
        row.details.as_str(),
    )
}
