//! One account of a run: listed, read, reconciled, committed.

use super::outcome::Settled;
use super::window::{self, Held, Plan};
use super::{Halt, Run, outcome, read, schedule};
use crate::ledger::{self, Incomplete, Observed, Verdict};
use crate::model::*;
use crate::nudge::Bell;
use crate::store::StoreError;
use crate::webhook::payload;
use chrono::{Days, NaiveDate};
use std::time::Duration;
use tracing::Instrument;

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
    run.app.nudge.ring(Bell::Webhooks);
    Ok(())
}

/// The accounts that are due or requested, and that the bank allows to be read now.
pub(super) async fn due(run: &mut Run<'_>) -> Result<Vec<(Account, AccountHead)>, StoreError> {
    let now = run.app.clock.now();
    let mut accounts = match run.has_asked() {
        false => std::mem::take(&mut run.accounts),
        true => run.app.store.accounts_with_heads(run.connection.id).await?,
    };
    accounts.retain(|(account, head)| {
        account.state == AccountState::Active
            && (head.due_at <= now || head.requested_at.is_some())
            && head.is_allowed(now)
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
    let (sync_id, trigger, present) = match run.has_asked() || head.is_awaited {
        true => run.app.store.begin_asking(run.lease, account.id).await?,
        // Nobody waited when the run was opened, which was just now.
        false => (SyncId::new(), Trigger::Schedule, None),
    };
    run.customer(present);
    run.reads_of(vec![account.id], Some(&head));
    (run.asked_at, run.answered_at) = (None, None);
    let read = observe(run, account, &head).await;
    let mut looked = match read {
        Ok(looked) => looked,
        Err(Halt::Failure(failure)) => {
            return outcome::record_failure(run, account, &head, (sync_id, trigger), failure).await;
        }
        Err(Halt::Store(error)) => return Err(error),
    };
    run.answered();
    let after_commit = std::mem::take(&mut looked.reading.after_commit);
    store(run, account, head, (sync_id, trigger), looked).await?;
    acknowledge(run, after_commit).await?;
    Ok(None)
}

/// What one look at an account came to.
pub(super) struct Looked {
    pub(super) verdict: Verdict,
    pub(super) reading: read::Reading,
    /// What it showed, for the next one to compare with.
    pub(super) index: Option<Vec<u8>>,
}

/// Stores what one reading of an account came to, and what the business must be told.
pub(super) async fn store(
    run: &Run<'_>,
    account: &Account,
    head: AccountHead,
    (sync_id, trigger): (SyncId, Trigger),
    looked: Looked,
) -> Result<(), StoreError> {
    let now = run.app.clock.now();
    let Looked { verdict, reading, index } = looked;
    let min_interval = Duration::from_secs(u64::from(run.bank.institution.limits.min_interval_s));
    let next_allowed_at =
        run.asked_at.filter(|_| !min_interval.is_zero()).map(|asked| asked.plus(min_interval));
    // A slot that the bank does not allow yet waits until it does.
    let slot = schedule::next_slot(&run.bank.institution, run.lease.interval_minutes, run.lease.phase, now);
    let next_at = next_allowed_at.max(run.reads_rest_until()).map_or(slot, |allowed| slot.max(allowed));
    let stale_after = Duration::from_secs(u64::from(run.bank.institution.schedule.stale_after_minutes) * 60);
    let history = trigger == Trigger::History;
    let (next_allowed_at, next_at) =
        if history { (head.next_allowed_at, head.due_at) } else { (next_allowed_at, next_at) };
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
        added: count(|change| matches!(change, NewChange::Added { .. })),
        modified: count(|change| matches!(change, NewChange::Modified { .. })),
        removed: count(|change| matches!(change, NewChange::Removed { .. })),
        proof: verdict.proof,
        seq: head.seq,
        epoch: head.epoch,
        next_allowed_at,
        next_at: Some(next_at),
        connector: run.connector.label(),
        runs: 1,
    };
    let mut standing = verdict.standing;
    let (history_from, history_due_at) = plan_history(run, &head, &reading, &mut standing);
    let balances =
        if reading.observed.balances.is_empty() { head.balances.clone() } else { reading.observed.balances };
    let balances_changed = balances != head.balances;
    let commit = SyncCommit {
        sync,
        changes: verdict.changes,
        rekeyed: verdict.rekeyed,
        missed: verdict.missed,
        balances,
        state: reading.state.or(head.state),
        standing,
        history_from,
        history_due_at,
        index,
        due_at: next_at,
        stale_at: next_at.plus(stale_after),
    };
    let business = run.connection.business;
    let event = move |sync: &Sync| {
        sync.has_new_data.then(|| payload::account_updated(business, sync, balances_changed))
    };
    let span = tracing::debug_span!(
        target: "tidegate", "commit", account = %account.id, sync = %sync_id, changes = commit.changes.len()
    );
    let stored = run.app.store.commit_sync(run.lease, &commit, event).instrument(span).await?;
    outcome::told(run, &stored);
    Ok(())
}

/// How far back what we hold reaches after this reading, and when older history is read on.
fn plan_history(
    run: &Run<'_>,
    head: &AccountHead,
    reading: &read::Reading,
    standing: &mut Standing,
) -> (Option<NaiveDate>, Option<Timestamp>) {
    let now = run.app.clock.now();
    let (limits, today) = (&run.bank.institution.limits, run.bank.today(now));
    let coverage = reading.observed.coverage.as_ref();
    let from = window::held_since(held(run, head), coverage);
    if run.connector.manifest().read == ReadMode::Together {
        return (from, None); // the bank decides what is in a statement
    }
    let agreed = run.consent.as_ref().filter(|consent| consent.ended_at.is_none());
    let anew = agreed.zip(head.fresh_at).is_some_and(|(consent, fresh_at)| consent.granted_at > fresh_at);
    if anew {
        standing.reach_days = None; // it may give more now
    } else if reading.observed.is_all {
        // What a bank does not give today, it gives to nobody who has not agreed anew.
        let given = coverage.map(|coverage| (today - coverage.window.since).num_days());
        let given =
            given.and_then(|days| u32::try_from(days).ok()).filter(|days| *days < limits.history_days);
        standing.reach_days = given;
        return (from, None);
    }
    let has_gap = head.history_from.zip(from).is_some_and(|(before, now)| before < now);
    let is_missing = from.is_some_and(|from| from > window::first_day(limits, today, standing));
    let begins = is_missing && (head.fresh_at.is_none() || anew || has_gap);
    (from, if begins { Some(now) } else { head.history_due_at })
}

/// Reads and reconciles. Rows first, balance after; before a balance contradicts, it is read once more, and then
/// all that the bank gives; before a statement counts as incomplete, all of it is.
async fn observe(run: &mut Run<'_>, account: &Account, head: &AccountHead) -> Result<Looked, Halt> {
    let plan = window(run, head);
    let mut reading = look(run, account, head, plan).await?;
    if let Some(proof) = unchanged(head, &reading.observed) {
        let verdict = ledger::unchanged(&head.standing, &reading.observed, proof);
        return Ok(Looked { verdict, reading, index: head.index.clone() });
    }
    let mut verdict = compare(run, account, head, plan.window, &reading.observed).await?;
    if verdict.is_err() && run.may_read_again() {
        reading = look(run, account, head, plan).await?;
        verdict = compare(run, account, head, plan.window, &reading.observed).await?;
    }
    if is_contradicted(&verdict) && run.may_read_again() {
        let want = want(account, head, None);
        let again = read::read(run, want).await?;
        if !again.observed.balances.is_empty() {
            reading.observed.balances = again.observed.balances;
            verdict = compare(run, account, head, plan.window, &reading.observed).await?;
        }
    }
    let knows_all = plan.is_all || head.fresh_at.is_none() || head.history_due_at.is_some();
    if is_contradicted(&verdict) && !knows_all && run.may_read_again() {
        let (today, limits) = (run.bank.today(run.app.clock.now()), &run.bank.institution.limits);
        let all = window::all(limits, today, &head.standing);
        match look(run, account, head, all).await {
            Ok(read) => {
                reading = read;
                verdict = compare(run, account, head, all.window, &reading.observed).await?;
            }
            // What was read stands, contradicted as it is.
            Err(Halt::Failure(failure)) => {
                tracing::warn!(account = %account.id, reason = failure.reason(), "all history could not be read");
            }
            Err(halt) => return Err(halt),
        }
    }
    match verdict {
        Ok((verdict, index)) => Ok(Looked { verdict, reading, index }),
        Err(incomplete) => Err(Failure::IncompleteStatement(incomplete.to_string()).into()),
    }
}

fn is_contradicted(verdict: &Compared) -> bool {
    verdict.as_ref().is_ok_and(|(verdict, _)| verdict.proof == Proof::Contradicted)
}

/// Does it show just what the last look did?
fn unchanged(head: &AccountHead, observed: &Observed) -> Option<Proof> {
    ledger::Index::decode(head.index.as_deref()?)?.unchanged(&head.standing, observed)
}

fn want(account: &Account, head: &AccountHead, transactions: Option<Window>) -> Want {
    Want { account: account.bank.bank_id.clone(), transactions, balances: true, state: head.state.clone() }
}

/// Reads the days of a plan.
async fn look(
    run: &mut Run<'_>,
    account: &Account,
    head: &AccountHead,
    plan: Plan,
) -> Result<read::Reading, Halt> {
    let mut reading = read::read(run, want(account, head, Some(plan.window))).await?;
    place(run, head, plan, &mut reading.observed);
    Ok(reading)
}

/// Notes when a reading was made, and how far it reached.
pub(super) fn place(run: &Run<'_>, head: &AccountHead, plan: Plan, observed: &mut Observed) {
    observed.today = Some(run.bank.today(run.app.clock.now()));
    observed.is_all = plan.is_all
        && observed.coverage.as_ref().is_some_and(|coverage| coverage.complete && coverage.snapshot);
    observed.held_from = head.history_from;
}

/// What a look came to, and what to compare the next one with.
pub(super) type Compared = Result<(Verdict, Option<Vec<u8>>), Incomplete>;

pub(super) async fn compare(
    run: &Run<'_>,
    account: &Account,
    head: &AccountHead,
    window: Window,
    observed: &Observed,
) -> Result<Compared, Halt> {
    // A bank may give more than was asked for: those rows are compared too, not added again.
    let oldest = observed.transactions.iter().filter_map(|row| row.booked_on).min().unwrap_or(window.since);
    let since = oldest.min(window.since);
    let since = since.checked_sub_days(Days::new(KNOWN_BEFORE_WINDOW_DAYS)).unwrap_or(since);
    let known = run.app.store.known(account.id, since).await?;
    let span =
        tracing::debug_span!(target: "tidegate", "reconcile", account = %account.id, rows = known.len());
    let reconciled =
        span.in_scope(|| ledger::reconcile(&known, &head.standing, observed, head.take_incomplete));
    let verdict = match reconciled {
        Ok(verdict) => verdict,
        Err(incomplete) => return Ok(Err(incomplete)),
    };
    let (limits, today) = (&run.bank.institution.limits, run.bank.today(run.app.clock.now()));
    let from = window::overlap_from(limits, today, held(run, head)).min(today);
    let index = ledger::Index::of(observed, &verdict, &known, from).map(|index| index.encode());
    Ok(Ok((verdict, index)))
}

/// The days to read of an account.
pub(super) fn window(run: &Run<'_>, head: &AccountHead) -> Plan {
    let now = run.app.clock.now();
    let at = (run.bank.today(now), run.bank.hour(now));
    window::to_read(&run.bank.institution.limits, at, held(run, head))
}

pub(super) fn held<'a>(run: &Run<'_>, head: &'a AccountHead) -> Held<'a> {
    Held {
        until: head.fresh_at.map(|at| run.bank.today(at)),
        since: head.history_from,
        is_growing: head.history_due_at.is_some(),
        standing: &head.standing,
    }
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
