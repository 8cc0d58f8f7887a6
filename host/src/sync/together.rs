//! A statement for all accounts: one reading, a commit for each, and the acknowledgement last.
//!
//! The bank forgets what was acknowledged, so that leaves only when every account's part is stored.

use super::account::Looked;
use super::{Halt, Run, account, outcome, read};
use crate::model::*;
use crate::store::StoreError;

/// One account and the sync that will answer for it.
struct Asked {
    account: Account,
    head: AccountHead,
    sync: (SyncId, Trigger),
    present: Option<CustomerPresent>,
}

/// Reads all accounts if one is due, and ends the run.
pub(super) async fn sync(run: &mut Run<'_>) -> Result<(), StoreError> {
    if account::due(run).await?.is_empty() {
        return outcome::complete(run, None).await;
    }
    let mut asked = Vec::new();
    for (account, head) in outcome::active(run).await? {
        let (id, trigger, present) = run.app.store.begin_asking(run.lease, account.id).await?;
        asked.push(Asked { account, head, sync: (id, trigger), present });
    }
    run.customer(asked.iter().find_map(|asked| asked.present.clone()));
    let accounts = asked.iter().map(|asked| asked.account.id).collect();
    run.reads_of(accounts, asked.first().map(|asked| &asked.head));
    (run.asked_at, run.answered_at) = (None, None);
    let wants = asked.iter().map(|asked| Want {
        account: asked.account.bank.bank_id.clone(),
        transactions: Some(account::window(run, &asked.head).window),
        balances: true,
        state: asked.head.state.clone(),
    });
    let mut read = match read::read_together(run, wants.collect()).await {
        Ok(read) => read,
        Err(Halt::Failure(failure)) => return all_failed(run, asked, failure).await,
        Err(Halt::Store(error)) => return Err(error),
    };
    run.answered();
    let mut all_stored = true;
    for Asked { account, head, sync, .. } in asked {
        // An account of which the statement says nothing has nothing new.
        let reading =
            read.accounts.remove(&account.bank.bank_id).unwrap_or_else(|| Ok(read::Reading::default()));
        match judge(run, &account, &head, reading).await {
            Ok(looked) => account::store(run, &account, head, sync, looked).await?,
            Err(Halt::Failure(failure)) => {
                all_stored = false;
                outcome::record_failure(run, &account, &head, sync, failure).await?;
            }
            Err(Halt::Store(error)) => return Err(error),
        }
    }
    if all_stored {
        account::acknowledge(run, read.after_commit).await?;
    }
    outcome::complete(run, None).await
}

async fn judge(
    run: &Run<'_>,
    account: &Account,
    head: &AccountHead,
    reading: Result<read::Reading, Failure>,
) -> Result<Looked, Halt> {
    let mut reading = reading?;
    let plan = account::window(run, head);
    account::place(run, head, plan, &mut reading.observed);
    match account::compare(run, account, head, plan.window, &reading.observed).await? {
        Ok((verdict, index)) => Ok(Looked { verdict, reading, index }),
        Err(incomplete) => Err(Failure::IncompleteStatement(incomplete.to_string()).into()),
    }
}

/// None of them was read: each says so.
async fn all_failed(run: &mut Run<'_>, asked: Vec<Asked>, failure: Failure) -> Result<(), StoreError> {
    let settled = outcome::settle(run, &failure).await?;
    for Asked { account, head, sync, .. } in asked {
        outcome::write(run, &account, &head, sync, &settled).await?;
    }
    outcome::finish(run, &settled).await
}
