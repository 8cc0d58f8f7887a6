//! The accounts of a consent.

use crate::bank::{self, Links};
use serde::Deserialize;
use serde::Serialize;
use tidegate_sdk::paging::Pages;
use tidegate_sdk::{Account, Context, Failure, Flow, Reply, Stop, json};

/// How an account's number may be written, best first. The others of the standard (card number,
/// phone number, wallet) are no account numbers.
const NUMBER_SCHEMES: [&str; 3] = ["UK.OBIE.IBAN", "UK.OBIE.SortCodeAccountNumber", "UK.OBIE.BBAN"];

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(rename = "Data")]
    data: Data,
    #[serde(rename = "Links", borrow)]
    links: Option<Links<'a>>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "Account", default)]
    accounts: Vec<Row>,
}

/// OBAccount6.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    account_id: String,
    currency: Option<String>,
    account_sub_type: Option<String>,
    description: Option<String>,
    nickname: Option<String>,
    switch_status: Option<String>,
    #[serde(default)]
    account: Vec<Identification>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Identification {
    scheme_name: String,
    identification: String,
    name: Option<String>,
}

/// One page, as memory keeps it.
#[derive(Serialize, Deserialize)]
struct Listed {
    accounts: Vec<Line>,
    next: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    name: String,
    currency: String,
    number: Option<String>,
}

/// Lists all accounts, page by page.
pub fn accounts(ask: &Context, memory: &str, replies: &[Reply]) -> Result<Vec<Account>, Stop> {
    let mut flow = Flow::new(memory, replies)?;
    let mut url = format!("{}/accounts", bank::api(ask)?);
    let mut pages = Pages::default();
    let mut all = Vec::new();
    loop {
        let listed = flow.ask(bank::get(ask, &url), |reply| page(ask, reply))?;
        all.extend(listed.accounts.into_iter().map(|line| Account {
            id: line.id,
            name: line.name,
            currency: line.currency,
            number: line.number,
        }));
        match listed.next {
            Some(next) => url = pages.follow(&url, &next, "Links.Next")?,
            None => return Ok(all),
        }
    }
}

fn page(ask: &Context, reply: &Reply) -> Result<Listed, Failure> {
    bank::check(ask, reply)?;
    if reply.status == 204 {
        return Ok(Listed { accounts: Vec::new(), next: None });
    }
    let document: Document = json::rows(&reply.body, "Data.Account")?;
    let mut accounts = Vec::new();
    for (row, account) in document.data.accounts.into_iter().enumerate() {
        if let Some(line) = line(row, account)? {
            accounts.push(line);
        }
    }
    let next = document.links.and_then(|links| links.next).map(|next| next.as_str().to_owned());
    Ok(Listed { accounts, next })
}

/// None for an account that was switched to another bank: only such a one may lack its currency,
/// and has nothing to read.
fn line(row: usize, account: Row) -> Result<Option<Line>, Failure> {
    let Some(currency) = account.currency else {
        return match account.switch_status.as_deref() {
            Some("UK.CASS.Switched") => Ok(None),
            _ => Err(Failure::unreadable(Some(row), "Currency")),
        };
    };
    let number = NUMBER_SCHEMES.iter().find_map(|scheme| {
        let found = account.account.iter().find(|number| number.scheme_name == *scheme)?;
        Some(found.identification.clone())
    });
    let owner = account.account.into_iter().find_map(|number| number.name);
    let name =
        [account.nickname, account.description, owner, account.account_sub_type].into_iter().flatten().next();
    Ok(Some(Line { id: account.account_id, name: name.unwrap_or_default(), currency, number }))
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use crate::OpenBankingUk;
    use crate::fixtures::*;
    use tidegate_sdk::{AccountsStep, Connector, Send};

    fn listed(body: &[u8], status: u16) -> AccountsStep {
        OpenBankingUk::accounts(&context(), "[]", &[reply(status, body)])
    }
    fn account(id: &str, name: &str, number: Option<&str>) -> Account {
        Account {
            id: id.into(),
            name: name.into(),
            currency: "GBP".into(),
            number: number.map(str::to_owned),
        }
    }

    #[test]
    fn all_accounts_are_listed_with_the_number_people_know() {
        let AccountsStep::Send(Send { requests, memory }) = OpenBankingUk::accounts(&context(), "", &[])
        else {
            panic!()
        };
        let urls: Vec<_> = requests.iter().map(tidegate_sdk::Request::url_text).collect();
        assert_eq!(urls, ["https://api.bank.example/open-banking/v3.1/aisp/accounts"]);
        let step = OpenBankingUk::accounts(&context(), &memory, &[reply(200, ACCOUNTS)]);
        assert_eq!(
            step,
            AccountsStep::Done(vec![
                account("22289", "Bills", Some("80200110203345")),
                account("31820", "Household", Some("GB29NWBK60161331926819")),
                account("40077", "Reward Credit Card", None),
            ])
        );
    }

    #[test]
    fn a_second_page_is_followed() {
        let first = br#"{"Data":{"Account":[{"AccountId":"1","Currency":"GBP","Nickname":"One"}]},"Links":{"Self":"x","Next":"?page=2"}}"#;
        let AccountsStep::Send(Send { requests, memory }) = listed(first, 200) else { panic!() };
        let urls: Vec<_> = requests.iter().map(tidegate_sdk::Request::url_text).collect();
        assert_eq!(urls, ["https://api.bank.example/open-banking/v3.1/aisp/accounts?page=2"]);
        let second = br#"{"Data":{"Account":[{"AccountId":"2","Currency":"GBP","Nickname":"Two"}]},"Links":{"Self":"x"}}"#;
        assert_eq!(
            OpenBankingUk::accounts(&context(), &memory, &[reply(200, second)]),
            AccountsStep::Done(vec![account("1", "One", None), account("2", "Two", None)])
        );
        let circle = br#"{"Data":{},"Links":{"Next":"?page=2"}}"#;
        assert_eq!(
            OpenBankingUk::accounts(&context(), &memory, &[reply(200, circle)]),
            AccountsStep::Fail(Failure::PagesChanged)
        );
    }

    #[test]
    fn an_empty_list_is_no_failure_but_a_missing_one_is() {
        assert_eq!(listed(br#"{"Data":{}}"#, 200), AccountsStep::Done(vec![]));
        assert_eq!(listed(b"", 204), AccountsStep::Done(vec![]));
        assert_eq!(listed(b"{}", 200), AccountsStep::Fail(Failure::unreadable(None, "Data")));
    }

    #[test]
    fn an_account_without_a_currency_is_unreadable_unless_it_was_switched() {
        let row = |more: &str| format!(r#"{{"Data":{{"Account":[{{"AccountId":"1"{more}}}]}}}}"#);
        assert_eq!(
            listed(row("").as_bytes(), 200),
            AccountsStep::Fail(Failure::unreadable(Some(0), "Currency"))
        );
        assert_eq!(
            listed(row(r#","SwitchStatus":"UK.CASS.Switched""#).as_bytes(), 200),
            AccountsStep::Done(vec![])
        );
    }

    #[test]
    fn a_refusal_ends_the_listing() {
        assert_eq!(listed(b"", 401), AccountsStep::Fail(Failure::SessionExpired));
    }
}
