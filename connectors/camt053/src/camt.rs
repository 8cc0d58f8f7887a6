//! Statements: an account, its days, its balances, its rows. One row that cannot be read is the fault of its
//! statement, not of its sisters.

use crate::entry::{Entry, entry, money};
use tidegate_sdk::xml::{self, Element};
use tidegate_sdk::{
    Account, Balance, BalanceKind, Credit, Failure, IdStability, Transaction, Window, date, decimal,
};

/// Milliseconds of a day, but for its last second.
const DAY_MS: u64 = 86_399_000;

/// One `Stmt`.
#[derive(Default)]
pub struct Statement {
    /// Whose.
    pub account: Option<Account>,
    days: Option<Window>,
    /// At the start of the first day.
    pub opening: Option<Balance>,
    /// At the end of the last.
    pub closing: Option<Balance>,
    entries: Vec<Entry>,
    /// What cannot be read: the row, if it is one, and the element.
    pub fault: Option<(Option<usize>, &'static str)>,
    read: usize,
}

/// All accounts that a document names, each once.
pub fn accounts(text: &str) -> Result<Vec<Account>, Failure> {
    let (mut found, mut fault) = (Vec::<Account>::new(), None);
    let take = |element: Element| match account(&element) {
        Ok(account) if found.iter().all(|known| known.id != account.id) => found.push(account),
        Ok(_) => {}
        Err(field) => fault = Some(field),
    };
    xml::elements(text, &[], &["Acct"], take).ok_or_else(|| Failure::unreadable(None, "xml"))?;
    match fault {
        Some(field) => Err(Failure::unreadable(None, field)),
        None => Ok(found),
    }
}

/// The statements of a document, or of several that follow each other.
pub fn statements(text: &str) -> Result<Vec<Statement>, Failure> {
    let mut statements = Vec::<Statement>::new();
    let take = |element: Element| match (element.name(), statements.last_mut()) {
        ("Stmt", _) => statements.push(Statement::default()),
        (_, Some(statement)) => statement.take(&element),
        _ => {}
    };
    let parts = ["Acct", "FrToDt", "Bal", "Ntry"];
    xml::elements(text, &["Stmt"], &parts, take).ok_or_else(|| Failure::unreadable(None, "xml"))?;
    Ok(statements)
}

/// `Acct`: its IBAN is its id; or whatever else the bank calls it.
fn account(element: &Element) -> Result<Account, &'static str> {
    let iban = element.text(&["Id", "IBAN"]);
    let id = iban.or(element.text(&["Id", "Othr", "Id"])).ok_or("Acct.Id")?;
    let name = element.text(&["Nm"]).or(element.text(&["Ownr", "Nm"])).unwrap_or_default();
    let currency = element.text(&["Ccy"]).ok_or("Acct.Ccy")?;
    let owned = str::to_owned;
    Ok(Account { id: owned(id), name: owned(name), currency: owned(currency), number: iban.map(owned) })
}

impl Statement {
    fn take(&mut self, element: &Element) {
        let row = (element.name() == "Ntry").then_some(self.read);
        let taken = match element.name() {
            "Acct" => account(element).map(|account| self.account = Some(account)),
            "FrToDt" => days(element).map(|days| self.days = Some(days)),
            "Bal" => self.balance(element),
            _ => entry(element).map(|entry| self.entries.extend(entry)),
        };
        self.read += usize::from(row.is_some());
        if let Err(field) = taken {
            self.fault = self.fault.or(Some((row, field)));
        }
    }

    fn balance(&mut self, element: &Element) -> Result<(), &'static str> {
        let (kind, into) = match element.text(&["Tp", "CdOrPrtry", "Cd"]) {
            Some("OPBD" | "PRCD") => (BalanceKind::Opening, &mut self.opening),
            Some("CLBD") => (BalanceKind::Closing, &mut self.closing),
            _ => return Ok(()), // interim, available, forward: they prove nothing
        };
        let (amount, currency, _) = money(element)?;
        let as_of = match (element.text(&["Dt", "Dt"]), element.text(&["Dt", "DtTm"])) {
            // A day's closing balance is that of its end.
            (Some(day), _) if kind == BalanceKind::Closing => date::unix_ms(day).map(|start| start + DAY_MS),
            (Some(moment), _) | (None, Some(moment)) => date::unix_ms(moment),
            (None, None) => None,
        };
        let balance = Balance::new(kind, amount, &currency, Some(as_of.ok_or("Bal.Dt")?));
        *into = Some(balance.with_credit(credit(element, &currency)?));
        Ok(())
    }

    /// The days it is about: said, or from balance to balance.
    pub fn days(&self) -> Option<Window> {
        let day = |balance: &Option<Balance>| {
            let moment = date::iso(balance.as_ref()?.as_of_ms?);
            date::civil(&moment).map(str::to_owned)
        };
        let said = || Some(Window { since: day(&self.opening)?, until: day(&self.closing)? });
        self.days.clone().or_else(said)
    }

    /// Its rows, with ids where the bank's references are one row's alone: a row that was taken back may come
    /// again, corrected, under its old reference, and a reversal may have that of what it reverses.
    pub fn rows(self) -> Vec<Transaction> {
        let reversals = self.entries.iter().filter(|entry| entry.reversal);
        let reversed: Vec<String> = reversals.filter_map(|entry| entry.reference.clone()).collect();
        let unique =
            |reference: &String| !reversed.iter().any(|reversed| reversed.starts_with(reference.as_str()));
        let rows = self.entries.into_iter().map(|Entry { row, reference, reversal }| {
            match reference.filter(|reference| !reversal && unique(reference)) {
                Some(id) => row.with_id(&id, IdStability::Immutable),
                None => row,
            }
        });
        rows.collect()
    }
}

/// The credit that a `Bal` counts in its amount.
fn credit(balance: &Element, currency: &str) -> Result<Credit, &'static str> {
    let mut included =
        balance.all("CdtLine").filter(|line| matches!(line.text(&["Incl"]), Some("true" | "1")));
    let (Some(line), other) = (included.next(), included.next()) else { return Ok(Credit::None) };
    match line.at(&["Amt"]).filter(|amount| other.is_none() && amount.currency() == Some(currency)) {
        Some(amount) => {
            let written = amount.text(&[]).and_then(|text| decimal::with_sign(text, false));
            Ok(Credit::Included(written.ok_or("CdtLine.Amt")?))
        }
        // Of no size or in another currency; or several, which may be one line and what is left of it.
        None => Ok(Credit::Unknown),
    }
}

fn days(element: &Element) -> Result<Window, &'static str> {
    let day = |name: &str, or: &str| {
        let written = element.text(&[name]).or(element.text(&[or]))?;
        date::civil(written).map(str::to_owned)
    };
    let (since, until) = (day("FrDtTm", "FrDt"), day("ToDtTm", "ToDt"));
    since.zip(until).map(|(since, until)| Window { since, until }).ok_or("FrToDt")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::fixtures::{ACCOUNTS, KEPT, STATEMENT};

    #[test]
    fn accounts_are_collected_wherever_they_stand() {
        let ids = |text: &str| -> Vec<String> {
            accounts(text).unwrap().into_iter().map(|account| account.id).collect()
        };
        let both = ["GB82DEMO40051560000001", "GB55DEMO40051560000002"];
        assert_eq!(ids(ACCOUNTS), both);
        assert_eq!(ids(STATEMENT), both);
        assert_eq!(ids(KEPT), ["NL41MOCK0000000001"], "named by two statements");
        let first = &accounts(ACCOUNTS).unwrap()[0];
        assert_eq!((first.name.as_str(), first.currency.as_str()), ("Everyday & co", "GBP"));
        assert_eq!(first.number.as_deref(), Some("GB82DEMO40051560000001"));
        let other =
            "<A><Acct><Id><Othr><Id>7</Id></Othr></Id><Ccy>EUR</Ccy><Ownr><Nm>Ada</Nm></Ownr></Acct></A>";
        let expected = Account { id: "7".into(), name: "Ada".into(), currency: "EUR".into(), number: None };
        assert_eq!(accounts(other), Ok(vec![expected]));
        assert_eq!(accounts("<A><Acct/></A>"), Err(Failure::unreadable(None, "Acct.Id")));
        assert_eq!(accounts("<A>"), Err(Failure::unreadable(None, "xml")));
    }

    #[test]
    fn a_statement_has_its_days_balances_and_rows() {
        let mut statements = statements(STATEMENT).unwrap();
        assert_eq!(statements.len(), 2);
        let first = statements.remove(0);
        assert_eq!(first.days(), Some(Window { since: "2025-12-20".into(), until: "2026-03-19".into() }));
        let opening = first.opening.clone().unwrap();
        assert_eq!((opening.amount.as_str(), opening.as_of_ms), ("-10.00", date::unix_ms("2025-12-20")));
        let closing = first.closing.clone().unwrap();
        assert_eq!(
            (closing.amount.as_str(), closing.as_of_ms),
            ("-12.80", date::unix_ms("2026-03-19T23:59:59Z"))
        );
        let rows = first.rows();
        let ids: Vec<_> = rows.iter().map(|row| row.id.as_deref()).collect();
        assert_eq!(ids, [Some("9f3c-2a"), None, None, None], "interest, a reversal, and what comes again");
        let empty = statements.remove(0);
        assert!(empty.fault.is_none() && empty.rows().is_empty());
    }

    #[test]
    fn days_that_are_not_said_are_those_between_the_balances() {
        let (before, rest) = STATEMENT.split_once("<FrToDt>").unwrap();
        let (_, after) = rest.split_once("</FrToDt>").unwrap();
        let first = statements(&format!("{before}{after}")).unwrap().remove(0);
        assert_eq!(first.days(), Some(Window { since: "2025-12-20".into(), until: "2026-03-19".into() }));
    }

    #[test]
    fn credit_that_a_balance_counts_is_told_and_left_in_its_amount() {
        let check = |lines: &str, expected: Result<Credit, &'static str>| {
            let balance = format!("<Bal>{lines}</Bal>");
            let mut found = None;
            tidegate_sdk::xml::elements(&balance, &[], &["Bal"], |one| found = Some(one)).unwrap();
            assert_eq!(credit(&found.unwrap(), "GBP"), expected, "{lines}");
        };
        let line = |incl: &str, amount: &str| format!("<CdtLine><Incl>{incl}</Incl>{amount}</CdtLine>");
        let (gbp, eur) = ("<Amt Ccy='GBP'>500.00</Amt>", "<Amt Ccy='EUR'>500.00</Amt>");
        let included = || Ok(Credit::Included("500.00".into()));
        check("", Ok(Credit::None));
        check(&line("false", gbp), Ok(Credit::None));
        check(&line("true", gbp), included());
        check(&format!("{}{}", line("0", gbp), line("1", gbp)), included());
        check(&line("true", ""), Ok(Credit::Unknown));
        check(&line("true", eur), Ok(Credit::Unknown));
        check(&format!("{}{}", line("true", gbp), line("true", gbp)), Ok(Credit::Unknown));
        check(&line("true", "<Amt Ccy='GBP'>-5</Amt>"), Err("CdtLine.Amt"));
        let line = "<CdtLine><Incl>true</Incl><Amt Ccy=\"GBP\">7.20</Amt></CdtLine>";
        let text = STATEMENT.replacen("</CdOrPrtry></Tp>", &format!("</CdOrPrtry></Tp>{line}"), 1);
        let opening = statements(&text).unwrap().remove(0).opening.unwrap();
        let expected = ("-10.00", Credit::Included("7.20".into()));
        assert_eq!((opening.amount.as_str(), opening.credit_included), expected);
    }

    #[test]
    fn one_unreadable_row_is_the_fault_of_its_statement_alone() {
        let spoilt = STATEMENT.replacen(
            "<Amt Ccy=\"GBP\">3.20</Amt><CdtDbtInd>CRDT",
            "<Amt Ccy=\"GBP\">x</Amt><CdtDbtInd>CRDT",
            1,
        );
        let statements = statements(&spoilt).unwrap();
        assert_eq!(statements[0].fault, Some((Some(1), "Amt")));
        assert_eq!(statements[1].fault, None);
        let spoilt = STATEMENT.replacen("<Dt>2026-03-19</Dt></Dt></Bal>", "<Dt>x</Dt></Dt></Bal>", 1);
        assert_eq!(super::statements(&spoilt).unwrap()[0].fault, Some((None, "Bal.Dt")));
    }
}
