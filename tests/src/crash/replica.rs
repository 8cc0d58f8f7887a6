//! A business's own copy of an account, kept by cursor as the documentation says: if nothing is lost and nothing told
//! twice, it is what the service has.
//!
//! Must not know: the bank.

use super::findings::{Findings, Kind};
use crate::compare::{changes, rows};
use crate::http::{Api, text};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// The copy.
#[derive(Debug, Default, Clone)]
pub struct Replica {
    cursor: Option<String>,
    /// Of the last change.
    pub seq: i64,
    rows: BTreeMap<String, Line>,
}

/// Bank id, status, booking date, amount, currency, text.
type Line = [String; 6];

fn line(content: &Value) -> Line {
    ["/bank_id", "/status", "/booked_on", "/amount", "/currency", "/text"]
        .map(|at| text(content, at).to_owned())
}

impl Replica {
    /// Reads on, applies each change, and compares with the rows that the service shows.
    pub async fn follow(&mut self, api: &Api, account: &str, findings: &Findings) -> anyhow::Result<()> {
        let (told, cursor) = changes(api, account, self.cursor.as_deref()).await?;
        for change in &told {
            self.apply(account, change, findings);
        }
        self.cursor = Some(cursor);
        let shown = rows(api, account).await?;
        let mut ids = HashSet::new();
        for row in &shown {
            let bank_id = text(row, "/bank_id");
            if !bank_id.is_empty() && !ids.insert(bank_id) {
                findings.add(Kind::Doubled, format!("{account}: the bank's {bank_id} is there twice"));
            }
        }
        let shown: BTreeMap<String, Line> =
            shown.iter().map(|row| (text(row, "/id").to_owned(), line(row))).collect();
        if shown != self.rows {
            let missing: Vec<_> = self.rows.iter().filter(|(id, row)| shown.get(*id) != Some(row)).collect();
            let surplus: Vec<_> = shown.iter().filter(|(id, row)| self.rows.get(*id) != Some(row)).collect();
            let what = format!("{account}: replayed only {missing:?}, shown only {surplus:?}");
            findings.add(Kind::Lost, what);
        }
        Ok(())
    }

    fn apply(&mut self, account: &str, change: &Value, findings: &Findings) {
        let (seq, id) = (change["seq"].as_i64().unwrap_or(0), text(change, "/transaction_id").to_owned());
        if seq != self.seq + 1 {
            findings.add(Kind::Lost, format!("{account}: after seq {} comes {seq}", self.seq));
        }
        self.seq = seq;
        let after = change.get("after").filter(|after| !after.is_null()).map(line);
        let (kind, known) = (text(change, "/kind"), self.rows.contains_key(&id));
        match (kind, known) {
            ("added", true) => {
                findings.add(Kind::Doubled, format!("{account}: {id} was added twice, with seq {seq}"));
            }
            ("modified" | "removed", false) => {
                findings
                    .add(Kind::Lost, format!("{account}: {id} was {kind} and never added, with seq {seq}"));
            }
            _ => {}
        }
        match after {
            Some(after) => drop(self.rows.insert(id, after)),
            None => drop(self.rows.remove(&id)),
        }
    }
}
