//! A customer's way in and out, as a business's own pages lead it: what the story of the doors and the tests share.
//!
//! Must not know: which bank it is.

use crate::bank::Customer;
use crate::http::{Answer, Api, expect, items, text};
use crate::sink::Received;
use crate::story::events;
use crate::waiting::{PATIENCE, until};
use crate::world::World;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The connection as it is now.
pub async fn shown(api: &Api, connection: &str) -> anyhow::Result<Value> {
    let answer = api.get(&format!("/v1/connections/{connection}")).await?;
    expect(&answer, 200)?;
    Ok(answer.body)
}

/// `POST …/continue` with what the customer typed.
pub async fn go_on(api: &Api, connection: &str, values: &Value) -> anyhow::Result<Answer> {
    let path = format!("/v1/connections/{connection}/continue");
    let answer = api.post(&path, &json!({ "values": values })).await?;
    expect(&answer, 200)?;
    Ok(answer)
}

/// The fields that the customer is asked for, by name; none where there is no form.
pub fn fields(answer: &Value) -> Vec<&str> {
    let fields = answer.pointer("/authorisation/next/fields").and_then(Value::as_array);
    fields.into_iter().flatten().map(|field| text(field, "/name")).collect()
}

/// Was the account, as the API shows it, synced, and, if that went well, all its history read?
pub fn is_read(account: &Value) -> bool {
    account["last_sync_id"].is_string()
        && (account["fresh_at"].is_null() || account["history_complete"] == true)
}

/// Waits until the customer is in and all their accounts were read once; our account ids by the bank's.
///
/// Not every door calls an account by the bank's own id; all of them know its name.
pub async fn accounts(
    api: &Api,
    connection: &str,
    customer: &Customer,
) -> anyhow::Result<BTreeMap<String, String>> {
    until("an active connection", async || {
        Ok((shown(api, connection).await?["state"] == "active").then_some(()))
    })
    .await?;
    let path = format!("/v1/accounts?connection_id={connection}");
    let listed = until("the list of accounts", async || {
        let listed = api.get(&path).await?;
        expect(&listed, 200)?;
        Ok((items(&listed).len() == customer.accounts.len()).then_some(listed))
    })
    .await?;
    for account in items(&listed) {
        let path = format!("/v1/accounts/{}", text(account, "/id"));
        until("an account's first sync, and its history", async || {
            Ok(is_read(&api.get(&path).await?.body).then_some(()))
        })
        .await?;
    }
    let ours = |(bank_id, name): (&String, &str)| {
        let found = items(&listed).iter().find(|account| text(account, "/name") == name);
        let found = found.with_context(|| format!("no account {name}: {}", listed.body))?;
        Ok((bank_id.clone(), text(found, "/id").to_owned()))
    };
    customer.accounts.iter().zip(["Everyday", "Rainy days"]).map(ours).collect()
}

/// `DELETE`, and everything gone; whether the bank ended the consent.
pub async fn leave(world: &World, connection: &str) -> anyhow::Result<bool> {
    expect(&world.api.delete(&format!("/v1/connections/{connection}")).await?, 204)?;
    let told = |received: &[Received]| {
        events(received, "connection.deleted", connection).first().map(|event| event.payload.clone())
    };
    let event = world.sink.wait_for("connection.deleted", PATIENCE, told).await?;
    let ended = event.pointer("/data/consent_ended_at_bank").and_then(Value::as_bool);
    ensure!(ended.is_some(), "says whether the bank ended it: {event}");
    Ok(ended == Some(true))
}
