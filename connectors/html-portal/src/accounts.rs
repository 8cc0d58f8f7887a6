//! The table of accounts: id, name, IBAN, currency, balance, day.

use crate::page;
use tidegate_sdk::{Account, Context, Failure, Reply, Request, Send, Stop, html};

/// The accounts of the customer, all on one page.
pub fn accounts(ask: &Context, _memory: &str, replies: &[Reply]) -> Result<Vec<Account>, Stop> {
    let [reply] = replies else {
        let requests = vec![Request::get(page::url(ask, "/accounts")?)];
        return Err(Stop::Send(Send { requests, memory: String::new() }));
    };
    let tokens = page::tokens(ask, reply)?;
    let rows = html::table(&tokens, "accounts").ok_or_else(|| Failure::unreadable(None, "accounts"))?;
    let account = |(row, line): (usize, &html::Row<'_>)| match line.cells.as_slice() {
        [id, name, iban, currency, ..] => Ok(Account {
            id: id.clone(),
            name: name.clone(),
            currency: currency.clone(),
            // Written in groups of four.
            number: Some(iban.replace(' ', "")).filter(|number| !number.is_empty()),
        }),
        _ => Err(Failure::unreadable(Some(row), "cells").into()),
    };
    rows.iter().enumerate().map(account).collect()
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::HtmlPortal;
    use crate::fixtures::{ACCOUNTS, context, page};
    use tidegate_sdk::{AccountsStep, Connector};

    fn listed(body: &[u8]) -> AccountsStep {
        HtmlPortal::accounts(&context(), "", &[page(200, body, "")])
    }

    #[test]
    fn each_row_is_an_account() {
        let AccountsStep::Send(send) = HtmlPortal::accounts(&context(), "", &[]) else { panic!() };
        let urls: Vec<_> = send.requests.iter().map(Request::url_text).collect();
        assert_eq!(urls, ["https://bank.example/portal/accounts"]);
        let account = |id: &str, name: &str, number: &str| Account {
            id: id.into(),
            name: name.into(),
            currency: "GBP".into(),
            number: Some(number.into()),
        };
        assert_eq!(
            listed(ACCOUNTS),
            AccountsStep::Done(vec![
                account("22289001", "Tom & Ada's", "GB02DEMO40051560000001"),
                account("22289002", "Rainy days", "GB72DEMO40051560000002"),
            ])
        );
    }

    #[test]
    fn a_page_without_the_table_is_unreadable_and_never_no_accounts() {
        assert_eq!(listed(b"<p>Hello</p>"), AccountsStep::Fail(Failure::unreadable(None, "accounts")));
        let short = b"<table id=accounts><tr><td>1<td>2</table>";
        assert_eq!(listed(short), AccountsStep::Fail(Failure::unreadable(Some(0), "cells")));
        assert_eq!(listed(b"<table id=accounts><tr><th>Account</table>"), AccountsStep::Done(vec![]));
    }
}
