//! The balances of an account (OBReadBalance1), each of the contract's kinds at most once.

use crate::bank::{self, Amount, Direction};
use serde::Deserialize;
use tidegate_sdk::json::{Listed, Text, each};
use tidegate_sdk::{Balance, BalanceKind, Credit, Failure, Reply, date};

/// Which of the standard's types may serve as which kind, best first.
///
/// `ClosingBooked` is the booked balance as of its own date where the bank has no interim one.
/// Cleared, forward and informative balances are left out: they prove nothing and are not what the
/// customer can spend now.
const KINDS: [(BalanceKind, &[&str]); 5] = [
    (BalanceKind::Booked, &["InterimBooked", "ClosingBooked"]),
    (BalanceKind::Available, &["InterimAvailable", "ClosingAvailable"]),
    (BalanceKind::Opening, &["OpeningBooked"]),
    (BalanceKind::Closing, &["ClosingBooked", "PreviouslyClosedBooked"]),
    (BalanceKind::Expected, &["Expected"]),
];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    #[serde(borrow)]
    account_id: Text<'a>,
    credit_debit_indicator: Direction,
    r#type: Text<'a>,
    date_time: Text<'a>,
    amount: Amount<'a>,
    #[serde(default)]
    credit_line: Vec<CreditLine<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreditLine<'a> {
    included: bool,
    #[serde(borrow)]
    amount: Option<Amount<'a>>,
}

/// Reads the balances of `account`, each with the credit line that the bank counts in it.
///
/// Fails as `unreadable`, naming row and field, when one is not as the standard promises or is of
/// another account.
pub fn parse(reply: &Reply, account: &str) -> Result<Vec<Balance>, Failure> {
    if reply.status == 204 {
        return Ok(Vec::new());
    }
    let listed: Listed<Row> = Listed::read(&reply.body, "Data.Balance")?;
    let rows = listed.rows.ok_or_else(|| Failure::unreadable(None, "Data.Balance"))?;
    let types = each(&rows, |row| {
        bank::check_account(row.account_id.as_str(), account)?;
        Ok(Some(row.r#type.as_str()))
    })?;
    let mut balances = Vec::new();
    let mut used = Vec::new();
    for (kind, wanted) in KINDS {
        let find = |wanted: &&str| types.iter().position(|known| known == wanted);
        let Some(place) = wanted.iter().filter_map(find).find(|place| !used.contains(place)) else {
            continue;
        };
        let Some(row) = rows.get(place) else { continue };
        used.push(place);
        balances.push(row.balance(kind).map_err(|failure| failure.in_row(place))?);
    }
    Ok(balances)
}

impl Row<'_> {
    fn balance(&self, kind: BalanceKind) -> Result<Balance, Failure> {
        let amount = self.amount.signed(self.credit_debit_indicator)?;
        let as_of = date::unix_ms(self.date_time.as_str());
        let as_of = as_of.ok_or_else(|| Failure::unreadable(None, "DateTime"))?;
        Ok(Balance::new(kind, amount, &self.amount.currency, Some(as_of)).with_credit(self.credit()?))
    }

    /// The credit that is counted in the amount.
    fn credit(&self) -> Result<Credit, Failure> {
        let mut included = self.credit_line.iter().filter(|line| line.included);
        Ok(match (included.next(), included.next()) {
            (None, _) => Credit::None,
            (Some(CreditLine { amount: Some(line), .. }), None) if line.currency == self.amount.currency => {
                let amount = line.signed(Direction::Credit);
                Credit::Included(amount.map_err(|failure| failure.under("CreditLine"))?)
            }
            // Of no size or in another currency; or several, which may be one line and what is left of it.
            _ => Credit::Unknown,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fixtures::*;

    fn row(kind: &str, amount: &str, more: &str) -> String {
        format!(
            r#"{{"AccountId":"1","CreditDebitIndicator":"Credit","Type":"{kind}","DateTime":"2026-11-20T12:00:00Z","Amount":{{"Amount":"{amount}","Currency":"GBP"}}{more}}}"#
        )
    }
    fn read(rows: &[String]) -> Result<Vec<Balance>, Failure> {
        let body = format!(r#"{{"Data":{{"Balance":[{}]}}}}"#, rows.join(","));
        parse(&reply(200, body.as_bytes()), "1")
    }
    fn check(rows: &[String], expected: &[(BalanceKind, &str)]) {
        let got: Vec<_> =
            read(rows).unwrap().into_iter().map(|balance| (balance.kind, balance.amount)).collect();
        let expected: Vec<_> = expected.iter().map(|(kind, amount)| (*kind, (*amount).to_owned())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn the_fixture_has_each_kind_once() {
        let balances = parse(&reply(200, BALANCES), "22289").unwrap();
        let kinds: Vec<_> = balances.iter().map(|balance| balance.kind).collect();
        assert_eq!(
            kinds,
            [BalanceKind::Booked, BalanceKind::Available, BalanceKind::Closing, BalanceKind::Expected]
        );
        let booked = balances.first().unwrap();
        assert_eq!((booked.amount.as_str(), booked.includes_pending), ("-122.45", false));
        assert_eq!(booked.as_of_ms, Some(NOW));
    }

    #[test]
    fn interim_balances_are_preferred_and_closing_ones_stand_in() {
        check(
            &[row("ClosingBooked", "1", ""), row("InterimBooked", "2", "")],
            &[(BalanceKind::Booked, "2"), (BalanceKind::Closing, "1")],
        );
        check(&[row("ClosingBooked", "1", "")], &[(BalanceKind::Booked, "1")]);
        check(
            &[row("ClosingCleared", "1", ""), row("Information", "2", ""), row("ForwardAvailable", "3", "")],
            &[],
        );
    }

    #[test]
    fn a_credit_line_is_told_where_it_is_counted_and_left_in_the_amount() {
        let line = |included: bool, amount: &str| {
            format!(r#"{{"Included":{included},"Type":"Pre-Agreed","Amount":{amount}}}"#)
        };
        let (gbp, eur) =
            (r#"{"Amount":"500.00","Currency":"GBP"}"#, r#"{"Amount":"500.00","Currency":"EUR"}"#);
        let check = |lines: &[String], expected: Credit| {
            let lines = format!(r#","CreditLine":[{}]"#, lines.join(","));
            for kind in ["InterimBooked", "InterimAvailable"] {
                let balance = read(&[row(kind, "600.00", &lines)]).unwrap().remove(0);
                assert_eq!((balance.amount.as_str(), balance.credit_included), ("600.00", expected.clone()));
            }
        };
        check(&[], Credit::None);
        check(&[line(false, gbp)], Credit::None);
        check(&[line(true, gbp)], Credit::Included("500.00".into()));
        check(&[line(false, gbp), line(true, gbp)], Credit::Included("500.00".into()));
        check(&[line(true, gbp), line(true, gbp)], Credit::Unknown);
        check(&[line(true, eur)], Credit::Unknown);
        check(&[r#"{"Included":true}"#.to_owned()], Credit::Unknown);
    }

    #[test]
    fn an_unreadable_balance_is_named_by_row_and_field() {
        let good = || row("InterimAvailable", "1", "");
        let unreadable = |field: &str| Err(Failure::unreadable(Some(1), field));
        assert_eq!(read(&[good(), row("InterimBooked", "1e3", "")]), unreadable("Amount.Amount"));
        let odd = row("InterimBooked", "1", "");
        assert_eq!(read(&[good(), odd.replace("2026-11-20T", "2026-11-31T")]), unreadable("DateTime"));
        assert_eq!(read(&[good(), odd.replace("\"1\",\"Credit", "\"2\",\"Credit")]), unreadable("AccountId"));
        assert_eq!(read(&[good(), odd.replace("\"Credit\"", "\"Up\"")]), unreadable("CreditDebitIndicator"));
        let line = r#","CreditLine":[{"Included":true,"Amount":{"Amount":"-5","Currency":"GBP"}}]"#;
        let overdrawn = row("InterimBooked", "1", line);
        assert_eq!(read(&[good(), overdrawn]), unreadable("CreditLine.Amount.Amount"));
        assert_eq!(parse(&reply(200, b"{}"), "1"), Err(Failure::unreadable(None, "Data")));
    }
}
