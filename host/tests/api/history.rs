//! Transactions and changes.

use super::world::{Reply, Tenant, World, entry};
use host::model::{AccountId, ChangeReason, Lease, NewChange, Sync, Transaction, TransactionStatus};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A business that has one account, which is being read.
struct Desk {
    world: World,
    tenant: Tenant,
    lease: Lease,
    account: AccountId,
}

impl Desk {
    async fn open() -> Self {
        let world = World::new().await;
        let tenant = world.tenant("Business").await;
        let connection = world.connection(&tenant, "customer").await;
        let lease = world.lease(connection).await;
        let account = world.account(&lease, "bank-1").await.id;
        Self { world, tenant, lease, account }
    }

    /// A look at the account, and what it found.
    async fn look(&self, changes: Vec<NewChange>) -> Sync {
        self.world.run(&self.lease, self.account, changes, |_| {}).await
    }

    /// `GET` of what stands below the account.
    async fn get(&self, below: &str) -> Reply {
        self.world.get(&self.tenant, &format!("/v1/accounts/{}{below}", self.account)).await
    }

    /// A page of it.
    async fn page(&self, below: &str) -> Value {
        self.get(below).await.is(200)
    }
}

/// Where a page says that it goes on.
fn next(page: &Value) -> &str {
    page["next_cursor"].as_str().unwrap()
}

fn removed(number: i64, before: &Transaction, reason: ChangeReason) -> NewChange {
    NewChange::Removed { number, before: before.clone(), reason }
}

fn texts(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn changes_are_read_to_their_end_and_on_from_there() {
    let desk = Desk::open().await;
    let empty = desk.page("/changes").await;
    assert_eq!((&empty["items"], &empty["has_more"]), (&json!([]), &json!(false)));

    let (coffee, rent) = (entry(-320, "Coffee", 1), entry(-90_000, "Rent", 2));
    desk.look(vec![NewChange::added(coffee.clone()), NewChange::added(rent.clone())]).await;
    let first = desk.page(&format!("/changes?limit=1&cursor={}", next(&empty))).await;
    assert_eq!(first["has_more"], true);
    assert_eq!(first["items"][0]["seq"], 1);
    let second = desk.page(&format!("/changes?cursor={}", next(&first))).await;
    assert_eq!((&second["items"][0]["seq"], &second["has_more"]), (&json!(2), &json!(false)));
    assert_eq!(second["items"][0]["after"]["amount"], "-900.00");

    let corrected = Transaction { text: "Cafe".into(), ..coffee.clone() };
    let changes =
        vec![NewChange::amended(1, coffee, corrected), removed(2, &rent, ChangeReason::RemovedByBank)];
    let sync = desk.look(changes).await;
    let third = desk.page(&format!("/changes?cursor={}", next(&second))).await;
    let items = third["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0]["kind"], "modified");
    assert_eq!((&items[0]["before"]["text"], &items[0]["after"]["text"]), (&json!("Coffee"), &json!("Cafe")));
    assert_eq!((&items[1]["kind"], &items[1]["after"]), (&json!("removed"), &Value::Null));
    assert_eq!(items[1]["sync_id"], sync.id.to_string());

    // The sync's own cursor is the end it reached.
    let shown = desk.world.get(&desk.tenant, &format!("/v1/syncs/{}", sync.id)).await.is(200);
    assert_eq!(shown["cursor"], third["next_cursor"]);
    assert_eq!(
        (&shown["modified"], &shown["removed"], &shown["code"]),
        (&json!(1), &json!(1), &json!("SYNC_SUCCESSFUL"))
    );
}

#[tokio::test]
async fn a_cursor_of_another_account_or_beyond_the_end_is_refused() {
    let world = World::new().await;
    let tenant = world.tenant("Business").await;
    let (one, two) = (world.estate(&tenant).await, world.estate(&tenant).await);
    let list = async |account, cursor: &str| {
        world.get(&tenant, &format!("/v1/accounts/{account}/changes?cursor={cursor}")).await
    };
    let page = world.get(&tenant, &format!("/v1/accounts/{}/changes", one.account.id)).await.is(200);
    let cursor = next(&page);
    list(one.account.id, cursor).await.is(200);
    list(two.account.id, cursor).await.problem(400, "bad-cursor");
    // The same cursor, a thousand changes later than there are.
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut bytes = URL_SAFE_NO_PAD.decode(cursor).unwrap();
    let place = bytes.len() - 2;
    bytes[place] = 4;
    list(one.account.id, &URL_SAFE_NO_PAD.encode(bytes)).await.problem(410, "cursor-expired");
}

#[tokio::test]
async fn transactions_are_filtered_by_day_status_and_amount_and_paged() {
    let desk = Desk::open().await;
    let pending = Transaction { status: TransactionStatus::Pending, ..entry(-500, "Lunch", 4) };
    let entries = [entry(-320, "Coffee", 1), entry(-90_000, "Rent", 2), entry(250_000, "Salary", 3), pending];
    desk.look(entries.into_iter().map(NewChange::added).collect()).await;
    let list = async |query: &str| texts(&desk.page(&format!("/transactions?{query}")).await);
    assert_eq!(list("").await, ["Coffee", "Rent", "Salary", "Lunch"]);
    assert_eq!(list("from=2027-01-02&to=2027-01-03").await, ["Rent", "Salary"]);
    assert_eq!(list("status=pending").await, ["Lunch"]);
    assert_eq!(list("max_amount=-5.00").await, ["Rent", "Lunch"]);
    assert_eq!(list("min_amount=-5.00&max_amount=0").await, ["Coffee", "Lunch"]);

    let page = desk.page("/transactions?limit=3").await;
    assert_eq!((texts(&page).len(), &page["has_more"]), (3, &json!(true)));
    let rest = list(&format!("limit=3&cursor={}", next(&page))).await;
    assert_eq!(rest, ["Lunch"]);

    let coffee = &page["items"][0];
    let shown = desk.page(&format!("/transactions/{}", coffee["id"].as_str().unwrap())).await;
    assert_eq!(shown, *coffee);
    assert_eq!((&coffee["amount"], &coffee["booked_on"]), (&json!("-3.20"), &json!("2027-01-01")));
    let balances = desk.page("/balances").await;
    assert_eq!(
        (&balances["items"][0]["amount"], &balances["items"][0]["kind"]),
        (&json!("1204.50"), &json!("booked"))
    );
    let status = desk.page("").await;
    assert_eq!(
        (&status["seq"], &status["number"], &status["failures"]),
        (&json!(4), &json!("12345678"), &json!(0))
    );
}

/// What a reader holds who applies changes: text by transaction.
fn apply(held: &mut BTreeMap<String, String>, changes: &Value) {
    for change in changes["items"].as_array().unwrap() {
        let id = change["transaction_id"].as_str().unwrap().to_owned();
        let known = held.get(&id).cloned();
        let before = change["before"]["text"].as_str().map(str::to_owned);
        assert_eq!(known, before, "before is what the reader knew: {change}");
        match change["after"]["text"].as_str() {
            Some(text) => drop(held.insert(id, text.to_owned())),
            None => drop(held.remove(&id)),
        }
    }
}

#[tokio::test]
async fn a_compact_reading_is_pinned_and_leads_to_what_is_held() {
    let desk = Desk::open().await;
    let rows: Vec<_> = (1..=5).map(|row| entry(-row, &format!("row {row}"), 1)).collect();
    desk.look(rows.iter().cloned().map(NewChange::added).collect()).await;

    // A reader who has seen three of them.
    let mut held = BTreeMap::new();
    let seen = desk.page("/changes?limit=3").await;
    apply(&mut held, &seen);
    let named = |text: &str, row: &Transaction| Transaction { text: text.into(), ..row.clone() };
    let (once, twice) = (named("once", &rows[0]), named("twice", &rows[0]));
    let changes = vec![
        NewChange::amended(1, rows[0].clone(), once.clone()),
        NewChange::amended(1, once, twice),
        removed(2, &rows[1], ChangeReason::ProvedAbsent),
        removed(4, &rows[3], ChangeReason::ProvedAbsent),
        NewChange::added(entry(-9, "new", 2)),
    ];
    desk.look(changes).await;
    let mut page = desk.page(&format!("/changes?compact=true&limit=1&cursor={}", next(&seen))).await;
    // What happens while it is paged comes after it.
    desk.look(vec![NewChange::amended(3, rows[2].clone(), named("late", &rows[2]))]).await;
    let mut shown = 0;
    loop {
        apply(&mut held, &page);
        shown += page["items"].as_array().unwrap().len();
        if page["has_more"] == false {
            break;
        }
        page = desk.page(&format!("/changes?limit=1&cursor={}", next(&page))).await;
    }
    assert_eq!(shown, 4, "row 5, twice, row 2 gone, and the new one; row 4 came and went");
    let mut texts_held: Vec<_> = held.values().cloned().collect();
    texts_held.sort();
    assert_eq!(texts_held, ["new", "row 3", "row 5", "twice"]);
    let rest = desk.page(&format!("/changes?cursor={}", next(&page))).await;
    apply(&mut held, &rest);
    let listed = desk.page("/transactions").await;
    let (mut now, mut all) = (texts(&listed), held.into_values().collect::<Vec<_>>());
    now.sort();
    all.sort();
    assert_eq!(all, now);
}

#[tokio::test]
async fn what_was_believed_then_and_the_story_of_one_transaction() {
    let desk = Desk::open().await;
    let (coffee, rent) = (entry(-320, "Coffee", 1), entry(-90_000, "Rent", 2));
    let both = vec![NewChange::added(coffee.clone()), NewChange::added(rent.clone())];
    let first = desk.look(both).await;
    desk.world.app.clock.advance(std::time::Duration::from_secs(3_600));
    let corrected = Transaction { text: "Cafe".into(), ..coffee.clone() };
    let changes = vec![
        NewChange::amended(1, coffee, corrected),
        removed(2, &rent, ChangeReason::AbsentTwice),
        NewChange::added(entry(5, "Interest", 3)),
    ];
    desk.look(changes).await;
    let then = first.finished_at.utc().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let page = desk.page(&format!("/transactions?as_of={then}&limit=1")).await;
    assert_eq!((texts(&page), &page["has_more"]), (vec!["Coffee".to_owned()], &json!(true)));
    let rest = desk.page(&format!("/transactions?limit=1&cursor={}", next(&page))).await;
    assert_eq!(texts(&rest), ["Rent"]);
    assert_eq!(texts(&desk.page("/transactions").await), ["Cafe", "Interest"]);
    let before = desk.page("/transactions?as_of=2020-01-01T00:00:00Z").await;
    assert_eq!(before["items"], json!([]));
    let filtered = desk.get(&format!("/transactions?as_of={then}&status=booked")).await;
    filtered.problem(400, "invalid-query");

    // The story of one that is gone, and of one that never was.
    let story = async |number: u32| {
        let id = format!("{}_{number}", desk.account.to_string().replacen("acc_", "txn_", 1));
        desk.get(&format!("/transactions/{id}/changes")).await
    };
    let rent = story(2).await.is(200);
    let kinds: Vec<_> =
        rent["items"].as_array().unwrap().iter().map(|one| (&one["kind"], &one["reason"])).collect();
    assert_eq!(kinds, [(&json!("added"), &json!("listed")), (&json!("removed"), &json!("absent_twice"))]);
    story(99).await.problem(404, "unknown-id");
    story(3).await.problem(404, "unknown-id"); // the third change is no transaction's first one
}
