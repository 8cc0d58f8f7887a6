//! `cargo demo`: the whole service beside a demo bank, on one command.
//!
//! Without arguments it stays up and says what to try; `--once` plays the main job unattended,
//! prints a line a step, and ends with success only if every step was verified.

#![allow(clippy::indexing_slicing)] // of JSON: gives null

use clap::Parser;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;
use tests::bank::{FIRST_PASSCODE, NewCustomer};
use tests::http::expect;
use tests::world::{CLIENT, World, WorldConfig};
use tests::{doors, story};

#[derive(Debug, Parser)]
#[command(about = "Tidegate beside a demo bank")]
struct Arguments {
    /// Play the story, verify every step, and end.
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.once { once().await } else { stay().await };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn once() -> anyhow::Result<()> {
    println!("building the connectors, starting bank, webhook sink and tidegate …");
    let mut world = World::start(WorldConfig::default()).await?;
    story::play(&world, &|line| println!("{line}")).await?;
    world.stop().await?;
    println!("the bank opens every front door …");
    let mut world = doors::world().await?;
    doors::play(&world, 8, &|line| println!("{line}")).await?;
    world.stop().await?;
    println!("every step verified");
    Ok(())
}

async fn stay() -> anyhow::Result<()> {
    println!("building the connectors, starting bank, webhook sink and tidegate …");
    let mut world = doors::world().await?;
    world.endpoint().await?;
    let customer = world.bank.create_customer(&NewCustomer::with_two_accounts("Ada Sample", 60))?;
    let login = world.bank.login(&customer.id)?;
    let consent = world.bank.grant_to(CLIENT, &customer.id, Some(Duration::from_secs(90 * 24 * 3600)))?;
    let handed_in = story::connection_request(&consent);
    let link = json!({ "customer_ref": "customer-43", "return_to": format!("{}/docs", world.origin) });
    let linked = world.api.post("/v1/links", &link).await?;
    expect(&linked, 201)?;
    println!(
        "
API          {api}           documentation {api}/docs
API key      {key}
Webhooks     printed here as they arrive
Demo bank    {bank}, whose customer Ada Sample has two accounts and logs in with
               Demo Bank                         customer number {number}, passcode {FIRST_PASSCODE}
               Portal, Statements, PSD2          user name {user}, password {password}
               Dialogue                          user {user}, PIN {pin}, and a code:
                                                 curl -s {bank}/control/customers/{number}/otp
             It plays nineteen scenarios of awkward banks on an account: {bank}/control/scenarios

Link Ada's bank as a customer does: open this page in a browser.
  {link_url}

Or hand in what the bank gave you, and try the rest, in another terminal:
  export API={api} KEY='{key}'
  curl -s $API/v1/connections -H \"authorization: Bearer $KEY\" -H 'content-type: application/json' -d '{handed_in}'
  # the accounts; then one account's transactions, balances and changes
  curl -s $API/v1/accounts -H \"authorization: Bearer $KEY\"
  sleep 2   # the bank is being asked
  ACCOUNT=$(curl -s $API/v1/accounts -H \"authorization: Bearer $KEY\" | grep -o 'acc_[0-9a-z]*' | head -n 1)
  curl -s $API/v1/accounts/$ACCOUNT/transactions -H \"authorization: Bearer $KEY\"
  # the bank books something …
  curl -s {bank}/control/accounts/{everyday}/entries -H 'content-type: application/json' -d '{{\"amount\":\"-3.20\",\"text\":\"CORNER COFFEE\"}}'
  # … and you refresh now (or wait: it is synced every 60 minutes)
  curl -s -X POST $API/v1/accounts/$ACCOUNT/sync -H \"authorization: Bearer $KEY\"

Ctrl-C ends it; nothing stays behind.
",
        api = world.origin,
        key = world.api.key().unwrap_or(""),
        bank = world.bank.auth_origin(),
        number = customer.id,
        everyday = customer.accounts.first().map_or("", String::as_str),
        user = login.user,
        password = login.password,
        pin = login.pin,
        link_url = linked.text("/link_url"),
    );
    let mut shown = 0;
    loop {
        let wanted = shown;
        let new = |received: &[tests::sink::Received]| {
            let new: Vec<_> = received.iter().skip(wanted).cloned().collect();
            (!new.is_empty()).then_some(new)
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            received = world.sink.wait_for("a webhook", Duration::from_secs(3600), new) => {
                for event in received.unwrap_or_default() {
                    shown += 1;
                    println!("webhook {} {}", event.kind, event.payload["data"]);
                }
            }
        }
    }
    world.stop().await
}
