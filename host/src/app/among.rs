//! This process among those that share its database: it says that it is there and learns who else is, follows the database's
//! clock, and passes news on. Alone on its database it does nothing of this.
//!
//! Must not know: what the others do.

use super::App;
use crate::crew::BEAT;
use crate::model::Role;
use crate::nudge::Bell;
use crate::store::StoreError;
use anyhow::bail;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A clock that is further off than this is wrong, not late: leases and due times of all processes are one time.
const OFF_MAX: Duration = Duration::from_secs(1);
/// Differences up to this are the way to the database and back; the clock is left alone.
const OFF_IGNORED: Duration = Duration::from_millis(50);
/// News are gathered for so long before they are sent: a NOTIFY is a transaction of its own, and PostgreSQL lets one commit
/// with news at a time.
const TELL_EVERY: Duration = Duration::from_millis(5);
/// Pause after the connection on which news come was lost.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// A process that was not heard of for so long is taken off the list.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// Takes a place among the others. An error if this machine's clock is wrong.
pub(super) async fn join(app: &App) -> anyhow::Result<()> {
    if !app.store.is_shared() {
        return Ok(());
    }
    if let Some(off) = app.store.clock_off(&app.clock).await? {
        if off.unsigned_abs() > micros(OFF_MAX) {
            let (seconds, way) =
                (off.unsigned_abs() as f64 / 1e6, if off > 0 { "behind" } else { "ahead of" });
            bail!(
                "this machine's clock is {seconds:.1} s {way} the database's, and more than 1 s is refused; \
                 set it (`timedatectl set-ntp true`, `chronyc makestep`) and start again"
            );
        }
        app.clock.follow(off);
    }
    Ok(beat(app).await?)
}

/// Stays among them until `drained` turns true.
pub(super) async fn stay(app: Arc<App>, mut drained: watch::Receiver<bool>) {
    if app.store.is_shared() {
        tokio::select! {
            _ = drained.wait_for(|drained| *drained) => {}
            _ = async { tokio::join!(beats(&app), tell(&app), listen(&app)) } => {}
        }
    }
}

/// Gives its place to the others.
pub(super) async fn leave(app: &App) {
    if app.store.is_shared()
        && let Err(error) = app.store.check_out(app.crew.id()).await
    {
        tracing::warn!(%error, "the other processes could not be told; they notice some seconds from now");
    }
}

async fn beats(app: &App) {
    loop {
        app.clock.sleep(BEAT).await;
        let beaten = async {
            follow(app).await?;
            beat(app).await
        };
        if let Err(error) = beaten.await {
            tracing::warn!(%error, "the other processes could not be told that this one is here; trying again");
        }
    }
}

async fn beat(app: &App) -> Result<(), StoreError> {
    let now = app.clock.now();
    let others = if app.crew.is_lost() { app.store.processes().await? } else { Vec::new() };
    let processes = app.store.check_in(&app.crew.present(&others, now), now.minus(FORGET_AFTER)).await?;
    if app.crew.heard(&processes, &app.clock) {
        let (process, workers) = (app.crew.id(), app.crew.workers());
        tracing::info!(%process, workers, "the work is shared anew");
        app.nudge.ring(Bell::Schedule);
    }
    Ok(())
}

async fn follow(app: &App) -> Result<(), StoreError> {
    let Some(off) =
        app.store.clock_off(&app.clock).await?.filter(|off| off.unsigned_abs() > micros(OFF_IGNORED))
    else {
        return Ok(());
    };
    if off.unsigned_abs() > micros(OFF_MAX) {
        tracing::warn!(off_us = off, "the database's clock jumped; following it");
    }
    app.clock.follow(off);
    Ok(())
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Tells the others what happens here.
async fn tell(app: &App) {
    loop {
        let mut news = app.nudge.take_news().await;
        if app.crew.has(Role::Sender) {
            news.bells.retain(|bell| *bell != Bell::Webhooks); // sent from here
        }
        if news.bells.is_empty() && news.finished.is_empty() {
            continue;
        }
        if let Err(error) = app.store.tell_others(app.crew.id(), &news).await {
            tracing::warn!(%error, "the other processes could not be woken; they look by themselves");
        }
        #[allow(clippy::disallowed_methods)] // gathers in real time
        tokio::time::sleep(TELL_EVERY).await;
    }
}

/// Hears what happens elsewhere.
async fn listen(app: &App) {
    loop {
        let heard = async {
            let Some(mut listener) = app.store.listen(app.crew.id()).await? else { return Ok(()) };
            loop {
                app.nudge.hear(&listener.next().await?);
            }
        };
        if let Err(error) = heard.await {
            let error: StoreError = error;
            tracing::warn!(%error, "other processes are not heard; listening again");
        }
        #[allow(clippy::disallowed_methods)] // the database is waited for in real time
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}
