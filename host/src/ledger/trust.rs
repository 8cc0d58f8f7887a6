//! Do the bank's ids still name rows, or has it contradicted itself?
//!
//! What an id that names a row can't do: stand at two rows of one reading; go to a row of another amount and another
//! day, or from a booked row to an announced one; move on to another business while its own row stands under another
//! id; or do so together with others, as positions in a list do when a row is inserted.

use super::counted::compared;
use super::identity::{Content, Ids, Row, alike};
use crate::model::{StoredTransaction, Transaction, TransactionStatus};
use foldhash::{HashMap, HashMapExt, HashSet};

/// Ids that went to another row while their own row stands under a new id: one may be a correction beside a
/// twin, two are positions.
const MOVED_IDS: usize = 2;

/// Whether the ids of this reading can be believed, given what is held.
pub(super) fn judge(known: &[StoredTransaction], old: &[Row<'_>], shown: &[&Transaction]) -> Ids {
    let ids = Ids::Believed;
    let mut seen: HashMap<&str, &Transaction> = HashMap::with_capacity(shown.len());
    for row in shown.iter().copied() {
        let Some(id) = ids.of(row) else { continue };
        compared();
        let last = seen.entry(id).or_insert(row);
        if are_two(last, row) {
            return Ids::Demoted;
        }
        // One that was shown before and after it was booked is booked.
        if row.status == TransactionStatus::Booked || last.status == TransactionStatus::Pending {
            *last = row;
        }
    }
    let mut changed = Vec::new();
    for (held, row) in known.iter().zip(old) {
        compared();
        let Some(now) = ids.of(&held.transaction).and_then(|id| seen.get(id)) else { continue };
        let (amount, day) = (row.of.money != now.money, row.of.booked_on != now.booked_on);
        match (row.of.status, now.status) {
            // What was announced may be booked with another amount, on another day; what is booked is not announced.
            (TransactionStatus::Pending, TransactionStatus::Booked) => continue,
            (TransactionStatus::Booked, TransactionStatus::Pending) if amount || day => return Ids::Demoted,
            _ => {}
        }
        match (amount, day) {
            (true, true) => return Ids::Demoted,
            (false, false) if row.of.text == now.text => {}
            _ => changed.push((row, *now)),
        }
    }
    if changed.is_empty() {
        return ids;
    }
    let new: Vec<Row<'_>> = shown.iter().copied().map(Row::new).collect();
    let contents: HashSet<Content<'_>> = new.iter().map(Row::content).collect();
    let own: HashSet<_> = new.iter().map(|row| (ids.of(row.of), row.content())).collect();
    // What stands under its own id, too, is one row in two wordings.
    changed.retain(|(row, _)| {
        contents.contains(&row.content()) && !own.contains(&(ids.of(row.of), row.content()))
    });
    let is_another = |(row, now): &(&Row<'_>, &Transaction)| {
        let differs = row.of.money != now.money || row.of.booked_on != now.booked_on;
        differs && !alike(row, &Row::new(now))
    };
    if changed.len() >= MOVED_IDS || changed.iter().any(is_another) { Ids::Demoted } else { ids }
}

/// One id, two rows: not the same one that was shown twice, before and after it was booked or described anew.
fn are_two(one: &Transaction, other: &Transaction) -> bool {
    let reads_alike = || one.text == other.text || alike(&Row::new(one), &Row::new(other));
    one.status == other.status
        && (one.money != other.money || one.booked_on != other.booked_on || !reads_alike())
}
