//! What goes on while things break: entries are booked, corrected and taken back, somebody asks for a sync, tokens run
//! out, customers come and go.
//!
//! Must not know: faults. Whatever the service answers here, or does not, is all the same: it is looked at afterwards.

use super::scene::{Customer, NARRATION, Scene, Stage, To};
use crate::bank::{Correction, NewEntry, Row, RowStatus};
use crate::random::Random;
use chrono::Utc;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Callers that ask for a sync, one after the other each.
const CALLERS: u64 = 4;
/// The longest pause between two things that happen at the bank, in milliseconds.
const BANK_PAUSE_MS: i64 = 60;
/// How often all access tokens run out: sessions are renewed all the time.
const TOKENS_LAST: Duration = Duration::from_millis(900);
/// A caller waits so many seconds at most, and pauses for so many milliseconds.
const CALLER_WAITS_S: i64 = 3;
const CALLER_PAUSE_MS: i64 = 150;
/// So many customers at least stay.
const STAY_MIN: usize = 14;
/// With more, one goes in each round.
const STAY_MAX: usize = 22;

/// The traffic of one round.
pub struct Traffic {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Traffic {
    /// Begins. Some customers come or go first.
    pub fn begin(scene: &Arc<Scene>, random: &mut Random) -> anyhow::Result<Self> {
        come_and_go(scene, random)?;
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let mut start = |work: Work| {
            let (scene, stop) = (scene.clone(), stop.subscribe());
            let seed = u64::try_from(random.between(0, i64::MAX)).unwrap_or(0);
            tasks.spawn(go_on(scene, Random::of(seed, 0), work, stop));
        };
        start(Work::Bank);
        start(Work::Tokens);
        start(Work::Links);
        (0..CALLERS).for_each(|_| start(Work::Calls));
        Ok(Self { stop, tasks })
    }

    /// Ends, and returns when nothing happens any more.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

#[derive(Clone, Copy)]
enum Work {
    Bank,
    Tokens,
    Links,
    Calls,
}

async fn go_on(scene: Arc<Scene>, mut random: Random, work: Work, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let pause = match work {
            Work::Bank => {
                // Of an entry that another act has just taken away there is nothing to say.
                let _ = something_at_the_bank(&scene, &mut random);
                millis(random.between(5, BANK_PAUSE_MS))
            }
            Work::Tokens => {
                scene.bank.expire_access_tokens();
                TOKENS_LAST
            }
            Work::Links => {
                for customer in scene.those(Stage::Coming) {
                    scene.link(&mut random, &customer).await;
                }
                for customer in scene.those(Stage::Leaving) {
                    scene.leave(&mut random, &customer).await;
                }
                millis(200)
            }
            Work::Calls => {
                ask_for_a_sync(&scene, &mut random).await;
                millis(random.between(0, CALLER_PAUSE_MS))
            }
        };
        let _ = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await;
    }
}

fn millis(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(0))
}

fn one_of<T: Clone>(random: &mut Random, all: &[T]) -> Option<T> {
    all.get(random.place(all.len())).cloned()
}

/// One customer more, with a budget or not, for long or not; and one who leaves or takes the consent back.
fn come_and_go(scene: &Scene, random: &mut Random) -> anyhow::Result<()> {
    let to = if random.chance(40) { To::Budgeted } else { To::Any };
    scene.come(to, random.chance(20))?;
    let here = scene.those(Stage::Here);
    let Some(one) = one_of(random, &here).filter(|_| here.len() > STAY_MIN) else { return Ok(()) };
    if here.len() > STAY_MAX || random.chance(40) {
        // Who comes in by a password has nothing to take back at the bank.
        match random.chance(50) || one.login.is_some() {
            true => scene.change(one.number, |customer| customer.stage = Stage::Leaving),
            false => scene.take_back(&one)?,
        }
    }
    Ok(())
}

async fn ask_for_a_sync(scene: &Scene, random: &mut Random) {
    let here: Vec<Customer> =
        scene.those(Stage::Here).into_iter().filter(|customer| !customer.accounts.is_empty()).collect();
    let Some(customer) = one_of(random, &here) else { return };
    let Some(account) = one_of(random, &customer.accounts.into_values().collect::<Vec<_>>()) else { return };
    let path = format!("/v1/accounts/{account}/sync?wait={}", random.between(0, CALLER_WAITS_S));
    let present = json!({ "customer_present": { "ip": "203.0.113.7" } });
    let body = if random.chance(30) { present } else { json!({}) };
    scene.call(random, reqwest::Method::POST, &path, &[], Some(&body)).await;
}

fn something_at_the_bank(scene: &Scene, random: &mut Random) -> anyhow::Result<()> {
    let bank = &scene.bank;
    let Some(customer) = one_of(random, &scene.those(Stage::Here)) else { return Ok(()) };
    let Some(account) = one_of(random, &customer.bank.accounts) else { return Ok(()) };
    let text = format!("{NARRATION} {}", random.between(0, i64::MAX));
    let amount = format!("-{}.{:02}", random.between(1, 90), random.between(0, 99));
    // Only what happened today: a correction of what lies further back is another test's.
    let today = Utc::now().date_naive();
    let rows = || bank.statement(&account).map(|statement| statement.rows);
    let of = |random: &mut Random, status| -> anyhow::Result<Option<Row>> {
        let mut rows = rows()?;
        rows.retain(|row| row.status == status && row.booked_on == today && row.text.starts_with(NARRATION));
        Ok(one_of(random, &rows))
    };
    match random.between(0, 9) {
        0..=3 => drop(bank.book(&account, NewEntry::card(&amount, &text, "Corner Coffee"))?),
        4 => drop(bank.book(&account, NewEntry::transfer(&amount.replace('-', ""), &text))?),
        5 | 6 => drop(bank.authorise(&account, NewEntry::card(&amount, &text, "Blue Door"))?),
        7 => {
            if let Some(row) = of(random, RowStatus::Pending)? {
                bank.settle(&account, &row.id, None)?;
            }
        }
        8 => {
            if let Some(row) = of(random, RowStatus::Booked)? {
                bank.correct(&account, &row.id, Correction { text: Some(text), ..Correction::default() })?;
            }
        }
        _ => {
            if let Some(row) = of(random, RowStatus::Booked)? {
                bank.remove(&account, &row.id)?;
            }
        }
    }
    Ok(())
}
