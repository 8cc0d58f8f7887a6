//! `cargo demo`: the whole service beside a demo bank, on one command.
//!
//! Without arguments it stays up and says what to try; `--once` plays the main job unattended,
//! prints a line a step, and ends with success only if every step was verified.

#![allow(clippy::indexing_slicing)] // of JSON: gives null

use clap::Parser;
use std::process::ExitCode;
use std::time::Duration;
use tests::bank::NewCustomer;
use tests::story;
use tests::world::{World, WorldConfig};

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
    println!("every step verified");
    Ok(())
}

async fn stay() -> anyhow::Result<()> {
    println!("building the connectors, starting bank, webhook sink and tidegate …");
    let mut world = World::start(WorldConfig::default()).await?;
    let customer = world.bank.create_customer(&NewCustomer::with_two_accounts("Ada Sample", 60))?;
    let consent = world.bank.grant(&customer.id, Some(Duration::from_secs(90 * 24 * 3600)))?;
    let request = story::connection_request(&consent);
    let (api, bank, key) = (&world.origin, world.bank.auth_origin(), world.api.key().unwrap_or(""));
    let everyday = customer.accounts.first().map_or("", String::as_str);
    println!(
        "
API          {api}/v1        documentation {api}/docs
API key      {key}
Demo bank    {bank}          what it can do {bank}/control
Webhooks     {sink} (prints what it receives)

Try, in another terminal:
  export API={api} KEY='{key}'
  # link the customer's bank
  curl -s $API/v1/connections -H \"authorization: Bearer $KEY\" -H 'content-type: application/json' -d '{request}'
  # see the accounts; then their transactions, balances and changes
  curl -s $API/v1/accounts -H \"authorization: Bearer $KEY\"
  # the bank books something …
  curl -s {bank}/control/accounts/{everyday}/book -H 'content-type: application/json' -d '{{\"amount\":\"-3.20\",\"text\":\"CORNER COFFEE\"}}'
  # … and you refresh now (or wait: it is synced every 60 minutes)
  curl -s -X POST $API/v1/accounts/ACCOUNT_ID/sync -H \"authorization: Bearer $KEY\"

Ctrl-C ends it; nothing stays behind.
",
        sink = world.sink.url(),
    );
    let endpoint =
        world.api.post("/v1/webhook-endpoints", &serde_json::json!({ "url": world.sink.url() })).await?;
    story::expect(&endpoint, 201)?;
    world.sink.set_secrets([endpoint.text("/secret")]);
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
