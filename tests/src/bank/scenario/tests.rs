//! The plays at the UK door, by plain HTTP, at several page sizes: what is shown, and that it comes from the
//! seed. What is odd about each stands in `quirk_tests`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use super::super::tests::Desk;
use super::super::{BankConfig, NewAccount, Row, RowStatus, money};
use super::*;
use crate::http::Api;
use serde_json::{Value, json};

/// One row to a page, a few, and all on one.
pub(super) const PAGES: [usize; 3] = [1, 3, 25];

/// What a client sees of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wire {
    pub(super) status: String,
    pub(super) day: String,
    pub(super) amount: i64,
    pub(super) text: String,
    pub(super) id: Option<String>,
}

impl Wire {
    fn of(row: &Value) -> Self {
        let text = |at: &str| row.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let minor = money::parse(&text("/Amount/Amount"), "GBP").unwrap();
        Self {
            status: text("/Status"),
            day: text("/BookingDateTime")[..10].to_owned(),
            amount: if text("/CreditDebitIndicator") == "Debit" { -minor } else { minor },
            text: text("/TransactionInformation"),
            id: row["TransactionId"].as_str().map(str::to_owned),
        }
    }

    fn of_bank(row: &Row) -> Self {
        Self {
            status: if row.status == RowStatus::Booked { "Booked" } else { "Pending" }.to_owned(),
            day: row.booked_on.to_string(),
            amount: money::parse(&row.amount, "GBP").unwrap(),
            text: row.text.clone(),
            id: Some(row.id.clone()).filter(|id| !id.is_empty()),
        }
    }
}

/// What the rows say, without ids, in an order that doesn't depend on the list's.
pub(super) fn contents(rows: &[Wire]) -> Vec<Wire> {
    let mut rows: Vec<Wire> = rows.iter().map(|row| Wire { id: None, ..row.clone() }).collect();
    rows.sort();
    rows
}

/// An act, and two readings after it.
pub(super) struct Seen {
    pub(super) act: Act,
    pub(super) first: Vec<Wire>,
    pub(super) second: Vec<Wire>,
    /// Who is who in the second one.
    pub(super) reading: Vec<TrueRow>,
    pub(super) truth: Vec<TrueRow>,
    /// As the bank's balance says, in minor units.
    pub(super) balance: i64,
}

impl Seen {
    /// What the bank has, as an honest door would show it.
    pub(super) fn true_rows(&self) -> Vec<Wire> {
        self.truth.iter().map(|row| Wire::of_bank(&row.row)).collect()
    }
    /// The id that an entry was shown under.
    pub(super) fn id_of(&self, entry: u64) -> Option<String> {
        self.reading.iter().find(|row| row.entry == entry).map(|row| row.row.id.clone())
    }
}

/// All acts of a play, and every reply that was given, without the bank's address.
pub(super) async fn watch(scenario: Scenario, page_rows: usize, seed: u64) -> (Vec<Seen>, String) {
    let desk = Desk::open(BankConfig { page_rows, ..BankConfig::default() }).await;
    let new =
        NewAccount { nickname: "Stage".into(), currency: "GBP".into(), savings: false, history_days: 0 };
    let account = desk.bank.open_account(&desk.customer.id, &new).unwrap();
    let mut play = desk.bank.play(scenario, &account, seed).unwrap();
    let (mut seen, mut replies) = (Vec::new(), String::new());
    let api = Api::new(desk.bank.api_origin(), None).unwrap();
    let mut linked: Option<Api> = None;
    loop {
        if linked.is_none() || play.act().relink {
            let granted = desk.bank.grant(&desk.customer.id, None).unwrap();
            let token = desk.renew(&granted.refresh_token).await.text("/access_token").to_owned();
            linked = Some(api.with_key(Some(&token)));
        }
        let api = linked.as_ref().unwrap();
        let first = read(&desk.bank, api, play.account(), &mut replies).await;
        assert_eq!(recorded(&play), without_rejected(&first), "{scenario} {}", play.act().number);
        let second = read(&desk.bank, api, play.account(), &mut replies).await;
        assert_eq!(recorded(&play), without_rejected(&second));
        let balances = api.get(&format!("/accounts/{}/balances", play.account())).await.unwrap();
        let balance = &balances.body["Data"]["Balance"][0];
        let minor = money::parse(balance["Amount"]["Amount"].as_str().unwrap(), "GBP").unwrap();
        seen.push(Seen {
            act: play.act().clone(),
            first,
            second,
            reading: play.reading().unwrap(),
            truth: play.truth().unwrap(),
            balance: if balance["CreditDebitIndicator"] == "Debit" { -minor } else { minor },
        });
        if play.next_act().unwrap().is_none() {
            break;
        }
    }
    let ledger = desk.bank.ledger();
    assert_eq!(ledger.trial_balance().iter().map(|line| line.2).sum::<i128>(), 0, "no money is made");
    (seen, replies)
}

fn recorded(play: &Play) -> Vec<Wire> {
    play.reading().unwrap().iter().map(|row| Wire::of_bank(&row.row)).collect()
}

fn without_rejected(rows: &[Wire]) -> Vec<Wire> {
    rows.iter().filter(|row| row.status != "Rejected").cloned().collect()
}

/// All pages of the last 90 days.
async fn read(bank: &Bank, api: &Api, account: &str, replies: &mut String) -> Vec<Wire> {
    let mut path = format!("/accounts/{account}/transactions?fromBookingDateTime=2025-12-21T00:00:00");
    let mut rows = Vec::new();
    loop {
        let answer = api.get(&path).await.unwrap();
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        replies.push_str(&answer.body.to_string().replace(&bank.auth_origin(), ""));
        let page = answer.body["Data"]["Transaction"].as_array().unwrap();
        assert!(page.len() <= bank.config().page_rows);
        rows.extend(page.iter().map(Wire::of));
        match answer.text("/Links/Next").strip_prefix(&bank.api_origin()) {
            Some(next) => next.clone_into(&mut path),
            None => return rows,
        }
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_replies_to_the_byte_and_another_seed_other_ones() {
    for scenario in Scenario::ALL {
        let mut truths = Vec::new();
        for page_rows in PAGES {
            let (seen, replies) = watch(scenario, page_rows, 7).await;
            assert_eq!(seen.len(), scenario.acts().len());
            assert_eq!(watch(scenario, page_rows, 7).await.1, replies, "{scenario}");
            assert_ne!(watch(scenario, page_rows, 8).await.1, replies, "{scenario}");
            assert!(!replies.contains("TransactionReference"), "{scenario}: it would tell who is who");
            truths.push(seen.into_iter().map(|seen| (seen.act, seen.truth)).collect::<Vec<_>>());
        }
        assert!(truths.windows(2).all(|pair| pair[0] == pair[1]), "{scenario}: what happens is the same");
    }
}

#[test]
fn a_scenario_is_known_by_its_name() {
    for scenario in Scenario::ALL {
        assert_eq!(scenario.to_string().parse(), Ok(scenario));
        assert_eq!(json!(scenario), scenario.name(), "JSON has the same name");
    }
    let unknown = "ids-rotten".parse::<Scenario>().unwrap_err().to_string();
    assert!(unknown.contains("\"ids-rotten\"") && unknown.contains("ids-rotated, "), "{unknown}");
}

#[tokio::test]
async fn a_play_goes_on_act_by_act_by_remote_control() {
    let desk = Desk::open(BankConfig::default()).await;
    let control = Api::new(desk.bank.auth_origin(), None).unwrap();
    let known = control.get("/control/scenarios").await.unwrap().body;
    assert_eq!(known.as_array().unwrap().len(), 19);
    assert_eq!(known[1]["scenario"], "ids-rotated");

    let account = format!("/control/accounts/{}", desk.account());
    let history = control.get(&format!("{account}/truth")).await.unwrap().body.as_array().unwrap().len();
    let begin = json!({ "scenario": "pending-vanishes", "seed": 3 });
    let first = control.post(&format!("{account}/play"), &begin).await.unwrap();
    assert_eq!((first.status, &first.body["number"]), (200, &json!(0)), "{}", first.body);
    let count = async || {
        let truth = control.get(&format!("{account}/truth")).await.unwrap().body;
        truth.as_array().unwrap().len() - history
    };
    assert_eq!(count().await, 9);
    let acts = known[7]["acts"].as_array().unwrap();
    for (number, left) in [(1, 8), (2, 7), (3, 7)] {
        let act = control.post(&format!("{account}/play/next"), &json!({})).await.unwrap().body;
        assert_eq!((&act["number"], &act["says"]), (&json!(number), &acts[number]), "{act}");
        assert_eq!(count().await, left);
    }
    let over = control.post(&format!("{account}/play/next"), &json!({})).await.unwrap();
    assert_eq!((over.status, over.body), (200, Value::Null));

    let api = desk.api().await;
    api.get(&format!("{}?fromBookingDateTime=2026-03-01", desk.transactions())).await.unwrap();
    let reading = control.get(&format!("{account}/reading")).await.unwrap().body;
    assert!(reading[0]["entry"].is_u64() && reading[0]["row"]["text"].is_string(), "{reading}");
    let wrong =
        control.post(&format!("{account}/play"), &json!({ "scenario": "all-is-well" })).await.unwrap();
    assert_eq!(wrong.status, 400);
    assert!(wrong.text("/error").contains("identical-twins"), "{}", wrong.body);
    let savings = format!("/control/accounts/{}/play/next", desk.customer.accounts[1]);
    assert_eq!(control.post(&savings, &json!({})).await.unwrap().status, 400, "nothing is played there");
}
