//! The accounts of a consent.

use crate::bank;
use tidegate_sdk::json::{Listed, Object, each};
use tidegate_sdk::{Account, Context, Failure, Flow, Reply, Stop};

/// How an account's number may be written, best first. The others of the standard (card number,
/// phone number, wallet) are no account numbers.
const NUMBER_SCHEMES: [&str; 3] = ["UK.OBIE.IBAN", "UK.OBIE.SortCodeAccountNumber", "UK.OBIE.BBAN"];

/// Lists all accounts, page by page.
pub fn accounts(ask: &Context, memory: &str, replies: &[Reply]) -> Result<Vec<Account>, Stop> {
    let mut flow = Flow::new(memory, replies)?;
    let first = format!("{}/accounts", bank::api(ask)?);
    flow.ask_pages(&first, |url| bank::get(ask, url), "Links.Next", |reply| page(ask, reply))
}

fn page(ask: &Context, reply: &Reply) -> Result<(Vec<Account>, Option<String>), Failure> {
    bank::check(ask, reply)?;
    if reply.status == 204 {
        return Ok((Vec::new(), None));
    }
    let listed: Listed<Object> = Listed::read(&reply.body, "Data.Account")?;
    let next = listed.said("Links", "Next")?;
    Ok((each(&listed.rows.unwrap_or_default(), account)?, next))
}

/// OBAccount6. None for an account that was switched to another bank: only such a one may lack its currency,
/// and has nothing to read.
fn account(row: &Object<'_>) -> Result<Option<Account>, Failure> {
    let id = row.text("AccountId")?.into_owned();
    let Some(currency) = row.text_if("Currency")? else {
        return match row.text_if("SwitchStatus")?.as_deref() {
            Some("UK.CASS.Switched") => Ok(None),
            _ => Err(row.unreadable("Currency")),
        };
    };
    let (mut number, mut owner) = (None, None);
    for known in row.list("Account")? {
        let scheme = known.text("SchemeName")?;
        let its_number = known.text("Identification")?.into_owned();
        let best = NUMBER_SCHEMES.iter().position(|known| *known == scheme).map(|rank| (rank, its_number));
        // The best scheme counts, and of several numbers of one the first.
        number = [number, best].into_iter().flatten().min_by_key(|(rank, _)| *rank);
        owner = owner.or(known.text_if("Name")?.map(String::from));
    }
    let (nickname, description) = (row.text_if("Nickname")?, row.text_if("Description")?);
    let sub_type = row.text_if("AccountSubType")?;
    let named = nickname.or(description).map(String::from).or(owner).or(sub_type.map(String::from));
    let name = named.unwrap_or_default();
    let (currency, number) = (currency.into_owned(), number.map(|(_, number)| number));
    Ok(Some(Account { id, name, currency, number }))
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
