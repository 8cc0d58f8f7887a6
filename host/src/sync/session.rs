//! Opening and renewing the session, under the connection's lease.

use super::password::Password;
use super::{Halt, Run};
use crate::model::*;
use std::time::Duration;

/// A session is renewed so long before its end: longer than a run may take.
const RENEW_BEFORE_END: Duration = Duration::from_secs(120);
/// Login replies are read in `session` only.
const PURPOSES: &[Purpose] = &[Purpose::Login, Purpose::Read];

/// Opens the session if none is open, renews it if it is near its end.
pub(super) async fn ensure_open(run: &mut Run<'_>) -> Result<(), Halt> {
    if !run.connection.session_open {
        return open(run, Goal::Open).await;
    }
    let near_end = run.app.clock.now().plus(RENEW_BEFORE_END);
    match run.connection.session_valid_until {
        Some(end) if end <= near_end => open(run, Goal::Renew).await,
        _ => Ok(()),
    }
}

/// The bank said that the session is over.
pub(super) async fn renew(run: &mut Run<'_>) -> Result<(), Halt> {
    run.app.store.close_session(run.lease).await?;
    run.password_came_to(&Failure::SessionExpired).await?;
    open(run, Goal::Renew).await
}

/// Asks the connector until the session is ready. A renewal whose answer was lost is tried once
/// more with what we hold: if the bank had already taken it, its refusal says so. Not so a login: the bank may have
/// refused the password, and counted.
async fn open(run: &mut Run<'_>, goal: Goal) -> Result<(), Halt> {
    let asked_at = run.asked_at;
    let opened = match steps(run, goal).await {
        Err(Halt::Failure(Failure::Unreachable(_)))
            if goal == Goal::Renew && run.password == Password::Unused =>
        {
            steps(run, goal).await
        }
        done => done,
    };
    run.asked_at = asked_at; // a session is not yet a question about an account
    opened
}

async fn steps(run: &mut Run<'_>, goal: Goal) -> Result<(), Halt> {
    let (mut memory, mut replies) = (String::new(), Vec::new());
    run.reset_counter();
    loop {
        run.count_step()?;
        let ask = run.context()?;
        let step = match run.connector.session(&ask, goal, memory, replies).await {
            Ok(step) => step,
            Err(fault) => return Err(run.fault(fault).await),
        };
        match step {
            SessionStep::Send(send) => (memory, replies) = run.exchange(send, PURPOSES).await?,
            SessionStep::Ready { valid_until, state, consent: _ } => {
                run.no_secret_in(state.as_deref().unwrap_or(""))?;
                let by_password = run.password != Password::Unused;
                run.app.store.save_session(run.lease, valid_until, state.as_deref(), by_password).await?;
                run.password_was_accepted();
                run.connection.session_open = true;
                run.connection.session_valid_until = valid_until;
                run.connection.session_state = state;
                return Ok(());
            }
            SessionStep::AskCustomer(_) => return Err(Failure::CustomerNeeded.into()),
            SessionStep::Fail(Failure::SessionExpired) => return Err(Failure::ConsentExpired.into()),
            SessionStep::Fail(failure) => return Err(failure.into()),
        }
    }
}
