//! What the last look showed, small: a day and a hash per row, so that a look that shows the same is known for
//! what it is without any row being read or written.
//!
//! Only rows that the next look asks for are kept. Whoever stores it seals it: hashes of short texts can be
//! guessed.

use super::identity::Ids;
use super::{Observed, Verdict, booked_balance, covers_day, proof};
use crate::model::*;
use aws_lc_rs::digest;
use chrono::{Datelike, NaiveDate};

/// The first byte: raised when the meaning of the others changes.
const VERSION: u8 = 1;
/// Bytes of a hash: two rows of one account with the same 128 bits of SHA-256 do not happen.
const HASH: usize = 16;
/// Bytes of a row: its day, and its hash.
const ENTRY: usize = 4 + HASH;
/// Rows of an index: 20 kB. A look that shows more is compared row by row.
pub const INDEX_ROWS_MAX: usize = 1_000;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The first day that it speaks of.
    since: NaiveDate,
    /// In order.
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: [u8; HASH],
    /// None for a row that belongs to every day.
    day: Option<NaiveDate>,
}

impl Index {
    /// What was shown of the days from `since` on. None if the same rows could mean something else the next
    /// time: a row is missed, or waits for its end, or the list was not read to its end.
    pub fn of(
        observed: &Observed,
        verdict: &Verdict,
        known: &[StoredTransaction],
        since: NaiveDate,
    ) -> Option<Self> {
        let (standing, missed) = (&verdict.standing, &verdict.missed);
        let coverage =
            observed.coverage.as_ref().filter(|coverage| coverage.complete && coverage.snapshot)?;
        let cleared = |number| missed.iter().any(|(other, misses)| *other == number && *misses == 0);
        let waits = |row: &StoredTransaction| {
            (row.missed > 0 && !cleared(row.id.number))
                || (row.transaction.status == TransactionStatus::Pending
                    && !coverage.statuses.contains(&TransactionStatus::Pending))
        };
        if missed.iter().any(|(_, misses)| *misses > 0) || known.iter().any(waits) {
            return None;
        }
        let since = since.max(coverage.window.since);
        let mut entries: Vec<Entry> = entries(observed, standing);
        entries.retain(|entry| entry.day.is_none_or(|day| day >= since));
        (entries.len() <= INDEX_ROWS_MAX).then_some(Self { since, entries })
    }

    /// Whether this look shows just what the last one did, and how its balance judges that.
    pub fn unchanged(&self, standing: &Standing, observed: &Observed) -> Option<Proof> {
        let coverage = observed.coverage.as_ref()?;
        if !observed.removed.is_empty() || !self.serves(coverage) {
            return None;
        }
        let proof = judge(standing, observed)?;
        let shown = entries(observed, standing);
        let mut held = self.entries.iter();
        for entry in &shown {
            // Skipped ones are not shown: right, if the look does not reach them.
            loop {
                let next = held.next()?;
                if next == entry {
                    break;
                }
                if next > entry || covers_day(coverage, next.day) {
                    return None;
                }
            }
        }
        held.all(|left| !covers_day(coverage, left.day)).then_some(proof)
    }

    fn serves(&self, coverage: &Coverage) -> bool {
        coverage.complete
            && coverage.snapshot
            && coverage.window.since >= self.since
            && coverage.statuses.contains(&TransactionStatus::Booked)
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(5 + self.entries.len() * ENTRY);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.since.num_days_from_ce().to_be_bytes());
        for entry in &self.entries {
            let day = entry.day.map_or(0, |day| day.num_days_from_ce());
            bytes.extend_from_slice(&day.to_be_bytes());
            bytes.extend_from_slice(&entry.hash);
        }
        bytes
    }

    /// From bytes; none if they are not ours.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let day = |bytes: &[u8; 4]| match i32::from_be_bytes(*bytes) {
            0 => Some(None),
            day => NaiveDate::from_num_days_from_ce_opt(day).map(Some),
        };
        let (version, rest) = bytes.split_first()?;
        let (since, rest) = rest.split_first_chunk::<4>()?;
        let (chunks, left) = rest.as_chunks::<ENTRY>();
        if *version != VERSION || !left.is_empty() {
            return None;
        }
        let entry = |chunk: &[u8; ENTRY]| {
            let (first, hash) = chunk.split_first_chunk::<4>()?;
            Some(Entry { hash: hash.try_into().ok()?, day: day(first)? })
        };
        Some(Self { since: day(since)??, entries: chunks.iter().map(entry).collect::<Option<_>>()? })
    }
}

/// Only a look whose balance leaves nothing open can be unchanged.
fn judge(standing: &Standing, observed: &Observed) -> Option<Proof> {
    let agrees =
        |expected: Money, found: Money| expected.currency == found.currency && expected.minor == found.minor;
    match (proof::adds_up(observed), standing.expected, booked_balance(&observed.balances)) {
        (Some(false), _, _) => None,
        (Some(true), _, None) => Some(Proof::Proved),
        (_, Some(expected), Some(found)) => agrees(expected, found).then_some(Proof::Proved),
        (_, None, Some(_)) => None,
        (None, _, None) => Some(Proof::Unproved),
    }
}

fn entries(observed: &Observed, standing: &Standing) -> Vec<Entry> {
    let ids = if standing.ids_demoted { Ids::Demoted } else { Ids::Believed };
    let mut bytes = Vec::new();
    let mut entries: Vec<Entry> = observed
        .transactions
        .iter()
        .map(|row| {
            // A pending row belongs to the days after its own, too.
            let own = row.booked_on.or(row.valued_on);
            let day = match row.status {
                TransactionStatus::Booked => row.booked_on,
                TransactionStatus::Pending => {
                    own.filter(|day| observed.today.is_some_and(|today| *day < today))
                }
            };
            Entry { hash: hash(ids, row, &mut bytes), day }
        })
        .collect();
    entries.sort_unstable();
    entries
}

/// Everything that a row is compared by; `bytes` is room to write it down.
fn hash(ids: Ids, row: &Transaction, bytes: &mut Vec<u8>) -> [u8; HASH] {
    bytes.clear();
    for part in [
        ids.of(row),
        row.supersedes.as_deref(),
        Some(&row.text),
        row.counterparty.as_deref(),
        Some(&row.details),
        Some(row.money.currency.code()),
    ] {
        let length = part.map_or(u32::MAX, |text| u32::try_from(text.len()).unwrap_or(u32::MAX - 1));
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part.unwrap_or("").as_bytes());
    }
    let day = |day: Option<NaiveDate>| day.map_or(0, |day| day.num_days_from_ce());
    for number in [
        row.status as i64,
        row.stability as i64,
        i64::from(day(row.booked_on)),
        i64::from(day(row.valued_on)),
        row.money.minor,
        i64::from(row.balance_after.is_some()),
        row.balance_after.unwrap_or(0),
    ] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    let whole = digest::digest(&digest::SHA256, bytes);
    let mut hash = [0; HASH];
    hash.iter_mut().zip(whole.as_ref()).for_each(|(into, from)| *into = *from);
    hash
}
