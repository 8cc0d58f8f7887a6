//! The nineteen scenarios through the whole service, at several page sizes: after each act the account is
//! synced, and what the service holds and tells is compared with what the bank has, row by row and by who
//! is who.

use crate::linked::{HOUR, Linked, until};
use Expect::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;
use tests::bank::{BankConfig, NewAccount, NewCustomer, Play, RowStatus, Scenario, TrueRow};
use tests::http::{expect, text};
use tests::story::connection_request;
use tests::world::{World, WorldConfig};
use tokio::task::{JoinSet, LocalSet};

/// What an honest ledger makes of an act. A look is a sync that the business asks for.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// At the first look it holds what the bank has, has told exactly what the bank did, and each row is
    /// still the row that it was.
    Same,
    /// The same, at the latest after so many looks; each succeeds.
    After(usize),
    /// It holds what the bank has, at the latest after so many looks; nobody could know which row became
    /// which, so that may be told otherwise.
    Holds(usize),
    /// The statement is refused as incomplete, and what was held is held.
    Refused,
    /// Refused if it takes more than one page, else as `Same`.
    RefusedIfPaged,
    /// Whatever the sync is called, what was held is held.
    Untouched,
}

/// For each act, in order; act 0 is the first sync.
const HONEST: [(Scenario, &[Expect]); 19] = [
    (Scenario::IdenticalTwins, &[Same, Same, Same]),
    (Scenario::IdsRotated, &[Same, Same, Same]),
    (Scenario::PositionalIdsShift, &[Same, Same, Same]),
    (Scenario::IdPerRequest, &[Same, Same, Same]),
    (Scenario::IdConstantOrReused, &[Same, Same, Same, Same]),
    (Scenario::IdOnlyWhenBooked, &[Same, Same, Same]),
    (Scenario::AmountChangesOnBooking, &[Same, Same, Same, Same, Holds(2)]),
    // Missing once is no evidence.
    (Scenario::PendingVanishes, &[Same, After(2), After(2), After(2)]),
    (Scenario::FutureDated, &[Same, Same, Same, After(2)]),
    // A row before the days that are read again shows only in the balance.
    (Scenario::LateEntry, &[Same, Same, After(2), Holds(2)]),
    (Scenario::RemovedOrTruncated, &[Same, Same, Refused, Same, After(2)]),
    (Scenario::ListMovesBetweenPages, &[Same, Same, After(2), RefusedIfPaged, Same]),
    (Scenario::SignFlipped, &[Same, Holds(2), Untouched, Same]),
    (Scenario::BalanceIncludesPending, &[Same, Same, Same, Same]),
    (Scenario::AccountIdChanges, &[Same, Same, Same]),
    (Scenario::WindowShortened, &[Same, Refused, Same, Same]),
    (Scenario::IdRuleChanges, &[Same, Same, Same]),
    (Scenario::ReissuedIdsAndDatedPayee, &[Same, Same, Same]),
    (Scenario::BookedThenAmended, &[Same, Same, Same, Same]),
];

#[test]
fn no_act_is_left_unjudged() {
    for (scenario, honest) in HONEST {
        assert_eq!(honest.len(), scenario.acts().len(), "{scenario}");
    }
    assert_eq!(HONEST.map(|(scenario, _)| scenario), Scenario::ALL);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_row_to_a_page() {
    every_scenario(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_rows_to_a_page() {
    every_scenario(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_five_rows_to_a_page() {
    every_scenario(25).await;
}

/// All scenarios side by side in one world, each on an account of a customer of its own.
async fn every_scenario(page_rows: usize) {
    let world = World::start(WorldConfig {
        bank: BankConfig { page_rows, ..BankConfig::default() },
        // Nothing is planned: looks are counted.
        demo_bank: "[schedule]\ninterval-minutes = 10080\n".into(),
        adjust: Some(|config| (config.api_rate_per_s, config.api_burst) = (10_000, 10_000)),
        ..WorldConfig::default()
    })
    .await
    .unwrap();
    let world = Rc::new(world);
    let side_by_side = async {
        let mut playing = JoinSet::new();
        for (scenario, honest) in HONEST {
            let world = world.clone();
            playing.spawn_local(
                async move { Trial::begin(&world, scenario, page_rows).await.run(honest).await },
            );
        }
        playing.join_all().await.concat()
    };
    let mut wrong: Vec<String> = LocalSet::new().run_until(side_by_side).await;
    wrong.sort();
    assert!(wrong.is_empty(), "with {page_rows} rows to a page:\n{}", wrong.join("\n"));
}

/// A play, and the service's copy of its account.
struct Trial<'w> {
    world: &'w World,
    scenario: Scenario,
    page_rows: usize,
    linked: Linked,
    play: Play,
    /// Ours.
    account: String,
    /// What should be held, by who is who; and under which id of ours each row was held.
    before: BTreeMap<u64, Line>,
    names: BTreeMap<u64, String>,
}

/// Status, booking date, amount, narration, who was paid.
type Line = [String; 5];

impl<'w> Trial<'w> {
    async fn begin(world: &'w World, scenario: Scenario, page_rows: usize) -> Self {
        let new =
            NewAccount { nickname: "Stage".into(), currency: "GBP".into(), savings: false, history_days: 0 };
        let new = NewCustomer { name: format!("Actor of {scenario}"), accounts: vec![new] };
        let customer = world.bank.create_customer(&new).unwrap();
        let play = world.bank.play(scenario, &customer.accounts[0], page_rows as u64).unwrap();
        let customer = world.bank.customer(&customer.id).unwrap();
        let linked = Linked::existing(&world.bank, &world.api, customer).await;
        let account = linked.ours(play.account()).to_owned();
        let (before, names) = (BTreeMap::new(), BTreeMap::new());
        Self { world, scenario, page_rows, linked, play, account, before, names }
    }

    /// Plays and looks, act by act; what was wrong.
    async fn run(mut self, honest: &[Expect]) -> Vec<String> {
        let mut wrong = Vec::new();
        for (number, expected) in honest.iter().enumerate() {
            if number > 0 {
                let relink = self.play.next_act().unwrap().unwrap().relink;
                if relink {
                    self.relink().await;
                }
            }
            if let Err(error) = self.judge(number, *expected).await {
                wrong.push(format!("{} act {number}, expected {expected:?}: {error}", self.scenario));
            }
        }
        wrong
    }

    async fn judge(&mut self, number: usize, expected: Expect) -> Result<(), String> {
        let held = self.held().await;
        let mut told = [0; 3];
        let looks = match expected {
            Refused | RefusedIfPaged | Untouched | Same => 1,
            After(looks) | Holds(looks) => looks,
        };
        let mut sync = Value::Null;
        for _ in 0..looks {
            if number > 0 {
                sync = self.linked.sync(self.play.account()).await;
            }
            let count = |name: &str| usize::try_from(sync[name].as_u64().unwrap_or(0)).unwrap();
            for (sum, name) in told.iter_mut().zip(["added", "modified", "removed"]) {
                *sum += count(name);
            }
            if number > 0 && (sync["code"] != "SYNC_SUCCESSFUL" || self.right().await.is_ok()) {
                break;
            }
        }
        let paged = self.expected().len() > self.page_rows;
        match expected {
            Refused | RefusedIfPaged if matches!(expected, Refused) || paged => {
                if sync["reason"] != "incomplete-statement" {
                    return Err(format!("it is {} ({}), told {told:?}", sync["code"], sync["reason"]));
                }
                self.untouched(&held).await
            }
            Untouched => self
                .untouched(&held)
                .await
                .map_err(|error| format!("{error}, told {told:?}, {}", sync["code"])),
            _ if number > 0 && sync["code"] != "SYNC_SUCCESSFUL" => {
                Err(format!("it is {} ({}: {})", sync["code"], sync["reason"], sync["message"]))
            }
            _ => {
                self.right().await.map_err(|error| format!("{error}, told {told:?}"))?;
                let did = self.did();
                let names = self.names().await;
                let renamed = names
                    .iter()
                    .filter(|(entry, name)| self.names.get(entry).is_some_and(|old| old != *name));
                let renamed = renamed.count();
                self.before = self.expected().into_iter().map(|row| (row.entry, line(&row))).collect();
                self.names = names;
                if number > 0 && !matches!(expected, Holds(_)) && (told != did || renamed > 0) {
                    return Err(format!(
                        "told {told:?} (added, modified, removed) of {did:?}, {renamed} rows are other rows now"
                    ));
                }
                Ok(())
            }
        }
    }

    async fn untouched(&self, held: &[Value]) -> Result<(), String> {
        let now = self.held().await;
        let changed = now.iter().filter(|row| !held.contains(row)).count();
        let gone = held.len() + changed - now.len();
        if changed + gone == 0 {
            Ok(())
        } else {
            Err(format!("{changed} rows changed or came, {gone} are not as they were"))
        }
    }

    /// What should be held: what the bank has; where it shows less or otherwise and nobody could know
    /// better, what it shows.
    fn expected(&self) -> Vec<TrueRow> {
        let mut rows = self.play.truth().unwrap();
        let pending = |row: &TrueRow| row.row.status == RowStatus::Pending;
        match self.scenario {
            Scenario::SignFlipped => {
                for row in rows.iter_mut().filter(|row| pending(row)) {
                    row.row.amount = row.row.amount.trim_start_matches('-').to_owned();
                }
            }
            Scenario::BalanceIncludesPending => rows.retain(|row| !pending(row)),
            _ => {}
        }
        rows
    }

    /// What the bank did since the last act that was judged: entries added, changed, removed.
    fn did(&self) -> [usize; 3] {
        let now: BTreeMap<u64, Line> = self.expected().iter().map(|row| (row.entry, line(row))).collect();
        let added = now.keys().filter(|entry| !self.before.contains_key(entry)).count();
        let gone = self.before.keys().filter(|entry| !now.contains_key(entry)).count();
        let differs = |(entry, line): &(&u64, &Line)| self.before.get(entry).is_some_and(|old| old != *line);
        [added, now.iter().filter(differs).count(), gone]
    }

    /// Is what is held what should be? As multisets, whatever the ids.
    async fn right(&self) -> Result<(), String> {
        let mut held: Vec<Line> = self.held().await.iter().map(our_line).collect();
        let mut expected: Vec<Line> = self.expected().iter().map(line).collect();
        held.sort();
        expected.sort();
        let only = |these: &[Line], those: &[Line]| {
            let count = |lines: &[Line], line: &Line| lines.iter().filter(|other| *other == line).count();
            let mut more: Vec<Line> =
                these.iter().filter(|line| count(these, line) > count(those, line)).cloned().collect();
            more.dedup();
            more.iter().map(|line| line[..4].join(" ")).collect::<Vec<_>>()
        };
        if held == expected {
            return Ok(());
        }
        Err(format!("not held: {:?}, held too often: {:?}", only(&expected, &held), only(&held, &expected)))
    }

    async fn held(&self) -> Vec<Value> {
        tests::compare::rows(&self.world.api, &self.account).await.unwrap()
    }

    /// Our id of each entry whose contents no other row has.
    async fn names(&self) -> BTreeMap<u64, String> {
        let (held, expected) = (self.held().await, self.expected());
        let mut names = BTreeMap::new();
        for row in &expected {
            let alike = expected.iter().filter(|other| line(other) == line(row)).count();
            let ours = held.iter().find(|ours| our_line(ours) == line(row)).filter(|_| alike == 1);
            names.extend(ours.map(|ours| (row.entry, text(ours, "/id").to_owned())));
        }
        names
    }

    /// A new consent, handed in; waits until the accounts were listed with it. They are the same ones.
    async fn relink(&mut self) {
        let (world, old) = (self.world, self.linked.accounts.clone());
        self.linked.consent = world.bank.grant(&self.linked.customer.id, Some(HOUR * 24 * 90)).unwrap();
        let mut request = connection_request(&self.linked.consent);
        request.as_object_mut().unwrap().retain(|key, _| key == "credentials" || key == "consent");
        let connection = format!("/v1/connections/{}", self.linked.connection);
        let answer = world.api.post(&format!("{connection}/reauthorise"), &request).await.unwrap();
        expect(&answer, 200).unwrap();
        until("the list", async || {
            (world.api.get(&connection).await.unwrap().body["accounts_listed"] == true).then_some(())
        })
        .await;
        self.linked.accounts =
            crate::linked::accounts_read(&world.api, &self.linked.connection, old.len()).await;
        let ours = |accounts: &BTreeMap<String, String>| {
            let mut ours: Vec<String> = accounts.values().cloned().collect();
            ours.sort();
            ours
        };
        assert_eq!(ours(&self.linked.accounts), ours(&old), "no account is doubled or lost");
        assert_eq!(self.linked.ours(self.play.account()), self.account, "it goes on where it was");
    }
}

fn line(row: &TrueRow) -> Line {
    let row = &row.row;
    let status = if row.status == RowStatus::Booked { "booked" } else { "pending" };
    let payee = row.merchant.clone().unwrap_or_default();
    [status.to_owned(), row.booked_on.to_string(), row.amount.clone(), row.text.clone(), payee]
}

fn our_line(row: &Value) -> Line {
    ["/status", "/booked_on", "/amount", "/text", "/counterparty"].map(|at| text(row, at).to_owned())
}
