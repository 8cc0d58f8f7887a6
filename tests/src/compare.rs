//! What is stored against what the bank has: row by row, and change by change.
//!
//! Must not know: what happened before.

use crate::bank::{Bank, BankChange, BankChangeKind, Row, RowStatus};
use crate::http::{Api, expect, items, text};
use anyhow::ensure;
use serde_json::Value;

/// All stored rows of an account, page by page.
pub async fn rows(api: &Api, account: &str) -> anyhow::Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut query = String::new();
    loop {
        let answer = api.get(&format!("/v1/accounts/{account}/transactions{query}")).await?;
        expect(&answer, 200)?;
        rows.extend(items(&answer).iter().cloned());
        match answer.body["next_cursor"].as_str() {
            Some(next) => query = format!("?cursor={next}"),
            None => return Ok(rows),
        }
    }
}

/// What a door of the bank tells of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// All of it.
    Everything,
    /// All but their ids.
    NoIds,
    /// Booked rows only, without ids.
    BookedWithoutIds,
    /// Booked rows up to yesterday, some with an id of the statement's.
    BookedByYesterday,
}

/// Stored rows and booked balance of one account against the bank's statement; how many rows.
pub async fn compare(api: &Api, account: &str, bank: &Bank, bank_id: &str) -> anyhow::Result<usize> {
    compare_told(api, account, bank, bank_id, Tells::Everything).await
}

/// The same at a door that does not tell everything.
pub async fn compare_told(
    api: &Api,
    account: &str,
    bank: &Bank,
    bank_id: &str,
    tells: Tells,
) -> anyhow::Result<usize> {
    let mut statement = bank.statement(bank_id)?;
    let (today, mut told_booked) = (bank.now().date_naive(), minor(&statement.booked));
    match tells {
        Tells::Everything | Tells::NoIds => {}
        Tells::BookedWithoutIds => statement.rows.retain(|row| row.status == RowStatus::Booked),
        Tells::BookedByYesterday => {
            let booked = |row: &Row| row.status == RowStatus::Booked;
            let of_today = statement.rows.iter().filter(|row| booked(row) && row.booked_on >= today);
            told_booked -= of_today.map(|row| minor(&row.amount)).sum::<i64>();
            statement.rows.retain(|row| booked(row) && row.booked_on < today);
        }
    }
    let mut stored: Vec<Line> = rows(api, account).await?.iter().map(our_line).collect();
    let mut theirs: Vec<Line> = statement.rows.iter().map(bank_line).collect();
    if tells != Tells::Everything {
        let with_id = stored.iter().filter(|line| !line[0].is_empty()).count();
        let may = tells == Tells::BookedByYesterday;
        ensure!(may || with_id == 0, "{account}: {with_id} rows have ids, which this door does not tell");
        stored.iter_mut().chain(&mut theirs).for_each(|line| line[0].clear());
    }
    stored.sort();
    theirs.sort();
    let missing: Vec<_> = theirs.iter().filter(|line| !stored.contains(line)).collect();
    let surplus: Vec<_> = stored.iter().filter(|line| !theirs.contains(line)).collect();
    ensure!(stored == theirs, "{account}: missing {missing:#?}, surplus {surplus:#?}");
    let balances = api.get(&format!("/v1/accounts/{account}/balances")).await?;
    let booked = items(&balances).iter().find(|balance| text(balance, "/kind") == "booked");
    // The credit that the bank counts in is not the customer's.
    let own =
        |balance: &Value| Some(minor(text(balance, "/amount")) - minor(balance["credit_included"].as_str()?));
    let booked = booked.and_then(own);
    ensure!(booked == Some(told_booked), "booked {booked:?}, the bank has {told_booked}, in minor units");
    Ok(stored.len())
}

/// An amount of two decimals in minor units.
fn minor(amount: &str) -> i64 {
    amount.replace('.', "").parse().unwrap_or(i64::MAX)
}

/// All changes of an account after a cursor, and the cursor after them.
pub async fn changes(api: &Api, account: &str, cursor: Option<&str>) -> anyhow::Result<(Vec<Value>, String)> {
    let mut cursor = cursor.map(str::to_owned);
    let mut changes = Vec::new();
    loop {
        let query = cursor.as_ref().map_or_else(String::new, |cursor| format!("?cursor={cursor}"));
        let answer = api.get(&format!("/v1/accounts/{account}/changes{query}")).await?;
        expect(&answer, 200)?;
        changes.extend(items(&answer).iter().cloned());
        let next = answer.text("/next_cursor").to_owned();
        if answer.body["has_more"] != true {
            return Ok((changes, next));
        }
        cursor = Some(next);
    }
}

/// Changes that were told are exactly what the bank did to the account since the mark: how many of each kind.
pub fn tally(told: &[Value], bank: &Bank, bank_id: &str, mark: usize) -> anyhow::Result<String> {
    let did = bank.changes_since(mark);
    let mut expected: Vec<_> =
        did.iter().filter(|change| change.account == bank_id).map(bank_change).collect();
    let mut told: Vec<_> = told.iter().map(our_change).collect();
    expected.sort();
    told.sort();
    ensure!(told == expected, "changes differ\ntold     {told:#?}\nexpected {expected:#?}");
    let count = |kind: &str| told.iter().filter(|change| change.0 == kind).count();
    Ok(format!(
        "{} added, {} modified, {} removed, exactly what the bank did",
        count("added"),
        count("modified"),
        count("removed")
    ))
}

/// Bank id, status, booking date, amount, currency, narration.
type Line = [String; 6];

fn bank_line(row: &Row) -> Line {
    let status = if row.status == RowStatus::Booked { "booked" } else { "pending" };
    let (id, day) = (row.id.clone(), row.booked_on.to_string());
    [id, status.into(), day, row.amount.clone(), row.currency.clone(), row.text.clone()]
}

fn our_line(row: &Value) -> Line {
    ["/bank_id", "/status", "/booked_on", "/amount", "/currency", "/text"].map(|at| text(row, at).to_owned())
}

/// Kind, row before and row after, of what the bank did.
fn bank_change(change: &BankChange) -> (String, Option<Line>, Option<Line>) {
    let kind = match change.kind {
        BankChangeKind::Added => "added",
        BankChangeKind::Settled | BankChangeKind::Modified => "modified",
        BankChangeKind::Removed => "removed",
    };
    (kind.to_owned(), change.before.as_ref().map(bank_line), change.after.as_ref().map(bank_line))
}

/// The same of what the service told.
fn our_change(change: &Value) -> (String, Option<Line>, Option<Line>) {
    let side = |name: &str| change.get(name).filter(|side| !side.is_null()).map(our_line);
    (text(change, "/kind").to_owned(), side("before"), side("after"))
}
