//! Older history of new accounts: read in pieces, newest first, in a lane of its own, so that a thousand new
//! customers do not keep the others waiting.
//!
//! A run of that lane that has brought its accounts up to date reads on as long as its lease lasts and nobody asked
//! for a sync; a run of another leaves its connection due for it. What goes wrong here waits for the next slot: the account is up to date.

use super::{Halt, Run, account, budget, outcome, read, window};
use crate::model::*;
use crate::store::StoreError;
use std::time::Duration;

/// A piece is begun only if the lease lasts so much longer: several pages of a slow bank.
const PIECE_TAKES: Duration = Duration::from_secs(20);

/// Reads on.
pub(super) async fn go_on(run: &mut Run<'_>) -> Result<(), StoreError> {
    if run.lease.lane != Lane::History {
        return Ok(());
    }
    loop {
        let now = run.app.clock.now();
        let accounts = run.app.store.accounts_with_heads(run.connection.id).await?;
        let wanted = accounts.iter().any(|(_, head)| head.requested_at.is_some());
        let is_next = |(account, head): &(Account, AccountHead)| {
            account.state == AccountState::Active && head.history_due_at.is_some_and(|due| due <= now)
        };
        let Some((account, head)) = accounts.into_iter().find(is_next) else { return Ok(()) };
        if wanted || run.deadline.left() < PIECE_TAKES || run.consent_is_over() {
            return Ok(()); // due again at once, or not at all
        }
        let limits = &run.bank.institution.limits;
        if let Some(per_day) = limits.unattended_reads_per_day
            && head.reads_today(now) >= budget::for_history(per_day)
        {
            let tomorrow = Some(budget::day_end(&run.bank.institution, now));
            run.app.store.plan_history(run.lease, account.id, tomorrow, &head.standing).await?;
            continue;
        }
        piece(run, &account, head).await?;
    }
}

/// Reads one piece.
async fn piece(run: &mut Run<'_>, account: &Account, head: AccountHead) -> Result<(), StoreError> {
    let today = run.bank.today(run.app.clock.now());
    let limits = &run.bank.institution.limits;
    let Some(plan) = window::older(limits, today, account::held(run, &head)) else {
        return end(run, account, head).await;
    };
    run.customer(None);
    run.reads_of(vec![account.id], Some(&head));
    (run.asked_at, run.answered_at, run.steps, run.waited_ms) = (None, None, 0, 0);
    let want = Want {
        account: account.bank.bank_id.clone(),
        transactions: Some(plan.window),
        balances: false,
        state: head.state.clone(),
    };
    let mut reading = match read::read(run, want).await {
        Ok(reading) => reading,
        // It was asked for less already.
        Err(Halt::Failure(failure @ Failure::WindowNotAvailable { .. })) => {
            run.password_came_to(&failure).await?;
            return end(run, account, head).await;
        }
        Err(Halt::Failure(failure)) => return wait(run, account, head, &failure).await,
        Err(Halt::Store(error)) => return Err(error),
    };
    // These days come before what was read, and their balance is not what was asked for.
    reading.observed.balances.clear();
    account::place(run, &head, plan, &mut reading.observed);
    let Some(read) = reading.observed.coverage.as_ref().filter(|read| read.window.since < plan.window.until)
    else {
        return end(run, account, head).await;
    };
    // Shorter than asked for: that is all there is.
    reading.observed.is_all |= read.window.since > plan.window.since;
    let compared = account::compare(run, account, &head, plan.window, &reading.observed).await;
    let verdict = match compared {
        Ok(Ok((verdict, _))) => verdict,
        Ok(Err(incomplete)) => {
            return wait(run, account, head, &Failure::IncompleteStatement(incomplete.to_string())).await;
        }
        Err(Halt::Failure(failure)) => return wait(run, account, head, &failure).await,
        Err(Halt::Store(error)) => return Err(error),
    };
    let index = head.index.clone();
    reading.state = None;
    let looked = account::Looked { verdict, reading, index };
    account::store(run, account, head, (SyncId::new(), Trigger::History), looked).await
}

/// The bank gives no more.
async fn end(run: &Run<'_>, account: &Account, mut head: AccountHead) -> Result<(), StoreError> {
    let today = run.bank.today(run.app.clock.now());
    let days = head.history_from.map(|from| (today - from).num_days());
    head.standing.reach_days = days.and_then(|days| u32::try_from(days).ok());
    head.standing.all_looked_on = Some(today);
    run.app.store.plan_history(run.lease, account.id, None, &head.standing).await
}

async fn wait(
    run: &mut Run<'_>,
    account: &Account,
    head: AccountHead,
    failure: &Failure,
) -> Result<(), StoreError> {
    // A bank that wants to be left alone is, whatever it was asked for.
    if matches!(failure, Failure::RateLimited { .. } | Failure::BankUnavailable { .. }) {
        outcome::settle(run, failure).await?;
    } else {
        run.password_came_to(failure).await?;
    }
    tracing::warn!(account = %account.id, reason = failure.reason(), "older history could not be read; it waits for the next slot");
    run.app.store.plan_history(run.lease, account.id, Some(head.due_at), &head.standing).await
}
