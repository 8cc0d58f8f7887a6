//! One account of a run: listed, read, reconciled, committed.

use super::outcome::Settled;
use super::window::{self, Held};
use super::{Halt, Run, outcome, read, schedule};
use crate::ledger::{self, Incomplete, Observed, Verdict};
use crate::model::*;
use crate::store::StoreError;
use crate::webhook::payload;
use chrono::Days;

/// Rows this many days before the window are compared too: a correction may move a row into it.
const KNOWN_BEFORE_WINDOW_DAYS: u64 = 7;

/// Asks which accounts there are, once per credential that was handed in, or before every statement.
pub(super) async fn list_if_needed(run: &mut Run<'_>) -> Result<(), Halt> {
    // A statement for all accounts may hold one that we have not heard of.
    if run.connection.accounts_listed && run.connector.manifest().read == ReadMode::Single {
        return Ok(());
    }
    let (mut memory, mut replies) = (String::new(), Vec::new());
    let listed = loop {
        run.count_step()?;
        let ask = run.context()?;
        let step = match run.connector.accounts(&ask, memory, replies).await {
            Ok(step) => step,
            Err(fault) => return Err(run.fault(fault).await),
        };
        match step {
            AccountsStep::Send(send) => (memory, replies) = run.exchange(send, &[Purpose::Read]).await?,
            AccountsStep::Done(listed) => break listed,
            AccountsStep::Fail(failure) => return Err(failure.into()),
        }
    };
    let (business, connection, now) = (run.connection.business, run.connection.id, run.app.clock.now());
    let event = |kind: EventType, account, state| match kind {
        EventType::AccountClosed => payload::account_closed(business, connection, account, now),
        _ => payload::account_added(business, connection, account, state, now),
    };
    let wishes = run.app.store.authorisation_of(connection).await?.map(|known| known.wishes);
    let wanted = wishes.and_then(|wishes| wishes.accounts);
    run.app.store.record_accounts(run.lease, &listed, wanted.as_deref(), &event, now).await?;
    run.app.nudge.webhooks.notify_one();
    Ok(())
}

/// The accounts that are due or requested, and that the bank allows to be read now.
pub(super) async fn due(run: &Run<'_>) -> Result<Vec<(Account, AccountHead)>, StoreError> {
    let now = run.app.clock.now();
    let mut accounts = run.app.store.accounts_with_heads(run.connection.id).await?;
    accounts.retain(|(account, head)| {
        account.state == AccountState::Active
            && (head.due_at <= now || head.requested_at.is_some())
            && head.next_allowed_at.is_none_or(|allowed| allowed <= now)
    });
    Ok(accounts)
}

/// Brings one account up to date, or gives the failure that is the whole connection's. From the first
/// line on, a `/sync` call waits for the next run. [`StoreError::Unwanted`] if nothing is to be asked any more.
pub(super) async fn sync(
    run: &mut Run<'_>,
    account: &Account,
    head: AccountHead,
) -> Result<Option<Settled>, StoreError> {
    let (sync_id, trigger, present) = run.app.store.begin_asking(run.lease, account.id).await?;
    run.customer(present);
    (run.asked_at, run.answered_at) = (None, None);
    let read = observe(run, account, &head).await;
    let (verdict, mut reading) = match read {
        Ok(read) => read,
        Err(Halt::Failure(failure)) => {
            return outcome::record_failure(run, account, &head, (sync_id, trigger), failure).await;
        }
        Err(Halt::Store(error)) => return Err(error),
    };
    let after_commit = std::mem::take(&mut reading.after_commit);
    store(run, account, head, (sync_id, trigger), verdict, reading).await?;
    acknowledge(run, after_commit).await?;
    Ok(None)
}

/// Stores what one reading of an account came to, and what the business must be told.
pub(super) async fn store(
    run: &Run<'_>,
    account: &Account,
    head: AccountHead,
    (sync_id, trigger): (SyncId, Trigger),
    verdict: Verdict,
    reading: read::Reading,
) -> Result<(), StoreError> {
    let now = run.app.clock.now();
    let min_interval = std::time::Duration::from_secs(u64::from(run.bank.institution.limits.min_interval_s));
    let next_allowed_at =
        run.asked_at.filter(|_| !min_interval.is_zero()).map(|asked| asked.plus(min_interval));
    // A slot that the bank does not allow yet waits until it does.
    let slot = schedule::next_slot(&run.bank.institution, run.lease.interval_minutes, run.lease.phase, now);
    let next_at = next_allowed_at.map_or(slot, |allowed| slot.max(allowed));
    let count = |wanted: fn(&NewChange) -> bool| {
        i32::try_from(verdict.changes.iter().filter(|change| wanted(change)).count()).unwrap_or(i32::MAX)
    };
    let sync = Sync {
        id: sync_id,
        connection: run.connection.id,
        account: account.id,
        trigger,
        customer_present: run.present.is_some(),
        started_at: run.started_at,
        finished_at: now,
        bank_asked_at: run.asked_at,
        bank_answered_at: run.answered_at,
        code: SyncCode::SyncSuccessful,
        reason: None,
        message: None,
        has_new_data: false,
        added: count(|change| matches!(change, NewChange::Added(_))),
        modified: count(|change| matches!(change, NewChange::Modified { .. })),
        removed: count(|change| matches!(change, NewChange::Removed { .. })),
        proof: verdict.proof,
        seq: head.seq,
        epoch: head.epoch,
        next_allowed_at,
        next_at: Some(next_at),
        connector: run.connector.label(),
    };
    let balances =
        if reading.observed.balances.is_empty() { head.balances.clone() } else { reading.observed.balances };
    let balances_changed = balances != head.balances;
    let history_since = window::held_since(held(run, &head), reading.observed.coverage.as_ref());
    let commit = SyncCommit {
        sync,
        changes: verdict.changes,
        missed: verdict.missed,
        balances,
        state: reading.state.or(head.state),
        history_since,
        due_at: next_at,
    };
    let business = run.connection.business;
    let event =
        |sync: &Sync| sync.has_new_data.then(|| payload::account_updated(business, sync, balances_changed));
    let stored = run.app.store.commit_sync(run.lease, &commit, &event).await?;
    outcome::told(run, &stored);
    Ok(())
}

/// Reads and reconciles. Rows first, balance after; before a balance contradicts, it is read once
/// more; before a statement counts as incomplete, all of it is.
async fn observe(
    run: &mut Run<'_>,
    account: &Account,
    head: &AccountHead,
) -> Result<(Verdict, read::Reading), Halt> {
    let window = window(run, head);
    let want = Want {
        account: account.bank.bank_id.clone(),
        transactions: Some(window),
        balances: true,
        state: head.state.clone(),
    };
    let mut reading = read::read(run, want.clone()).await?;
    let mut verdict = compare(run, account, head, window, &reading.observed).await?;
    if verdict.is_err() {
        reading = read::read(run, want.clone()).await?;
        verdict = compare(run, account, head, window, &reading.observed).await?;
    }
    if verdict.as_ref().is_ok_and(|verdict| verdict.proof == Proof::Contradicted) {
        let again = read::read(run, Want { transactions: None, ..want }).await?;
        if !again.observed.balances.is_empty() {
            reading.observed.balances = again.observed.balances;
            verdict = compare(run, account, head, window, &reading.observed).await?;
        }
    }
    match verdict {
        Ok(verdict) => Ok((verdict, reading)),
        Err(incomplete) => Err(Failure::IncompleteStatement(incomplete.to_string()).into()),
    }
}

pub(super) async fn compare(
    run: &Run<'_>,
    account: &Account,
    head: &AccountHead,
    window: Window,
    observed: &Observed,
) -> Result<Result<Verdict, Incomplete>, Halt> {
    // A bank may give more than was asked for: those rows are compared too, not added again.
    let oldest = observed.transactions.iter().filter_map(|row| row.booked_on).min().unwrap_or(window.since);
    let since = oldest.min(window.since);
    let since = since.checked_sub_days(Days::new(KNOWN_BEFORE_WINDOW_DAYS)).unwrap_or(since);
    let known = run.app.store.known(account.id, since).await?;
    Ok(ledger::reconcile(&known, &head.balances, observed))
}

/// The days to read of an account.
pub(super) fn window(run: &Run<'_>, head: &AccountHead) -> Window {
    // Since the account was read, the customer has agreed anew.
    let agreed = run.consent.as_ref().filter(|consent| consent.ended_at.is_none());
    let anew = agreed.zip(head.fresh_at).is_some_and(|(consent, fresh_at)| consent.granted_at > fresh_at);
    let today = run.bank.today(run.app.clock.now());
    window::to_read(&run.bank.institution.limits, today, held(run, head), anew)
}

fn held(run: &Run<'_>, head: &AccountHead) -> Held {
    Held { until: head.fresh_at.map(|at| run.bank.today(at)), since: head.history_since }
}

/// Tells the bank that what it gave is stored. It is: a failure here is only logged.
pub(super) async fn acknowledge(run: &mut Run<'_>, requests: Vec<Request>) -> Result<(), StoreError> {
    if requests.is_empty() {
        return Ok(());
    }
    let send = Send { requests, memory: String::new() };
    match run.exchange(send, &[Purpose::Acknowledge]).await {
        Err(Halt::Failure(failure)) => {
            tracing::warn!(connection = %run.connection.id, reason = failure.reason(), "an acknowledgement was not sent");
            Ok(())
        }
        Err(Halt::Store(error)) => Err(error),
        Ok(_) => Ok(()),
    }
}
