//! `tidegate serve`: configuration → logs → `App::build` → `App::run`.

use super::{Answer, descriptors, say};
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::model::Role;
use crate::telemetry;
use anyhow::Context;
use clap::Args;
use std::collections::BTreeSet;
use std::path::Path;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// What `serve` may be told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct Serve {
    /// What this process does, of several on one PostgreSQL: api (answers), worker (asks banks), sender (webhooks)
    #[arg(long, value_name = "ROLES", value_delimiter = ',', default_value = "api,worker,sender")]
    roles: Vec<Role>,
}

pub(super) async fn run(config: Option<&Path>, serve: Serve) -> anyhow::Result<Answer> {
    let config = Config::load(config)?;
    let traces = telemetry::init(&config)?;
    descriptors::ensure(&config)?;
    let listen = config.listen;
    let mut terminate = signal(SignalKind::terminate())?;
    let roles = BTreeSet::from_iter(serve.roles);
    let app = App::build(config, Clock::system(), roles.clone()).await?;
    let listener = if roles.contains(&Role::Api) {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}; stop who does, or set server.listen"))?;
        say(&format!("tidegate listens on http://{}", listener.local_addr()?))?;
        Some(listener)
    } else {
        say("tidegate runs, without an API")?;
        None
    };
    let shutdown = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: finishing what is in flight");
    };
    let served = app.run(listener, shutdown).await;
    traces.end().await;
    served?;
    Answer::good("")
}
