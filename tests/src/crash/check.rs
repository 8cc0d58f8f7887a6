//! After a round has settled: what the service has, through its API, against what is true.

use super::evidence::Evidence;
use super::findings::{Findings, Kind};
use super::replica::Replica;
use super::scene::{Customer, Scene, Stage};
use crate::compare::{Tells, compare_told};
use crate::http::{Api, expect, items, text};
use crate::sink::Received;
use anyhow::Context;
use chrono::Utc;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a webhook may take to arrive after everything else has settled: the claim of a dead process and a retry, or an
/// event that a clock dated into the future.
const ARRIVES_WITHIN: Duration = Duration::from_secs(120);

/// What a business keeps from round to round.
#[derive(Default)]
pub struct Checker {
    replicas: BTreeMap<String, Replica>,
    /// Customers whose end was looked at.
    ended: BTreeSet<usize>,
    /// Rows that were compared with the bank's, all rounds together.
    pub compared: usize,
}

impl Checker {
    /// Looks at everything.
    pub async fn check(
        &mut self,
        scene: &Scene,
        evidence: &Evidence,
        findings: &Findings,
    ) -> anyhow::Result<()> {
        let api = scene.apis.first().context("a process")?;
        let customers = scene.customers();
        evidence.judge(&scene.bank, &customers, findings);
        for customer in &customers {
            match customer.stage {
                Stage::Here => self.account_for(scene, api, customer, findings).await?,
                Stage::Gone if self.ended.insert(customer.number) => {
                    the_end_is_recorded(api, customer, findings).await?;
                }
                _ => {}
            }
        }
        for receiver in &scene.receivers {
            for refused in receiver.failures() {
                findings.add(Kind::Lost, format!("a receiver refused a webhook: {refused}"));
            }
        }
        Ok(())
    }

    /// Forgets the copies: the next look replays all history.
    pub fn forget(&mut self) {
        self.replicas.clear();
    }

    async fn account_for(
        &mut self,
        scene: &Scene,
        api: &Api,
        customer: &Customer,
        findings: &Findings,
    ) -> anyhow::Result<()> {
        let listed = api.get(&format!("/v1/connections?customer_ref={}", customer.reference())).await?;
        expect(&listed, 200)?;
        match items(&listed) {
            [one] => the_consent_is_recorded(api, customer, text(one, "/id"), findings).await?,
            [] => {
                findings.add(Kind::Lost, format!("customer {} was linked, and is not there", customer.number))
            }
            more => {
                let sentence = format!(
                    "customer {} was linked once, and is there {} times",
                    customer.number,
                    more.len()
                );
                findings.add(Kind::Doubled, sentence);
            }
        }
        for (bank_id, account) in &customer.accounts {
            let tells = if customer.login.is_some() { Tells::BookedByYesterday } else { Tells::Everything };
            match compare_told(api, account, &scene.bank, bank_id, tells).await {
                Ok(rows) => self.compared += rows,
                Err(why) => findings.add(Kind::Lost, format!("customer {}: {why:#}", customer.number)),
            }
            let replica = self.replicas.entry(account.clone()).or_default();
            replica.follow(api, account, findings).await?;
            let shown = api.get(&format!("/v1/accounts/{account}")).await?;
            if shown.body["seq"].as_i64() != Some(replica.seq) {
                let sentence =
                    format!("{account}: the last change is {}, and seq {}", replica.seq, shown.body["seq"]);
                findings.add(Kind::Lost, sentence);
            }
            told_everywhere(scene, account, replica.seq, findings).await;
        }
        Ok(())
    }
}

/// Each receiver has accepted an event whose `to_seq` is the account's last.
async fn told_everywhere(scene: &Scene, account: &str, seq: i64, findings: &Findings) {
    let told = |received: &[Received]| {
        let of = |event: &&Received| event.accepted && text(&event.payload, "/data/account_id") == account;
        let mut newest = received.iter().rev().filter(of);
        newest
            .any(|event| event.payload.pointer("/data/to_seq").and_then(Value::as_i64) == Some(seq))
            .then_some(())
    };
    for (number, receiver) in scene.receivers.iter().enumerate().filter(|_| seq > 0) {
        if receiver.wait_for("the last event", ARRIVES_WITHIN, told).await.is_err() {
            findings
                .add(Kind::Lost, format!("receiver {number} was not told that {account} is at seq {seq}"));
        }
    }
}

async fn the_consent_is_recorded(
    api: &Api,
    customer: &Customer,
    connection: &str,
    findings: &Findings,
) -> anyhow::Result<()> {
    let shown = api.get(&format!("/v1/connections/{connection}")).await?;
    expect(&shown, 200)?;
    // It may have run out since everything was at rest.
    if customer.time_is_over(Utc::now()) {
        return Ok(());
    }
    let recorded = shown.text("/consent/reference") == customer.consent.consent_id;
    if !recorded || !shown.body.pointer("/consent/ended_at").is_some_and(Value::is_null) {
        let sentence = format!(
            "customer {}: {} is not recorded as in force: {}",
            customer.number, customer.consent.consent_id, shown.body
        );
        findings.add(Kind::Consent, sentence);
    }
    Ok(())
}

async fn the_end_is_recorded(api: &Api, customer: &Customer, findings: &Findings) -> anyhow::Result<()> {
    let Some(connection) = &customer.connection else { return Ok(()) };
    let listed = api.get(&format!("/v1/consents?connection_id={connection}")).await?;
    if items(&listed).is_empty() || items(&listed).iter().any(|consent| consent["ended_at"].is_null()) {
        let sentence =
            format!("customer {} left, and their consents do not say so: {}", customer.number, listed.body);
        findings.add(Kind::Consent, sentence);
    }
    Ok(())
}
