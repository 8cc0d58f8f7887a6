//! Reading accounts: the connector's steps and the requests between them, in turn.

use super::{Halt, Reads, Run, budget, session};
use crate::ledger::Observed;
use crate::model::*;
use std::collections::BTreeMap;

/// How often a reading starts again because the list changed while it was paged.
const RESTARTS_MAX: u32 = 2;
/// Rows of one account in one sync: a hundred pages of a busy business account.
const ROWS_MAX: usize = 100_000;
const PURPOSES: &[Purpose] = &[Purpose::Read];

/// What one reading gave.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) observed: Observed,
    /// The connector's own state for the next reading.
    pub(super) state: Option<String>,
    /// Acknowledgements to send after the commit.
    pub(super) after_commit: Vec<Request>,
}

/// What one reading of several accounts gave, by the bank's id: each can be read or not.
#[derive(Debug, Default)]
pub(super) struct Together {
    pub(super) accounts: BTreeMap<String, Result<Reading, Failure>>,
    /// Acknowledgements to send once all of it is stored.
    pub(super) after_commit: Vec<Request>,
}

/// Reads what is wanted of one account.
pub(super) async fn read(run: &mut Run<'_>, want: Want) -> Result<Reading, Halt> {
    let id = want.account.clone();
    let mut together = read_together(run, vec![want]).await?;
    let mut reading = together.accounts.remove(&id).unwrap_or_else(|| Ok(Reading::default()))?;
    reading.after_commit = together.after_commit;
    Ok(reading)
}

/// Reads what is wanted. A session that ended early is renewed once; a list that moved is read
/// again; a window that the bank does not give is shortened once.
pub(super) async fn read_together(run: &mut Run<'_>, mut wants: Vec<Want>) -> Result<Together, Halt> {
    let (mut renewed, mut shortened, mut restarts) = (false, false, 0);
    loop {
        run.take_read().await?;
        let again = run.may_read_again();
        match pages(run, &wants).await {
            Err(Halt::Failure(Failure::SessionExpired)) if !renewed && again => {
                renewed = true;
                session::renew(run).await?;
            }
            Err(Halt::Failure(Failure::PagesChanged)) if again && restarts < RESTARTS_MAX => restarts += 1,
            Err(Halt::Failure(Failure::WindowNotAvailable { earliest })) if !shortened && again => {
                shortened = true;
                for want in &mut wants {
                    want.transactions = want.transactions.map(|window| shorter(window, earliest));
                }
            }
            Ok(read) => {
                run.read_with_password().await?;
                return Ok(read);
            }
            Err(Halt::Failure(failure)) => {
                run.reading_failed(&failure).await?;
                return Err(failure.into());
            }
            Err(halt) => return Err(halt),
        }
    }
}

impl Run<'_> {
    /// From now on readings are of these accounts, the first of which was read so often today.
    pub(super) fn reads_of(&mut self, accounts: Vec<AccountId>, head: Option<&AccountHead>) {
        let made = head.map_or(0, |head| head.reads_today(self.app.clock.now()));
        let most = self.bank.institution.limits.unattended_reads_per_day.unwrap_or(u32::MAX);
        self.reads = Reads { of: accounts, made, most };
    }

    /// May it be read once more, in doubt?
    pub(super) fn may_read_again(&self) -> bool {
        self.present.is_some() || self.reads.made < self.reads.most
    }

    /// The bank counts what we read without the customer: what may have arrived is not sent again uncounted.
    pub(super) fn counts_readings(&self) -> bool {
        self.present.is_none() && self.bank.institution.limits.unattended_reads_per_day.is_some()
    }

    /// Counts a reading without the customer, where the bank does, before it leaves.
    async fn take_read(&mut self) -> Result<(), Halt> {
        let budget = self.bank.institution.limits.unattended_reads_per_day;
        let Some(budget) = budget.filter(|_| self.present.is_none()) else { return Ok(()) };
        let now = self.app.clock.now();
        let ends_at = budget::day_end(&self.bank.institution, now);
        for account in &self.reads.of {
            if !self
                .app
                .store
                .take_read(self.lease, *account, (budget, self.reads.most), ends_at, now)
                .await?
            {
                let retry_after_s = u32::try_from(ends_at.since(now).as_secs()).ok();
                return Err(Failure::RateLimited { retry_after_s, scope: LimitScope::Account }.into());
            }
        }
        self.reads.made = self.reads.made.saturating_add(1);
        Ok(())
    }

    /// No reading without the customer before, once what was agreed to for today is used up.
    pub(super) fn reads_rest_until(&self) -> Option<Timestamp> {
        let budget = self.bank.institution.limits.unattended_reads_per_day?;
        let now = self.app.clock.now();
        (self.reads.made >= budget).then(|| budget::day_end(&self.bank.institution, now))
    }
}

/// Begins where the bank said, else in the middle.
fn shorter(window: Window, earliest: Option<chrono::NaiveDate>) -> Window {
    let middle = window.until
        - chrono::Days::new(u64::try_from((window.until - window.since).num_days() / 2).unwrap_or(0));
    let since = earliest.filter(|day| window.contains(*day)).unwrap_or(middle);
    Window { since, ..window }
}

async fn pages(run: &mut Run<'_>, wants: &[Want]) -> Result<Together, Halt> {
    let mut read = Together::default();
    let (mut memory, mut replies) = (String::new(), Vec::new());
    loop {
        run.count_step()?;
        let ask = run.context()?;
        let step = match run.connector.read(&ask, wants, memory, replies).await {
            Ok(step) => step,
            Err(fault) => return Err(run.fault(fault).await),
        };
        let next = match step {
            ReadStep::Send(send) => send,
            ReadStep::Fail(failure) => return Err(failure.into()),
            ReadStep::Pages { pages, next, after_commit } => {
                read.after_commit.extend(after_commit);
                for page in pages {
                    let content = match page.content {
                        Ok(content) => content,
                        // Alone, there is no need to read on.
                        Err(failure) if wants.len() == 1 => return Err(failure.into()),
                        Err(failure) => {
                            read.accounts.insert(page.account, Err(failure));
                            continue;
                        }
                    };
                    run.no_secret_in(content.state.as_deref().unwrap_or(""))?;
                    let account = read.accounts.entry(page.account).or_insert_with(|| Ok(Reading::default()));
                    let Ok(account) = account else { continue };
                    account.add(content);
                    if account.observed.transactions.len() > ROWS_MAX {
                        return Err(
                            run.broken(format!("more than {ROWS_MAX} rows of one account in one sync"))
                        );
                    }
                }
                match next {
                    Some(send) => send,
                    None => return Ok(read),
                }
            }
        };
        (memory, replies) = run.exchange(next, PURPOSES).await?;
    }
}

impl Reading {
    fn add(&mut self, page: PageContent) {
        self.observed.transactions.extend(page.transactions);
        self.observed.removed.extend(page.removed);
        self.observed.balances.extend(page.balances);
        self.observed.coverage = page.coverage.or(self.observed.coverage.take());
        self.state = page.state.or(self.state.take());
    }
}
