//! `tidegate serve`: configuration → logs → `App::build` → `App::run`.

use super::{Answer, descriptors, say};
use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::telemetry;
use anyhow::Context;
use std::path::Path;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn run(config: Option<&Path>) -> anyhow::Result<Answer> {
    let config = Config::load(config)?;
    telemetry::init(&config)?;
    descriptors::ensure(&config)?;
    let listen = config.listen;
    let mut terminate = signal(SignalKind::terminate())?;
    let app = App::build(config, Clock::system()).await?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; stop who does, or set server.listen"))?;
    say(&format!("tidegate listens on http://{}", listener.local_addr()?))?;
    let shutdown = async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: finishing what is in flight");
    };
    app.run(listener, shutdown).await?;
    Answer::good("")
}
