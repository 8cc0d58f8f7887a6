//! Looks at a bank, made from bytes: each begins with the rows of the one before and changes some of them, as banks
//! do.

use super::bytes::Bytes;
use chrono::{Days, NaiveDate};
use host::ledger::Observed;
use host::model::{
    Balance, BalanceKind, Coverage, Credit, Currency, IdStability, Money, Timestamp, Transaction,
    TransactionStatus, Window,
};

/// Rows of a look: enough for blocks of equal rows, few enough for thousands of runs a second.
const ROWS_MAX: usize = 16;
/// Changes of the rows between two looks.
const EDITS_MAX: usize = 8;

const TEXTS: [&str; 5] = ["Coffee", "Coffee London", "Rent", "", "ÄÖ 銀行"];
const IDS: [Option<&str>; 8] =
    [None, Some("a"), Some("b"), Some("c"), Some("d"), Some("e"), Some("f"), Some("")];
const AMOUNTS: [i64; 10] = [-320, -320, -100, 100, -350, 5, 0, 99_999, i64::MAX, i64::MIN];
const STABILITIES: [IdStability; 4] =
    [IdStability::Immutable, IdStability::Provisional, IdStability::Positional, IdStability::None];
const STATUSES: [TransactionStatus; 2] = [TransactionStatus::Booked, TransactionStatus::Pending];

/// What one look showed, and whether it may be taken though it shows too little.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) observed: Observed,
    pub(super) allow_incomplete: bool,
    /// The first day that the index of the next look should speak of.
    pub(super) index_from: NaiveDate,
}

/// Most days are near each other; some are as far away as a bank can write.
fn day(bytes: &mut Bytes<'_>) -> NaiveDate {
    let near = |day: u64| first_day() + Days::new(day);
    match bytes.byte() {
        250.. => near(60),
        240.. => NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or_default(),
        230.. => NaiveDate::from_ymd_opt(0, 1, 1).unwrap_or_default(),
        byte => near(u64::from(byte % 24)),
    }
}

fn first_day() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, 1).unwrap_or_default()
}

fn money(bytes: &mut Bytes<'_>) -> Money {
    let minor = bytes.of(&AMOUNTS);
    let code = if bytes.one_in(16) { "EUR" } else { "GBP" };
    Money { minor, currency: currency(code) }
}

fn currency(code: &str) -> Currency {
    Currency::from_code(code).unwrap_or_else(|| unreachable!("{code}"))
}

fn row(bytes: &mut Bytes<'_>) -> Transaction {
    let status = if bytes.one_in(4) { TransactionStatus::Pending } else { TransactionStatus::Booked };
    Transaction {
        bank_id: bytes.of(&IDS).map(str::to_owned),
        stability: bytes.of(&STABILITIES),
        supersedes: if bytes.one_in(8) { bytes.of(&IDS).map(str::to_owned) } else { None },
        status,
        booked_on: (!bytes.one_in(8)).then(|| day(bytes)),
        valued_on: bytes.one_in(4).then(|| day(bytes)),
        money: money(bytes),
        text: bytes.of(&TEXTS).to_owned(),
        counterparty: bytes.one_in(4).then(|| "Shop".to_owned()),
        balance_after: bytes.one_in(4).then(|| bytes.of(&AMOUNTS)),
        details: "{}".to_owned(),
    }
}

/// What the bank does to its rows.
fn edit(bytes: &mut Bytes<'_>, rows: &mut Vec<Transaction>) {
    let what = bytes.below(12);
    if what < 3 || rows.is_empty() {
        if rows.len() < ROWS_MAX {
            rows.push(row(bytes));
        }
        return;
    }
    let place = bytes.below(rows.len());
    let other = bytes.below(rows.len());
    match what {
        3 => drop(rows.remove(place)),
        4 if rows.len() < ROWS_MAX => rows.push(rows[place].clone()),
        4 | 5 => rows.swap(place, other),
        6 => rows[place].money = money(bytes),
        7 => rows[place].booked_on = Some(day(bytes)),
        8 => rows[place].text = bytes.of(&TEXTS).to_owned(),
        9 => rows[place].bank_id = bytes.of(&IDS).map(str::to_owned),
        10 => rows[place].status = bytes.of(&STATUSES),
        _ => rows[place].supersedes = rows[other].bank_id.clone(),
    }
}

/// The next look, beside the one before.
pub(super) fn next(bytes: &mut Bytes<'_>, before: Option<&Look>) -> Look {
    let mut rows = before.map_or_else(Vec::new, |look| look.observed.transactions.clone());
    for _ in 0..bytes.below(EDITS_MAX + 1) {
        edit(bytes, &mut rows);
    }
    let balances = balances(bytes, &rows);
    let coverage = (!bytes.one_in(8)).then(|| coverage(bytes));
    let removed = if bytes.one_in(8) { vec![bytes.of(&IDS).unwrap_or_default().to_owned()] } else { vec![] };
    let today = (!bytes.one_in(8)).then(|| first_day() + Days::new(24 + u64::from(bytes.byte() % 64)));
    let observed = Observed {
        transactions: rows,
        removed,
        balances,
        coverage,
        today,
        is_all: bytes.one_in(2),
        held_from: bytes.one_in(8).then(|| day(bytes)),
    };
    Look { observed, allow_incomplete: bytes.one_in(8), index_from: day(bytes) }
}

/// None, the right one, or one that is wrong in some way; a statement's own two.
fn balances(bytes: &mut Bytes<'_>, rows: &[Transaction]) -> Vec<Balance> {
    let gbp = currency("GBP");
    let counts = |row: &&Transaction| row.status == TransactionStatus::Booked && row.money.currency == gbp;
    let sum = rows.iter().filter(counts).fold(0_i64, |sum, row| sum.saturating_add(row.money.minor));
    let balance = |kind, minor| Balance {
        kind,
        money: Money { minor, currency: gbp },
        as_of: None,
        includes_pending: false,
        credit_included: Credit::None,
    };
    let booked = |minor| vec![balance(BalanceKind::Booked, minor)];
    match bytes.below(12) {
        0 | 1 => Vec::new(),
        2 => booked(sum.saturating_add(bytes.of(&AMOUNTS))),
        3 => booked(bytes.of(&AMOUNTS)),
        4 => {
            let opening = bytes.of(&AMOUNTS);
            let closing = opening.saturating_add(sum).saturating_add(if bytes.one_in(4) { 1 } else { 0 });
            vec![balance(BalanceKind::Opening, opening), balance(BalanceKind::Closing, closing)]
        }
        5 => {
            let credit_included = bytes.of(&[Credit::Included(500), Credit::Unknown]);
            let all = booked(sum.saturating_add(500)).into_iter();
            all.map(|balance| Balance { credit_included, ..balance }).collect()
        }
        6 => {
            let all = booked(sum).into_iter();
            all.map(|balance| Balance { includes_pending: true, ..balance }).collect()
        }
        7 => {
            let seconds = i64::from(bytes.byte()) * 12 * 3_600;
            let as_of = Some(Timestamp(1_772_323_200_000_000 + seconds * 1_000_000));
            booked(sum).into_iter().map(|balance| Balance { as_of, ..balance }).collect()
        }
        8 => vec![Balance {
            money: Money { minor: sum, currency: currency("EUR") },
            ..balance(BalanceKind::Booked, 0)
        }],
        _ => booked(sum),
    }
}

fn coverage(bytes: &mut Bytes<'_>) -> Coverage {
    let whole = Window { since: first_day() - Days::new(1), until: first_day() + Days::new(90) };
    let window = if bytes.one_in(4) { Window { since: day(bytes), until: day(bytes) } } else { whole };
    let statuses = match bytes.below(8) {
        6 => vec![TransactionStatus::Booked],
        7 => vec![TransactionStatus::Pending],
        _ => STATUSES.to_vec(),
    };
    Coverage { snapshot: !bytes.one_in(8), window, statuses, complete: !bytes.one_in(8) }
}
