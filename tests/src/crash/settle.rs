//! After a round: everything that is due gets done, within a limit of time. A customer whose consent is lost for a reason
//! that nobody can help agrees once more, as they would; whoever lost one without such a reason is found out.

use super::evidence::Evidence;
use super::findings::{Findings, Kind};
use super::scene::{Customer, Scene, Stage};
use crate::http::{items, text};
use crate::linking::is_read;
use crate::random::Random;
use anyhow::Context;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long all of it may take: two leases of a dead process, a breaker's first pauses, and a debug build that catches up.
const SETTLED_WITHIN: Duration = Duration::from_secs(240);
/// Between two looks at what is not done yet.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// What the bank calls a customer's accounts, in their order.
const NAMES: [&str; 2] = ["Everyday", "Rainy days"];
/// A call waits so long for a sync, in seconds.
const SYNC_WAIT_S: u32 = 20;

/// Brings everything to rest; how many customers had to agree once more.
pub async fn settle(
    scene: &Arc<Scene>,
    evidence: &Arc<Evidence>,
    findings: &Arc<Findings>,
    seed: u64,
) -> anyhow::Result<u32> {
    let again = Arc::new(AtomicU32::new(0));
    let mut work = JoinSet::new();
    for customer in scene.customers() {
        let (scene, evidence, findings, again) =
            (scene.clone(), evidence.clone(), findings.clone(), again.clone());
        let mut random = Random::of(seed, customer.number as u64);
        work.spawn(async move {
            let number = customer.number;
            let settling = async {
                loop {
                    let customer = scene.customers().get(number).cloned().context("a customer")?;
                    let settler =
                        Settler { scene: &scene, evidence: &evidence, findings: &findings, again: &again };
                    if settler.is_settled(&customer, &mut random).await? {
                        return anyhow::Ok(());
                    }
                    tokio::time::sleep(LOOK_AGAIN).await; // nothing tells of it
                }
            };
            if tokio::time::timeout(SETTLED_WITHIN, settling)
                .await
                .map_err(anyhow::Error::from)
                .flatten()
                .is_err()
            {
                let customer = scene.customers().get(number).cloned().context("a customer")?;
                findings.add(Kind::Lost, not_settled(&scene, &customer, &mut random).await);
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = work.join_next().await {
        done??;
    }
    Ok(again.load(Ordering::SeqCst))
}

async fn not_settled(scene: &Scene, customer: &Customer, random: &mut Random) -> String {
    let connection = customer.connection.clone().unwrap_or_default();
    let shown = scene.get(random, &format!("/v1/connections/{connection}")).await.map(|answer| answer.body);
    let accounts = scene.get(random, &format!("/v1/accounts?connection_id={connection}")).await;
    let mut syncs = Vec::new();
    for account in accounts.iter().flat_map(items) {
        let syncs_of = format!("/v1/accounts/{}/syncs?limit=1", text(account, "/id"));
        syncs.extend(scene.get(random, &syncs_of).await.map(|answer| answer.body));
    }
    format!(
        "customer {} is {:?} and not settled within {SETTLED_WITHIN:?}: {shown:?} {syncs:?}",
        customer.number, customer.stage
    )
}

struct Settler<'a> {
    scene: &'a Scene,
    evidence: &'a Evidence,
    findings: &'a Findings,
    again: &'a AtomicU32,
}

impl Settler<'_> {
    /// One look at a customer, and what is to be done next.
    async fn is_settled(&self, customer: &Customer, random: &mut Random) -> anyhow::Result<bool> {
        match customer.stage {
            Stage::Gone => Ok(true),
            // The consent ran out before the link was made: whether there is one says the list.
            Stage::Coming if customer.time_is_over(chrono::Utc::now()) => {
                self.find(customer, random).await;
                Ok(false)
            }
            Stage::Coming => {
                self.scene.link(random, customer).await;
                Ok(false)
            }
            Stage::Leaving => {
                self.scene.leave(random, customer).await;
                self.is_erased(customer, random).await;
                Ok(false)
            }
            Stage::Here => self.is_read(customer, random).await,
            Stage::Ended => Ok(self.is_stopped(customer, random).await),
        }
    }

    async fn find(&self, customer: &Customer, random: &mut Random) {
        let path = format!("/v1/connections?customer_ref={}", customer.reference());
        let Some(listed) = self.scene.get(random, &path).await else { return };
        match items(&listed).first() {
            Some(one) => self.scene.change(customer.number, |customer| {
                customer.connection = Some(text(one, "/id").to_owned());
                customer.stage = Stage::Ended;
            }),
            None => self.scene.gone(customer.number),
        }
    }

    /// A link that answers 404 is being erased; it is, once the end of its consent is recorded.
    async fn is_erased(&self, customer: &Customer, random: &mut Random) {
        let Some(connection) = &customer.connection else {
            // Before the link was answered there was nothing to end.
            return self.scene.change(customer.number, |customer| customer.stage = Stage::Coming);
        };
        let path = format!("/v1/connections/{connection}");
        let shown = self.scene.call(random, Method::GET, &path, &[], None).await;
        if shown.is_none_or(|answer| answer.status != 404) {
            return;
        }
        let told = |received: &[crate::sink::Received]| {
            received.iter().any(|event| {
                event.accepted
                    && event.kind == "connection.deleted"
                    && text(&event.payload, "/data/connection_id") == connection
            })
        };
        if self.scene.receivers.iter().all(|receiver| receiver.look(told)) {
            self.scene.gone(customer.number);
        }
    }

    /// Each account is read, by a sync that began now.
    async fn is_read(&self, customer: &Customer, random: &mut Random) -> anyhow::Result<bool> {
        let Some(connection) = &customer.connection else { return Ok(false) };
        let Some(shown) = self.scene.get(random, &format!("/v1/connections/{connection}")).await else {
            return Ok(false);
        };
        if text(&shown.body, "/state") == "reauthorisation_required" {
            self.ask_again(customer, &shown.body, random).await?;
            return Ok(false);
        }
        let Some(listed) = self.scene.get(random, &format!("/v1/accounts?connection_id={connection}")).await
        else {
            return Ok(false);
        };
        if items(&listed).len() < customer.bank.accounts.len() {
            return Ok(false);
        }
        let ids = items(&listed).iter().map(|row| {
            // A statement calls an account by its number.
            let by_name = NAMES.iter().position(|name| *name == text(row, "/name"));
            let named = by_name.filter(|_| customer.login.is_some());
            let bank_id = named.and_then(|place| customer.bank.accounts.get(place));
            let bank_id = bank_id.map_or(text(row, "/bank_id"), String::as_str);
            (bank_id.to_owned(), text(row, "/id").to_owned())
        });
        let ids: std::collections::BTreeMap<_, _> = ids.collect();
        self.scene.change(customer.number, |customer| customer.accounts = ids.clone());
        for account in ids.values() {
            // The ledger believes that an entry is gone once two lists in a row have been without it.
            if !self.synced(account, random).await || !self.synced(account, random).await {
                return Ok(false);
            }
            let shown = self.scene.get(random, &format!("/v1/accounts/{account}")).await;
            if !shown.is_some_and(|shown| is_read(&shown.body) && !shown.body["fresh_at"].is_null()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn synced(&self, account: &str, random: &mut Random) -> bool {
        // With the customer there, no budget counts.
        let body = json!({ "customer_present": { "ip": "203.0.113.7" } });
        let path = format!("/v1/accounts/{account}/sync?wait={SYNC_WAIT_S}");
        let answer = self.scene.call(random, Method::POST, &path, &[], Some(&body)).await;
        answer.is_some_and(|answer| answer.status == 200 && answer.text("/code") == "SYNC_SUCCESSFUL")
    }

    /// The service wants the customer to agree again, though they never took it back.
    async fn ask_again(&self, customer: &Customer, shown: &Value, random: &mut Random) -> anyhow::Result<()> {
        let ended = text(shown, "/consent/end_reason") == "expired";
        if customer.time_is_over(chrono::Utc::now()) || (ended && self.evidence.seemed_over(customer)) {
            self.scene.change(customer.number, |customer| customer.stage = Stage::Ended);
            return Ok(());
        }
        let consent = &customer.consent.consent_id;
        // The bank ended it because a token came twice: that it did is judged by the evidence.
        if self.scene.bank.is_in_force(consent)? || !self.evidence.is_spent(&self.scene.bank, consent) {
            let sentence = format!(
                "customer {}: the consent {consent} is in force, and the service gave it up: {shown}",
                customer.number
            );
            self.findings.add(Kind::Consent, sentence);
        }
        if self.scene.come_again(random, customer).await? {
            self.again.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The service knows that the consent has ended; from then on it is silent.
    async fn is_stopped(&self, customer: &Customer, random: &mut Random) -> bool {
        if customer.silent_from.is_some() {
            return true;
        }
        let Some(connection) = &customer.connection else {
            // It never came to a link.
            self.scene.gone(customer.number);
            return true;
        };
        let Some(shown) = self.scene.get(random, &format!("/v1/connections/{connection}")).await else {
            return false;
        };
        if text(&shown.body, "/state") != "reauthorisation_required" {
            // It finds out with the next sync; somebody asks for one.
            for account in customer.accounts.values() {
                self.synced(account, random).await;
            }
            return false;
        }
        if shown.body.pointer("/consent/ended_at").is_none_or(Value::is_null) {
            return false;
        }
        let next = self.scene.bank.next_number();
        self.scene.change(customer.number, |customer| customer.silent_from = Some(next));
        true
    }
}
