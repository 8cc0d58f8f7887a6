//! A customer leaves: the bank is asked to end the consent, then the connection is erased, whatever
//! the bank answered.
//!
//! The customer's wish to be forgotten does not wait for a bank for long: so many tries, so many
//! minutes, then it is done without. A bank is not asked where nothing can be asked of it (no
//! profile, no approved or a quarantined connector), nor about a consent whose time is over; it is
//! asked once about a consent that it ended itself, as far as we know. Must not know: SQL, what a
//! bank's way to end a consent is.

use super::{Halt, Run};
use crate::app::App;
use crate::model::*;
use crate::nudge::Bell;
use crate::store::{ClosingTry, StoreError};
use crate::webhook::payload;
use std::time::Duration;

/// How often the bank is asked: a second time for a request that was lost, a third one for a bank that
/// restarts. More would only delay the erasure.
const TRIES_MAX: i32 = 3;
/// How often about a consent that seems to have ended: some banks still list it until it is deleted.
const TRIES_IF_ENDED: i32 = 1;
/// The pause before the second try, and before the third.
const PAUSES: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];
/// From the wish to the erasure: long enough for three tries at a slow bank, short enough to say
/// "erased" on the same visit.
const CLOSING_MAX: Duration = Duration::from_secs(10 * 60);
/// An erasure that did not end within this has lost its process: the largest take some seconds.
const ERASING_MAX: Duration = Duration::from_secs(10 * 60);
/// The bank's login, since many want a token for it, and the end itself; nothing is read.
const PURPOSES: &[Purpose] = &[Purpose::Login, Purpose::End];

/// One try to end the consent at the bank; erases after the last one, or if there is nothing to ask.
pub(super) async fn run(mut run: Run<'_>) -> Result<(), StoreError> {
    let (app, lease) = (run.app, run.lease);
    let this = app.store.begin_closing_try(lease).await?;
    let tries = tries(run.consent.as_ref(), this.since);
    if tries == 0 {
        return erase(app, lease, &run.connection, Err("consent-expired")).await;
    }
    if this.number > tries || over(this, app.clock.now()) {
        return erase(app, lease, &run.connection, Err("too-late")).await;
    }
    let failure = match ask(&mut run).await {
        Ok(()) if run.asked_at.is_some() => return erase(app, lease, &run.connection, Ok(())).await,
        // Not every connector has something to ask.
        Ok(()) => return erase(app, lease, &run.connection, Err("nothing-to-ask")).await,
        Err(Halt::Failure(failure)) => failure,
        Err(Halt::Store(error)) => return Err(error),
    };
    run.password_came_to(&failure).await?;
    let reason = failure.reason();
    tracing::warn!(connection = %run.connection.id, reason, number = this.number, "the bank did not end the consent");
    let next = next_try(this, tries, &failure, app.clock.now());
    match next {
        Some(next) => app.store.retry_closing(lease, next).await,
        None => erase(app, lease, &run.connection, Err(reason)).await,
    }
}

/// Nothing can be asked of the institution any more.
pub(super) async fn without_connector(
    app: &App,
    lease: &Lease,
    connection: &Connection,
    failure: &Failure,
) -> Result<(), StoreError> {
    erase(app, lease, connection, Err(failure.reason())).await
}

/// Erases what was to be closed long ago: its institution may be paused, or have no profile any more.
/// Finishes the erasures of processes that died.
pub async fn end_overdue(app: &App) -> Result<(), StoreError> {
    let now = app.clock.now();
    for late in app.store.overdue_closings(now.minus(CLOSING_MAX)).await? {
        let ended = ended_at_bank(app, late.id, false).await?;
        let event = payload::connection_deleted(late.business, late.id, &late.institution, ended, now);
        if app.store.delete_connection(late.business, late.id, &event, now).await? {
            tell(app, late.id, &late.institution, Err("too-late"));
        }
    }
    app.store.finish_erasures(now.minus(ERASING_MAX)).await.map(drop)
}

/// Asks the connector until it says that the session and the consent have ended.
async fn ask(run: &mut Run<'_>) -> Result<(), Halt> {
    let (mut memory, mut replies) = (String::new(), Vec::new());
    loop {
        run.count_step()?;
        let ask = run.context()?;
        let step = match run.connector.session(&ask, Goal::Close, memory, replies).await {
            Ok(step) => step,
            Err(fault) => return Err(run.fault(fault).await),
        };
        match step {
            SessionStep::Send(send) => (memory, replies) = run.exchange(send, PURPOSES).await?,
            SessionStep::Ready { .. } => return Ok(run.read_with_password().await?),
            SessionStep::AskCustomer(_) => return Err(Failure::CustomerNeeded.into()),
            SessionStep::Fail(failure) => return Err(failure.into()),
        }
    }
}

/// How often the bank is asked to end this consent, as it stood when the customer left.
fn tries(consent: Option<&Consent>, since: Timestamp) -> i32 {
    match consent {
        Some(consent) if consent.expires_at.is_some_and(|end| end <= since) => 0,
        Some(consent) if consent.ended_at.is_some() => TRIES_IF_ENDED,
        // Nobody told us of a consent; the connector knows whether there is something to end.
        _ => TRIES_MAX,
    }
}

fn over(this: ClosingTry, now: Timestamp) -> bool {
    now.since(this.since) >= CLOSING_MAX
}

/// When to ask again; none if that would help nothing or come too late.
fn next_try(this: ClosingTry, tries: i32, failure: &Failure, now: Timestamp) -> Option<Timestamp> {
    let bank_said = match failure {
        Failure::BankUnavailable { retry_after_s } | Failure::RateLimited { retry_after_s, .. } => {
            *retry_after_s
        }
        Failure::Unreachable(_) | Failure::Unreadable { .. } | Failure::SessionExpired => None,
        _ => return None,
    };
    let done = usize::try_from(this.number).ok().filter(|_| this.number < tries)?;
    let pause = *PAUSES.get(done.checked_sub(1)?)?;
    let next = now.plus(pause.max(Duration::from_secs(u64::from(bank_said.unwrap_or(0)))));
    (!over(this, next)).then_some(next)
}

/// `asked`: the bank ended the consent, or why not.
async fn erase(
    app: &App,
    lease: &Lease,
    connection: &Connection,
    asked: Result<(), &str>,
) -> Result<(), StoreError> {
    let (id, institution, now) = (connection.id, &connection.institution, app.clock.now());
    let ended = ended_at_bank(app, id, asked.is_ok()).await?;
    let event = payload::connection_deleted(connection.business, id, institution, ended, now);
    app.store.delete_closed(lease, &event, now).await?;
    tell(app, id, institution, asked);
    Ok(())
}

/// What is told of the consent's end at the bank: nothing, if there was none to end.
async fn ended_at_bank(app: &App, id: ConnectionId, said_so: bool) -> Result<Option<bool>, StoreError> {
    Ok(if said_so { Some(true) } else { app.store.consent(id).await?.map(|_| false) })
}

/// In the log, and to those who wait.
fn tell(app: &App, connection: ConnectionId, institution: &str, asked: Result<(), &str>) {
    let (consent_ended_at_bank, reason) = (asked.is_ok(), asked.err());
    tracing::info!(%connection, institution, consent_ended_at_bank, reason, "erased");
    app.nudge.ring(Bell::Webhooks);
    app.nudge.ring(Bell::Erased);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
    const UNAVAILABLE: Failure = Failure::BankUnavailable { retry_after_s: None };

    fn consent(expires_at: Option<Timestamp>, ended_at: Option<Timestamp>) -> Consent {
        Consent {
            id: ConsentId::new(),
            connection: ConnectionId::new(),
            granted_at: Timestamp(0),
            expires_at,
            scopes: vec![],
            how: "redirect".into(),
            reference: None,
            ended_at,
            end_reason: ended_at.map(|_| "ended_by_bank".into()),
        }
    }

    #[test]
    fn a_consent_in_force_is_worth_three_tries_one_that_ended_one_and_one_that_ran_out_none() {
        let later = NOW.plus(Duration::from_secs(1));
        assert_eq!(tries(None, NOW), 3);
        assert_eq!(tries(Some(&consent(None, None)), NOW), 3);
        assert_eq!(tries(Some(&consent(Some(later), None)), NOW), 3);
        assert_eq!(tries(Some(&consent(Some(later), Some(NOW))), NOW), 1);
        assert_eq!(tries(Some(&consent(Some(NOW), None)), NOW), 0);
        assert_eq!(tries(Some(&consent(Some(NOW), Some(NOW))), NOW), 0);
    }

    #[test]
    fn the_bank_is_asked_again_after_a_pause_while_that_can_help() {
        let at = |number| ClosingTry { since: NOW, number };
        let seconds = |number, failure: &Failure| {
            next_try(at(number), 3, failure, NOW).map(|next| next.since(NOW).as_secs())
        };
        assert_eq!(seconds(1, &UNAVAILABLE), Some(10));
        assert_eq!(seconds(2, &UNAVAILABLE), Some(60));
        assert_eq!(seconds(3, &UNAVAILABLE), None);
        assert_eq!(seconds(1, &Failure::Unreachable("timeout".into())), Some(10));
        assert_eq!(seconds(1, &Failure::BankUnavailable { retry_after_s: Some(300) }), Some(300));
        assert_eq!(seconds(1, &Failure::BankUnavailable { retry_after_s: Some(600) }), None);
        for hopeless in [Failure::NotSupported, Failure::ConsentExpired, Failure::SecretEchoed] {
            assert_eq!(seconds(1, &hopeless), None);
        }
        let late = NOW.plus(CLOSING_MAX).minus(Duration::from_secs(5));
        assert_eq!(next_try(at(1), 3, &UNAVAILABLE, late), None);
        assert_eq!(next_try(at(1), 1, &UNAVAILABLE, NOW), None);
    }
}
