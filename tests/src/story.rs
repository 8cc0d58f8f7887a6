//! The main job, played from beginning to end through the public door, each step verified.
//!
//! `cargo demo -- --once` prints it; the integration tests play it on both databases.

use crate::bank::{
    API_PATH, Bank, Correction, Customer, Fault, Granted, Hold, NewCustomer, NewEntry, PathKind, RetryAfter,
    RowStatus, Target,
};
use crate::compare::{changes, compare, rows, tally};
use crate::http::{Answer, expect, items, text};
use crate::linking::is_read;
use crate::sink::Received;
use crate::waiting::{PATIENCE, until};
use crate::world::{DEMO_BANK, World};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Days of ordinary life before the story begins.
const HISTORY_DAYS: u32 = 60;
const HOUR: Duration = Duration::from_secs(3600);

/// Where the story stands.
pub struct Story<'a> {
    world: &'a World,
    say: &'a (dyn Fn(&str) + Sync),
    customer: Customer,
    consent: Granted,
    connection: String,
    /// Our account id by the bank's.
    accounts: BTreeMap<String, String>,
    /// Where the business has read each account's changes to.
    cursors: BTreeMap<String, String>,
}

/// Plays the whole story; `say` hears a line a step. Fails with what was not as it should be.
pub async fn play(world: &World, say: &(dyn Fn(&str) + Sync)) -> anyhow::Result<()> {
    let mut story = Story::begin(world, say).await.context("1. a business and its webhook endpoint")?;
    story.link().await.context("2. a connection, two accounts, history")?;
    story.an_hour_passes().await.context("3. an hour passes")?;
    story.refresh_now().await.context("4. refresh on demand")?;
    story.the_bank_stumbles().await.context("5. the bank stumbles")?;
    story.consent_ends_and_comes_back().await.context("6. the consent ends and comes back")?;
    story.compare_everything().await.context("row by row")?;
    story.the_customer_leaves().await.context("7. the customer leaves")?;
    no_bad_signature(world)
}

/// Every webhook so far was signed as it must be.
pub(crate) fn no_bad_signature(world: &World) -> anyhow::Result<()> {
    // An attempt that was on its way while the clock jumped arrives too old; it is sent again.
    let mut refused = world.sink.failures();
    refused.retain(|why| !why.starts_with("webhook-timestamp"));
    ensure!(refused.is_empty(), "bad signatures: {refused:?}");
    Ok(())
}

impl<'a> Story<'a> {
    /// A customer of the bank, and an endpoint of the business.
    pub async fn begin(world: &'a World, say: &'a (dyn Fn(&str) + Sync)) -> anyhow::Result<Self> {
        world.endpoint().await?;
        let customer =
            world.bank.create_customer(&NewCustomer::with_two_accounts("Ada Sample", HISTORY_DAYS))?;
        let consent = world.bank.grant(&customer.id, Some(HOUR * 24 * 90))?;
        say(&format!("1. business {} with an API key; webhooks go to {}", world.business, world.sink.url()));
        let (connection, accounts, cursors) = (String::new(), BTreeMap::new(), BTreeMap::new());
        Ok(Self { world, say, customer, consent, connection, accounts, cursors })
    }

    fn everyday(&self) -> &str {
        self.customer.accounts.first().map_or("", String::as_str)
    }

    fn account(&self, bank_id: &str) -> anyhow::Result<&str> {
        Ok(self.accounts.get(bank_id).with_context(|| format!("no account for {bank_id}"))?)
    }

    /// Links the customer's bank and waits for the first syncs.
    pub async fn link(&mut self) -> anyhow::Result<()> {
        let world = self.world;
        let pending = NewEntry::card("-40.00", "LUIGI TRATTORIA LONDON", "Luigi Trattoria");
        world.bank.authorise(self.everyday(), pending)?;
        let created = world.api.post("/v1/connections", &connection_request(&self.consent)).await?;
        expect(&created, 201)?;
        self.connection = created.text("/id").to_owned();
        let first_syncs = |received: &[Received]| {
            (events(received, "account.updated", &self.connection).len() >= 2).then_some(())
        };
        world.sink.wait_for("an account.updated for each account", PATIENCE, first_syncs).await?;
        let listed = world.api.get(&format!("/v1/accounts?connection_id={}", self.connection)).await?;
        expect(&listed, 200)?;
        for account in items(&listed) {
            self.accounts.insert(text(account, "/bank_id").to_owned(), text(account, "/id").to_owned());
        }
        ensure!(self.accounts.len() == 2, "two accounts, found {:?}", self.accounts);
        for id in self.accounts.values() {
            let path = format!("/v1/accounts/{id}");
            until("all history", async || Ok(is_read(&world.api.get(&path).await?.body).then_some(())))
                .await?;
        }
        world.begin_an_hour(&world.api, &self.connection).await?;
        let mut rows = 0;
        for bank_id in self.customer.accounts.clone() {
            rows += self.compare(&bank_id).await?;
            let (changes, cursor) = self.changes_since(&bank_id).await?;
            ensure!(changes.iter().all(|change| text(change, "/kind") == "added"), "history is added");
            self.cursors.insert(bank_id, cursor);
        }
        (self.say)(&format!(
            "2. connection {}: two accounts, {rows} transactions of history",
            self.connection
        ));
        Ok(())
    }

    /// The bank works; sixty minutes later the scheduler syncs by itself.
    pub async fn an_hour_passes(&mut self) -> anyhow::Result<()> {
        let (bank, everyday) = (&self.world.bank, self.everyday().to_owned());
        let mark = bank.mark();
        let listed = bank.statement(&everyday)?.rows;
        let since = (bank.now() - chrono::Days::new(10)).date_naive();
        let mut recent =
            listed.iter().filter(|row| row.status == RowStatus::Booked && row.booked_on >= since);
        let (wrong, doubtful) = (recent.next().context("a recent row")?, recent.next().context("another")?);
        let pending = listed.iter().find(|row| row.status == RowStatus::Pending).context("a pending row")?;

        bank.book(&everyday, NewEntry::transfer("1250.00", "INVOICE 2217"))?;
        bank.book(&everyday, NewEntry::card("-63.12", "CORNER GROCERY", "Corner Grocery"))?;
        bank.settle(&everyday, &pending.id, Some("-46.00"))?;
        let correction = Correction { amount: None, text: Some("CORRECTED NARRATION".into()) };
        bank.correct(&everyday, &wrong.id, correction)?;
        bank.remove(&everyday, &doubtful.id)?;
        bank.book_twins(&everyday, &NewEntry::card("-3.20", "CORNER COFFEE", "Corner Coffee"))?;

        let account = self.account(&everyday)?.to_owned();
        let told = self.world.sink.received().len();
        self.world.advance(HOUR);
        let event = self.wait_updated(&account, told).await?;
        ensure!(event.pointer("/data/proof") == Some(&json!("proved")), "the balance proves it: {event}");
        let said = self.follow(&everyday, mark).await?;
        self.compare(&everyday).await?;
        (self.say)(&format!("3. 60 minutes later, by itself, webhook and cursor: {said}"));
        Ok(())
    }

    /// `/sync` brings the next entry at once, and many calls at one moment make one fetch.
    pub async fn refresh_now(&mut self) -> anyhow::Result<()> {
        let (bank, everyday) = (&self.world.bank, self.everyday().to_owned());
        let mark = bank.mark();
        bank.book(&everyday, NewEntry::card("-12.50", "LUNCH", "Lunch Bar"))?;
        let sync = self.sync(&everyday).await?;
        ensure!(text(&sync, "/code") == "SYNC_SUCCESSFUL", "{sync}");
        ensure!(sync["added"] == 1 && sync["has_new_data"] == true, "one new row: {sync}");
        self.follow(&everyday, mark).await?;

        // Before the run asks: the session must be renewed first, and the bank is slow at that.
        bank.hold(PathKind::Token, Hold::Request);
        self.world.advance(bank.config().access_token_lives);
        let fetches = self.fetches(&everyday);
        self.twenty_calls(&everyday, |bank| async move { Ok(bank.wait_held(1, PATIENCE).await?) }).await?;
        ensure!(self.fetches(&everyday) == fetches + 1, "twenty calls before the bank is asked: one fetch");

        // After it asked: the run is at the bank; twenty calls get the next one, together.
        bank.hold(
            Target { path: Some(PathKind::Transactions), account: Some(everyday.clone()) },
            Hold::Answer,
        );
        let first = self.ask(&everyday, 0).await?;
        expect(&first, 202)?;
        bank.wait_held(1, PATIENCE).await?;
        let fetches = self.fetches(&everyday);
        let together = self.twenty_calls(&everyday, |_| async { Ok(()) }).await?;
        ensure!(together != first.text("/id"), "a call after the bank was asked waits for the next run");
        ensure!(self.fetches(&everyday) == fetches + 1, "twenty calls after it was asked: one more fetch");
        (self.say)("4. refresh now: the next entry at once; twenty calls at the same moment, one fetch");
        Ok(())
    }

    /// Twenty calls while a gate is closed; then it opens. The one sync that answers them all.
    async fn twenty_calls<F: Future<Output = anyhow::Result<()>>>(
        &self,
        everyday: &str,
        ready: impl FnOnce(Bank) -> F,
    ) -> anyhow::Result<String> {
        let called_at = self.world.clock.now();
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let (api, account) = (self.world.api.clone(), self.account(everyday).map(str::to_owned));
                tokio::spawn(async move {
                    anyhow::Ok(api.post(&format!("/v1/accounts/{}/sync?wait=0", account?), &json!({})).await?)
                })
            })
            .collect();
        let mut ids = std::collections::BTreeSet::new();
        for call in calls {
            let answer = call.await??;
            expect(&answer, 202)?;
            ids.insert(answer.text("/id").to_owned());
        }
        ensure!(ids.len() == 1, "twenty calls, one sync: {ids:?}");
        ready(self.world.bank.clone()).await?;
        self.world.bank.release();
        let id = ids.into_iter().next().unwrap_or_default();
        let sync = self.finished(&id).await?;
        let asked_at: host::model::Timestamp = serde_json::from_value(sync["bank_asked_at"].clone())?;
        ensure!(asked_at >= called_at, "asked at {asked_at}, called at {called_at}");
        Ok(id)
    }

    /// 429, 503, half an answer, an expired token: nothing stored is harmed, and the answer says what is next.
    pub async fn the_bank_stumbles(&mut self) -> anyhow::Result<()> {
        let (world, bank, everyday) = (self.world, &self.world.bank, self.everyday().to_owned());
        let account = self.account(&everyday)?.to_owned();
        let before = rows(&world.api, &account).await?;

        let busy = Fault::Status { status: 429, retry_after: Some(RetryAfter::Seconds(120)) };
        bank.fault(PathKind::Transactions, busy, 1);
        let sync = self.sync(&everyday).await?;
        ensure!(text(&sync, "/reason") == "rate-limited", "{sync}");
        ensure!(sync["next_allowed_at"].is_string() && sync["next_at"].is_string(), "says when: {sync}");
        let fetches = self.fetches(&everyday);
        let early = self.ask(&everyday, 30).await?;
        expect(&early, 429)?;
        let wait: u64 = early.header("retry-after").parse().context("Retry-After in seconds")?;
        ensure!((1..=120).contains(&wait), "Retry-After: {wait}");
        ensure!(self.fetches(&everyday) == fetches, "the bank is left alone");

        // The scheduler tries again as well when that time is over, so the faults stay until they were seen.
        bank.fault(PathKind::Transactions, Fault::Status { status: 503, retry_after: None }, 100);
        world.advance(Duration::from_secs(121));
        let sync = self.sync(&everyday).await?;
        ensure!(text(&sync, "/reason") == "bank-unavailable" && sync["next_at"].is_string(), "{sync}");
        bank.clear_faults();

        bank.fault(PathKind::Transactions, Fault::TruncatedJson, 100);
        let sync = self.sync(&everyday).await?;
        bank.clear_faults();
        ensure!(text(&sync, "/reason") == "unreadable" && text(&sync, "/code") == "SYNC_ERROR", "{sync}");
        ensure!(rows(&world.api, &account).await? == before, "nothing stored is harmed");

        bank.fault(PathKind::Transactions, Fault::ExpireAccessTokens, 1);
        let renewals = bank.request_count(PathKind::Token);
        let sync = self.sync(&everyday).await?;
        ensure!(text(&sync, "/code") == "SYNC_SUCCESSFUL", "{sync}");
        ensure!(bank.request_count(PathKind::Token) == renewals + 1, "renewed once, by the single-use token");
        self.compare(&everyday).await?;
        (self.say)("5. 429, 503, truncated JSON, an access token run out: told, retried, nothing harmed");
        Ok(())
    }

    /// The bank ends the consent; a fresh credential brings the connection back as it was.
    pub async fn consent_ends_and_comes_back(&mut self) -> anyhow::Result<()> {
        let (world, everyday) = (self.world, self.everyday().to_owned());
        let kind = "connection.reauthorisation_required";
        world.bank.revoke_consent(&self.consent.consent_id)?;
        let sync = self.sync(&everyday).await?;
        ensure!(text(&sync, "/code") == "REAUTHORISATION_REQUIRED", "{sync}");
        self.wait_event(kind).await?;
        let asked = world.bank.requests().len();
        for _ in 0..3 {
            world.advance(HOUR);
            let again = self.sync(&everyday).await?;
            ensure!(text(&again, "/code") == "REAUTHORISATION_REQUIRED", "{again}");
        }
        ensure!(world.bank.requests().len() == asked, "polling stops");
        let told = events(&world.sink.received(), kind, &self.connection).len();
        ensure!(told == 1, "one event, not {told}");

        let mark = world.bank.mark();
        world.bank.book(&everyday, NewEntry::transfer("75.00", "WHILE YOU WERE AWAY"))?;
        self.consent = world.bank.grant(&self.customer.id, Some(HOUR * 24 * 90))?;
        let path = format!("/v1/connections/{}/reauthorise", self.connection);
        let mut request = connection_request(&self.consent);
        if let Some(request) = request.as_object_mut() {
            request.retain(|key, _| key == "credentials" || key == "consent");
        }
        let received = world.sink.received().len();
        expect(&world.api.post(&path, &request).await?, 200)?;
        let account = self.account(&everyday)?.to_owned();
        self.wait_updated(&account, received).await?;
        let listed = world.api.get(&format!("/v1/accounts?connection_id={}", self.connection)).await?;
        for account in items(&listed) {
            let same = self.accounts.get(text(account, "/bank_id")).map(String::as_str)
                == Some(text(account, "/id"));
            ensure!(same, "the same account ids: {account}");
        }
        self.follow(&everyday, mark).await?;
        (self.say)(
            "6. consent ended: one event, no polling; re-authorised: same accounts, history and cursors",
        );
        Ok(())
    }

    /// The whole stored ledger against the bank's.
    pub async fn compare_everything(&mut self) -> anyhow::Result<()> {
        let mut rows = 0;
        for bank_id in self.customer.accounts.clone() {
            rows += self.compare(&bank_id).await?;
        }
        (self.say)(&format!("=  the stored ledger equals the bank's, row by row: {rows} rows, two balances"));
        Ok(())
    }

    /// The connection is deleted: the consent ends at the bank, no polling, one event, nothing left of the
    /// customer.
    pub async fn the_customer_leaves(&mut self) -> anyhow::Result<()> {
        let (world, kind) = (self.world, "connection.deleted");
        let connection = format!("/v1/connections/{}", self.connection);
        expect(&world.api.delete(&connection).await?, 204)?;
        self.wait_event(kind).await?;
        let mut ended = world.bank.requests();
        ended.retain(|request| request.kind == PathKind::Consent);
        let ended: Vec<_> = ended.iter().map(|request| (request.path.as_str(), request.status)).collect();
        let path = format!("{API_PATH}/account-access-consents/{}", self.consent.consent_id);
        ensure!(ended == [(path.as_str(), Some(204))], "the bank is told once that it ended: {ended:?}");
        let asked = world.bank.requests().len();
        world.advance(HOUR * 2);
        for account in self.accounts.values() {
            for path in ["", "/transactions", "/balances", "/changes"] {
                let gone = world.api.get(&format!("/v1/accounts/{account}{path}")).await?;
                ensure!(matches!(gone.status, 404 | 410), "{account}{path} answers {}", gone.status);
            }
        }
        expect(&world.api.delete(&connection).await?, 404)?;
        ensure!(world.bank.requests().len() == asked, "polling stops");
        let told = events(&world.sink.received(), kind, &self.connection).len();
        ensure!(told == 1, "one event, not {told}");
        (self.say)(
            "7. connection deleted: consent ended at the bank, no polling, one event, the customer's data is erased",
        );
        Ok(())
    }
}

// ---- asking and waiting
impl Story<'_> {
    async fn ask(&self, bank_id: &str, wait: u32) -> anyhow::Result<Answer> {
        let path = format!("/v1/accounts/{}/sync?wait={wait}", self.account(bank_id)?);
        Ok(self.world.api.post(&path, &json!({})).await?)
    }

    /// A sync that finishes while the call waits, asked of the bank no earlier than the call.
    async fn sync(&self, bank_id: &str) -> anyhow::Result<Value> {
        let called_at = self.world.clock.now();
        let answer = self.ask(bank_id, 30).await?;
        expect(&answer, 200)?;
        if let Ok(asked_at) =
            serde_json::from_value::<host::model::Timestamp>(answer.body["bank_asked_at"].clone())
        {
            let stopped = answer.text("/code") == "REAUTHORISATION_REQUIRED";
            ensure!(stopped || asked_at >= called_at, "asked at {asked_at}, called at {called_at}");
        }
        Ok(answer.body)
    }

    async fn finished(&self, sync: &str) -> anyhow::Result<Value> {
        until(&format!("the end of sync {sync}"), async || {
            let answer = self.world.api.get(&format!("/v1/syncs/{sync}")).await?;
            expect(&answer, 200)?;
            Ok((answer.text("/status") == "finished").then_some(answer.body))
        })
        .await
    }

    async fn wait_updated(&self, account: &str, after: usize) -> anyhow::Result<Value> {
        let found = |received: &[Received]| {
            let new =
                received.iter().skip(after).filter(|event| event.accepted && event.kind == "account.updated");
            new.map(|event| &event.payload)
                .find(|payload| text(payload, "/data/account_id") == account)
                .cloned()
        };
        Ok(self.world.sink.wait_for(&format!("account.updated of {account}"), PATIENCE, found).await?)
    }

    async fn wait_event(&self, kind: &str) -> anyhow::Result<()> {
        let found =
            |received: &[Received]| (!events(received, kind, &self.connection).is_empty()).then_some(());
        Ok(self.world.sink.wait_for(kind, PATIENCE, found).await?)
    }

    /// How often an account's list was asked for, each with all its pages.
    fn fetches(&self, bank_id: &str) -> usize {
        let first_page = |query: &Option<String>| !query.as_deref().unwrap_or("").contains("page=");
        let requests = self.world.bank.requests();
        let asked = requests.iter().filter(|request| {
            request.kind == PathKind::Transactions && request.account.as_deref() == Some(bank_id)
        });
        asked.filter(|request| first_page(&request.query)).count()
    }
}

// ---- reading and comparing
impl Story<'_> {
    async fn changes_since(&self, bank_id: &str) -> anyhow::Result<(Vec<Value>, String)> {
        let cursor = self.cursors.get(bank_id).map(String::as_str);
        changes(&self.world.api, self.account(bank_id)?, cursor).await
    }

    /// Reads on from the cursor: exactly what the bank did since `mark`, no more and no less.
    async fn follow(&mut self, bank_id: &str, mark: usize) -> anyhow::Result<String> {
        let (changes, cursor) = self.changes_since(bank_id).await?;
        let said = tally(&changes, &self.world.bank, bank_id, mark)?;
        self.cursors.insert(bank_id.to_owned(), cursor);
        Ok(said)
    }

    async fn compare(&self, bank_id: &str) -> anyhow::Result<usize> {
        compare(&self.world.api, self.account(bank_id)?, &self.world.bank, bank_id).await
    }
}

/// What a business hands in after the customer agreed on the bank's page.
pub fn connection_request(consent: &Granted) -> Value {
    json!({
        "institution_id": DEMO_BANK,
        "customer_ref": "customer-42",
        "credentials": { "refresh-token": consent.refresh_token, "consent-id": consent.consent_id },
        "consent": {
            "granted_at": consent.granted_at,
            "expires_at": consent.expires_at,
            "scopes": consent.permissions,
            "how": "redirect",
            "reference": consent.consent_id,
        },
    })
}

/// Accepted events of a kind about a connection, each once: delivery is at least once, and a
/// receiver knows a repetition by its id.
pub fn events<'r>(received: &'r [Received], kind: &str, connection: &str) -> Vec<&'r Received> {
    let mut seen = std::collections::BTreeSet::new();
    received
        .iter()
        .filter(|event| event.accepted && event.kind == kind)
        .filter(|event| text(&event.payload, "/data/connection_id") == connection)
        .filter(|event| seen.insert(&event.id))
        .collect()
}
