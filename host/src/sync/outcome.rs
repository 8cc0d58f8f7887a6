//! What becomes of a failure: each kind has one action.

use super::{Run, schedule};
use crate::app::App;
use crate::model::*;
use crate::nudge::Bell;
use crate::store::StoreError;
use crate::webhook::payload;
use std::time::Duration;

/// Refused credentials are tried once more after this time: banks refuse by mistake, and three
/// refusals may lock a customer out.
const CONFIRM_REJECTION_AFTER: Duration = Duration::from_secs(3600);
/// A connection whose password is withheld looks so much later whether it still is: only the customer can change that,
/// and most who can be reached act within hours.
const WITHHELD_AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// So many connections of one institution refused within ten minutes are the bank's fault.
const REJECTIONS_ARE_THE_BANKS: i64 = 3;
/// The longest pause that a bank's Retry-After may ask for: a day, else a typing error at the bank
/// would end the service.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// Nothing could be asked of this institution: every due account says why, and waits for its slot.
pub(super) async fn without_connector(
    app: &App,
    lease: &Lease,
    connection: &Connection,
    failure: Failure,
) -> Result<(), StoreError> {
    let now = app.clock.now();
    let next_at = match app.institutions.get(&connection.institution) {
        Some(bank) => schedule::next_slot(&bank.institution, lease.interval_minutes, lease.phase, now),
        None => now.plus(CONFIRM_REJECTION_AFTER),
    };
    tracing::error!(connection = %connection.id, institution = connection.institution, %failure, "not synced");
    if let Some((attempt, _)) = connection.attempt.filter(|(_, at)| *at <= now) {
        // Nor can the customer be let in: better to be told than to wait.
        let (business, reason) = (connection.business, failure.reason());
        let event = |connection, institution: &str| {
            payload::authorisation_failed(business, connection, institution, attempt, reason, now)
        };
        app.store.fail_authorisation(attempt, reason, &event, now).await?;
        app.store.drop_attempt(lease, attempt).await?;
        app.nudge.ring(Bell::Authorisations);
        app.nudge.ring(Bell::Webhooks);
    }
    for (account, head) in app.store.accounts_with_heads(connection.id).await? {
        if account.state != AccountState::Active || (head.due_at > now && head.requested_at.is_none()) {
            continue;
        }
        let Some((sync, present)) = take_up(app, lease, account.id).await? else { continue };
        let sync = Sync {
            customer_present: present.is_some(),
            ..failed_sync(&account, &head, sync, now, &failure, Some(next_at), String::new())
        };
        store_failure(app, lease, connection, sync, next_at).await?;
    }
    let failures = lease.failures.saturating_add(1);
    app.store.complete_for(lease, next_at, next_at, failures, Some(failure.reason()), now).await
}

/// The session or the list of accounts failed: that is every due account's failure.
pub(super) async fn all_accounts(run: &mut Run<'_>, failure: Failure) -> Result<(), StoreError> {
    let (connection, institution) = (run.connection.id, &run.connection.institution);
    tracing::warn!(%connection, institution, %failure, "nothing could be read");
    let due = super::account::due(run).await?;
    let settled = settle(run, &failure).await?;
    let affected = if settled.stopped { active(run).await? } else { due };
    for (account, head) in &affected {
        let Some((sync, present)) = take_up(run.app, run.lease, account.id).await? else { continue };
        run.customer(present);
        run.reads_of(Vec::new(), Some(head));
        write(run, account, head, sync, &settled).await?;
    }
    finish(run, &settled).await
}

/// An account's reading failed after it began: recorded, and the run goes on unless what was decided
/// is given back, because it is the whole connection's.
pub(super) async fn record_failure(
    run: &mut Run<'_>,
    account: &Account,
    head: &AccountHead,
    sync: (SyncId, Trigger),
    failure: Failure,
) -> Result<Option<Settled>, StoreError> {
    let settled = settle(run, &failure).await?;
    write(run, account, head, sync, &settled).await?;
    Ok(settled.whole_connection.then_some(settled))
}

/// What `record_failure` gave back: the connection's other accounts share it.
pub(super) async fn sisters_failed(
    run: &mut Run<'_>,
    account: &Account,
    settled: &Settled,
) -> Result<(), StoreError> {
    let sisters = if settled.stopped { active(run).await? } else { super::account::due(run).await? };
    for (sister, head) in sisters.into_iter().filter(|(sister, _)| sister.id != account.id) {
        let Some((sync, present)) = take_up(run.app, run.lease, sister.id).await? else { continue };
        run.customer(present);
        run.reads_of(Vec::new(), Some(&head));
        (run.asked_at, run.answered_at) = (None, None);
        write(run, &sister, &head, sync, settled).await?;
    }
    finish(run, settled).await
}

/// The sync that is to be answered, and who is present; none if nobody wants it any more.
async fn take_up(
    app: &App,
    lease: &Lease,
    account: AccountId,
) -> Result<Option<((SyncId, Trigger), Option<CustomerPresent>)>, StoreError> {
    match app.store.begin_asking(lease, account).await {
        Ok((id, trigger, present)) => Ok(Some(((id, trigger), present))),
        Err(StoreError::Unwanted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// When polling stops, every account of the connection says so, whether it was due or not.
pub(super) async fn active(run: &Run<'_>) -> Result<Vec<(Account, AccountHead)>, StoreError> {
    let mut accounts = run.app.store.accounts_with_heads(run.connection.id).await?;
    accounts.retain(|(account, _)| account.state == AccountState::Active);
    Ok(accounts)
}

/// A failure and what was decided about it.
pub(super) struct Settled {
    failure: Failure,
    /// The whole connection waits, not only the account.
    whole_connection: bool,
    /// Polling ended: the customer must act.
    stopped: bool,
    /// Nothing may be asked before.
    not_before: Option<Timestamp>,
    /// When it is tried again by itself, if not after a back-off; whoever asks for a sync need not wait.
    again_at: Option<Timestamp>,
}

impl Settled {
    fn new(failure: &Failure) -> Self {
        Self {
            failure: failure.clone(),
            whole_connection: false,
            stopped: false,
            not_before: None,
            again_at: None,
        }
    }
}

fn retry_at(run: &Run<'_>, retry_after_s: Option<u32>) -> Option<Timestamp> {
    retry_after_s
        .map(|seconds| run.app.clock.now().plus(Duration::from_secs(u64::from(seconds)).min(RETRY_AFTER_MAX)))
}

/// Acts on a failure: each kind has its one action.
pub(super) async fn settle(run: &mut Run<'_>, failure: &Failure) -> Result<Settled, StoreError> {
    run.met(failure);
    let (counted, is_lost) = (run.counted(), run.password_is_lost(failure));
    run.password_came_to(failure).await?;
    if is_lost {
        // Nobody knows whether the bank refused it. If it is so with many, that was no answer to the password.
        let now = run.app.clock.now();
        let rejection = run.app.store.note_rejection(run.lease, counted, now).await?;
        if rejection.recent_at_institution >= REJECTIONS_ARE_THE_BANKS {
            run.app.store.void_rejections(&run.connection.institution, now).await?;
        }
    }
    // Once the consent is over, that is what ails the connection.
    let over = run.consent_is_over();
    let failure = if over { &Failure::ConsentExpired } else { failure };
    let mut settled = Settled::new(failure);
    match failure {
        // What never let us in was no consent that could end.
        Failure::ConsentExpired if !over && !run.was_let_in => {
            settled.failure = Failure::CredentialsRejected;
            stop(run, &mut settled).await?;
        }
        Failure::ConsentExpired | Failure::CustomerNeeded => stop(run, &mut settled).await?,
        Failure::CredentialsRejected => {
            let now = run.app.clock.now();
            let rejection = run.app.store.note_rejection(run.lease, counted, now).await?;
            settled.whole_connection = true;
            settled.not_before = Some(now.plus(CONFIRM_REJECTION_AFTER));
            if rejection.recent_at_institution >= REJECTIONS_ARE_THE_BANKS {
                run.app.store.void_rejections(&run.connection.institution, now).await?;
                settled.failure = Failure::BankUnavailable { retry_after_s: None };
            } else if rejection.first_at.is_some() {
                stop(run, &mut settled).await?;
            }
        }
        // The bank was not asked, so this says nothing of what the connection holds.
        Failure::CredentialsWithheld => {
            settled.whole_connection = true;
            settled.again_at = Some(run.app.clock.now().plus(WITHHELD_AGAIN_AFTER));
        }
        Failure::SessionExpired => {
            settled.whole_connection = true;
            run.app.store.close_session(run.lease).await?;
        }
        Failure::RateLimited { retry_after_s, scope } => {
            settled.not_before = retry_at(run, *retry_after_s);
            settled.whole_connection = *scope != LimitScope::Account;
            if let (LimitScope::Institution, Some(until)) = (scope, settled.not_before) {
                run.app.store.pause_institution(&run.connection.institution, until, failure.reason()).await?;
            }
        }
        Failure::BankUnavailable { retry_after_s } => settled.not_before = retry_at(run, *retry_after_s),
        Failure::Unreadable { .. }
            if run.app.health.unreadable(run.connector.digest(), run.connection.id, run.app.clock.now()) =>
        {
            let why = "too many connections have replies that it cannot read";
            run.app.quarantine(&run.connector, why).await;
        }
        Failure::SecretEchoed => {
            tracing::error!(connection = %run.connection.id, connector = run.connector.label(), "a secret came back in a reply; it was withheld");
        }
        _ => {}
    }
    Ok(settled)
}

/// Ends polling until the customer acted, and tells once.
async fn stop(run: &Run<'_>, settled: &mut Settled) -> Result<(), StoreError> {
    let now = run.app.clock.now();
    let reason = settled.failure.reason();
    let connection = &run.connection;
    let event = payload::reauthorisation_required(
        connection.business,
        connection.id,
        &connection.institution,
        reason,
        now,
    );
    run.app.store.require_reauthorisation(run.lease, reason, &event, now).await?;
    run.app.nudge.ring(Bell::Webhooks);
    settled.stopped = true;
    settled.whole_connection = true;
    settled.not_before = None; // once the customer acted, there is nothing to wait for
    Ok(())
}

/// Writes one account's failed sync.
pub(super) async fn write(
    run: &Run<'_>,
    account: &Account,
    head: &AccountHead,
    sync: (SyncId, Trigger),
    settled: &Settled,
) -> Result<(), StoreError> {
    let now = run.app.clock.now();
    let institution = &run.bank.institution;
    let back_off = now.plus(schedule::back_off(institution, account.id.as_bytes(), head.failures));
    let next_at = settled.not_before.or(settled.again_at).map_or(back_off, |moment| moment.max(now));
    let next_at = run.reads_rest_until().map_or(next_at, |rested| rested.max(next_at));
    let mut failed = failed_sync(
        account,
        head,
        sync,
        run.started_at,
        &settled.failure,
        (!settled.stopped).then_some(next_at),
        run.connector.label(),
    );
    failed.finished_at = now;
    failed.customer_present = run.present.is_some();
    failed.bank_asked_at = run.asked_at;
    failed.bank_answered_at = run.answered_at;
    failed.next_allowed_at = settled.not_before;
    if settled.stopped {
        failed.code = SyncCode::ReauthorisationRequired;
    }
    store_failure(run.app, run.lease, &run.connection, failed, next_at).await
}

async fn store_failure(
    app: &App,
    lease: &Lease,
    connection: &Connection,
    sync: Sync,
    due_at: Timestamp,
) -> Result<(), StoreError> {
    let business = connection.business;
    // A stopped connection has told its one event already.
    let stopped = sync.code == SyncCode::ReauthorisationRequired;
    let event = |sync: &Sync| (!stopped).then(|| payload::sync_failed(business, sync));
    let stored = app.store.fail_sync(lease, &SyncFailure { sync, due_at }, &event).await?;
    note(app, &connection.institution, &stored);
    app.nudge.sync_finished(stored.id, stored.trigger == Trigger::Request);
    app.nudge.ring(Bell::Webhooks);
    Ok(())
}

fn failed_sync(
    account: &Account,
    head: &AccountHead,
    (id, trigger): (SyncId, Trigger),
    started_at: Timestamp,
    failure: &Failure,
    next_at: Option<Timestamp>,
    connector: String,
) -> Sync {
    Sync {
        id,
        connection: account.connection,
        account: account.id,
        trigger,
        customer_present: false,
        started_at,
        finished_at: started_at,
        bank_asked_at: None,
        bank_answered_at: None,
        code: failure.code(),
        reason: Some(failure.reason().to_owned()),
        message: Some(failure.to_string()),
        has_new_data: false,
        added: 0,
        modified: 0,
        removed: 0,
        proof: Proof::Unproved,
        seq: head.seq,
        epoch: head.epoch,
        next_allowed_at: None,
        next_at,
        connector,
        runs: 1,
    }
}

/// A finished sync: those who wait for it, and those who send webhooks, may look.
pub(super) fn told(run: &Run<'_>, sync: &Sync) {
    note(run.app, &run.connection.institution, sync);
    run.app.health.readable(run.connector.digest(), run.connection.id, run.app.clock.now());
    run.app.nudge.sync_finished(sync.id, sync.trigger == Trigger::Request);
    if sync.has_new_data {
        run.app.nudge.ring(Bell::Webhooks);
    }
}

/// In metrics and log.
fn note(app: &App, institution: &str, sync: &Sync) {
    let took = sync.finished_at.since(sync.started_at);
    app.metrics.sync_ended(institution, sync.code.name(), sync.reason.as_deref(), took);
    tracing::info!(
        sync = %sync.id,
        account = %sync.account,
        connection = %sync.connection,
        code = sync.code.name(),
        reason = sync.reason,
        added = sync.added,
        modified = sync.modified,
        removed = sync.removed,
        proof = ?sync.proof,
        connector = sync.connector,
        took_ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
        "synced"
    );
}

/// After a failure of the whole connection.
pub(super) async fn finish(run: &Run<'_>, settled: &Settled) -> Result<(), StoreError> {
    if settled.stopped {
        // The lease is given back: who comes to let us in again must not wait until it runs out.
        return complete(run, None).await;
    }
    // The accounts that were not due share the limit, too.
    if let (true, Some(until)) = (settled.whole_connection, settled.not_before) {
        run.app.store.defer_connection(run.lease, until).await?;
    }
    let next = settled.not_before.or(settled.again_at);
    complete_for(run, next, Some(settled.failure.reason())).await
}

/// The run is over: the connection is due when its first account is. Without accounts it is due after a
/// while, or when the bank may be asked again.
pub(super) async fn complete(run: &Run<'_>, not_before: Option<Timestamp>) -> Result<(), StoreError> {
    complete_for(run, not_before, None).await
}

/// The run asked nothing about the accounts: what was said of the connection before still stands.
pub(super) async fn rest(run: &Run<'_>) -> Result<(), StoreError> {
    complete_for(run, None, run.connection.reason.as_deref()).await
}

async fn complete_for(
    run: &Run<'_>,
    not_before: Option<Timestamp>,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    run.note_of_bank().await?;
    let (institution, lease, now) = (&run.bank.institution, run.lease, run.app.clock.now());
    let slot = schedule::next_slot(institution, lease.interval_minutes, lease.phase, now);
    let retry = now.plus(schedule::back_off(institution, run.connection.id.as_bytes(), lease.failures));
    let due_at = not_before.unwrap_or(retry.min(slot));
    let failures = lease.failures.saturating_add(1);
    run.app.store.complete_for(lease, slot, due_at, failures, reason, now).await
}
