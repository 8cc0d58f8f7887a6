//! The demo bank alone, as a process of its own. What can be asked of it stands in
//! `tests/src/bank/control.rs`.

use clap::Parser;
use std::net::SocketAddr;
use std::time::Duration;
use tests::bank::{Bank, BankConfig};

/// A bank with a real ledger, its own clock, and faults on request.
#[derive(Parser)]
struct Options {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The same seed gives the same histories, ids and tokens.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rows per page of transactions.
    #[arg(long, default_value_t = 25)]
    page_rows: usize,
    /// How long an access token lives.
    #[arg(long, default_value_t = 600)]
    access_token_seconds: u64,
    /// A second listener that speaks TLS and demands the certificate of a registered client.
    #[arg(long)]
    mutual_tls: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let bank = Bank::start(BankConfig {
        listen: options.listen,
        seed: options.seed,
        page_rows: options.page_rows,
        access_token_lives: Duration::from_secs(options.access_token_seconds),
        mutual_tls: options.mutual_tls,
        ..BankConfig::default()
    })
    .await?;
    println!("auth    {}/token", bank.auth_origin());
    println!("api     {}", bank.api_origin());
    println!("control {}/control (scenarios to play: /control/scenarios)", bank.auth_origin());
    if let Some(origin) = bank.tls_origin() {
        println!("tls     {origin} (its roots: /control/roots)");
    }
    println!("client  {}:{}", bank.config().client_id, bank.config().client_secret);
    tokio::signal::ctrl_c().await?;
    Ok(())
}
