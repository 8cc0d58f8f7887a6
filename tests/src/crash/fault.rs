//! What breaks, one thing a round, and at which moment.
//!
//! A moment between two steps of the service is hit by what can be seen from outside: the bank or a receiver has taken a
//! request and holds its answer, or has just answered. Nothing is hit by waiting and hoping, except where any moment will do.

use super::database::{Database, Stop};
use super::disk::Disk;
use super::relay::Relay;
use super::scene::{Scene, Stage, To};
use super::service::{LEASE_S, Service};
use crate::bank::{Hold, PathKind, Target};
use crate::load::service::DatabaseKind;
use crate::random::Random;
use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::time::Duration;

/// How long a moment is waited for; then whatever is going on is what is hit.
const MOMENT: Duration = Duration::from_secs(5);
/// A moment that is any moment: within so many milliseconds.
const ANY_MOMENT_MS: i64 = 1_500;
/// The longest that something stays away, in milliseconds: a webhook is tried twice within it, not three times.
const AWAY_MS: i64 = 3_000;
/// How long a disk is full, or a clock wrong, at most, in milliseconds.
const WRONG_MS: i64 = 6_000;
/// How wrong a clock is, in seconds: more than a lease and what is added to it, and less than the 300 s from which receivers of
/// Standard Webhooks refuse. What a clock that is ahead dates into the future waits for as long.
pub const CLOCK_S: (i64, i64) = (45, 90);
/// What a process adds to its lease before others take over, in seconds; a paused one sleeps through both.
const LEASE_GRACE_S: u64 = 30;

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Processes are killed at any moment.
    Killed,
    /// … when the bank has traded a refresh token and its answer is on the way.
    KilledTokenTaken,
    /// … when the answer with the new tokens has just left the bank: before or after they are stored.
    KilledTokenGiven,
    /// … when the bank has a page in hand.
    KilledPageTaken,
    /// … when the page has just been given: before or after it is committed.
    KilledPageGiven,
    /// … when a receiver has a webhook in hand.
    KilledWebhookTaken,
    /// … when the receiver has just taken it: before or after that is recorded.
    KilledWebhookAnswered,
    /// … when the bank is being asked to end a consent.
    KilledEndTaken,
    /// … when a statement is stored and the bank is being told that it may forget it.
    KilledAcknowledgementTaken,
    /// … when a business has sent a link, which is being made.
    KilledLinkSent,
    /// Processes crash as by a programming error; a core would be written.
    Aborted,
    /// Processes are stopped as a service manager does, one after the other.
    Terminated,
    /// A process sleeps for longer than its lease.
    Paused,
    /// The clock of a process jumps, and is put right again.
    Clock,
    /// The disk of the database is full for a while.
    DiskFull,
    /// PostgreSQL is stopped in order.
    DatabaseFast,
    /// PostgreSQL is stopped as if it crashed.
    DatabaseImmediate,
    /// The bank is killed with requests in hand.
    BankKilled,
    /// A receiver of webhooks is killed with some in hand.
    ReceiverKilled,
}

impl Fault {
    /// All that can happen here.
    pub fn possible(kind: DatabaseKind, disk: &Disk) -> Vec<Self> {
        use Fault::*;
        let mut all = vec![
            Killed,
            KilledTokenTaken,
            KilledTokenGiven,
            KilledPageTaken,
            KilledPageGiven,
            KilledWebhookTaken,
            KilledWebhookAnswered,
            KilledEndTaken,
            KilledAcknowledgementTaken,
            KilledLinkSent,
            Aborted,
            Terminated,
            Paused,
            BankKilled,
            ReceiverKilled,
        ];
        if super::service::faketime().is_some() {
            all.push(Clock);
        }
        if disk.is_small() {
            all.push(DiskFull);
        }
        if kind == DatabaseKind::Postgres {
            all.extend([DatabaseFast, DatabaseImmediate]);
        }
        all
    }

    /// Its name in the report.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| Some(name.as_str()?.to_owned())).unwrap_or_default()
    }
}

/// When it struck. Answers of the bank that were on their way then are lost to the service.
#[derive(Debug, Clone, Copy)]
pub struct Struck {
    /// From here …
    pub from: DateTime<Utc>,
    /// … to here.
    pub until: DateTime<Utc>,
    /// Can it lose answers at all?
    pub loses_answers: bool,
    /// A clock was wrong.
    pub clock_is_wrong: bool,
    /// The moment that it waited for came.
    pub at_its_moment: bool,
}

/// All that can be broken.
pub struct Machinery {
    /// The service's processes.
    pub service: Service,
    /// Their database.
    pub database: Database,
    /// Its disk.
    pub disk: Disk,
    /// Before the bank.
    pub bank: Relay,
    /// Before the first receiver.
    pub receiver: Relay,
}

impl Machinery {
    /// Breaks something.
    pub async fn strike(
        &mut self,
        fault: Fault,
        scene: &Scene,
        random: &mut Random,
    ) -> anyhow::Result<Struck> {
        let at_its_moment = self.wait_for_the_moment(fault, scene, random).await?;
        let from = Utc::now();
        let (until, loses_answers) = match fault {
            Fault::Terminated => {
                for number in 0..self.service.members.len() {
                    let member = self.service.members.get_mut(number).context("a process")?;
                    tokio::task::block_in_place(|| member.terminate())?;
                    self.service.start().await?;
                }
                (Utc::now(), false)
            }
            Fault::Paused => {
                let place = random.place(self.service.members.len());
                let member = self.service.members.get(place).context("a process")?;
                member.pause()?;
                let until = Utc::now();
                real_time(Duration::from_secs(LEASE_S + LEASE_GRACE_S + 1)).await;
                member.go_on()?;
                (until, true)
            }
            Fault::Clock => {
                let place = random.place(self.service.members.len());
                let wrong_by = random.between(CLOCK_S.0, CLOCK_S.1) * if random.chance(60) { 1 } else { -1 };
                let member = self.service.members.get(place).context("a process")?;
                member.set_clock(wrong_by)?;
                real_time(millis(random.between(WRONG_MS / 2, WRONG_MS))).await;
                member.set_clock(0)?;
                (Utc::now(), false)
            }
            Fault::DiskFull => {
                tokio::task::block_in_place(|| self.disk.fill())?;
                scene.bank.release();
                real_time(millis(random.between(WRONG_MS / 2, WRONG_MS))).await;
                self.disk.free()?;
                self.start_database().await?;
                (Utc::now(), false)
            }
            Fault::DatabaseFast | Fault::DatabaseImmediate => {
                let how = if fault == Fault::DatabaseFast { Stop::Fast } else { Stop::Immediate };
                tokio::task::block_in_place(|| self.database.stop(how))?;
                scene.bank.release();
                real_time(millis(random.between(0, AWAY_MS))).await;
                self.start_database().await?;
                (Utc::now(), false)
            }
            Fault::BankKilled => {
                self.bank.kill();
                scene.bank.release();
                real_time(millis(random.between(0, AWAY_MS))).await;
                self.bank.restart()?;
                (Utc::now(), true)
            }
            Fault::ReceiverKilled => {
                self.receiver.kill();
                scene.receivers.iter().for_each(crate::sink::Sink::release);
                real_time(millis(random.between(0, AWAY_MS))).await;
                self.receiver.restart()?;
                (Utc::now(), false)
            }
            _ => {
                self.kill_some(fault, random)?;
                let until = Utc::now();
                scene.bank.release();
                scene.receivers.iter().for_each(crate::sink::Sink::release);
                real_time(millis(random.between(0, AWAY_MS / 2))).await;
                self.service.start().await?;
                (until, true)
            }
        };
        let clock_is_wrong = fault == Fault::Clock;
        Ok(Struck { from, until, loses_answers, clock_is_wrong, at_its_moment })
    }

    /// Everything runs again, whatever became of it.
    pub async fn mend(&mut self, scene: &Scene) -> anyhow::Result<()> {
        scene.bank.release();
        scene.receivers.iter().for_each(crate::sink::Sink::release);
        self.disk.free()?;
        self.start_database().await?;
        self.bank.restart()?;
        self.receiver.restart()?;
        self.service.start().await
    }

    async fn start_database(&self) -> anyhow::Result<()> {
        tokio::task::block_in_place(|| self.database.start())
    }

    /// All processes, or all but one.
    fn kill_some(&mut self, fault: Fault, random: &mut Random) -> anyhow::Result<()> {
        let count = self.service.members.len();
        let spared = random.place(count);
        let spares = count > 1 && random.chance(50);
        for (number, member) in self.service.members.iter_mut().enumerate() {
            match fault {
                _ if spares && number == spared => {}
                Fault::Aborted => tokio::task::block_in_place(|| member.abort())?,
                _ => member.kill(),
            }
        }
        Ok(())
    }

    /// Returns when it is the moment of this fault, or none came: then it strikes all the same. Whether it came.
    async fn wait_for_the_moment(
        &self,
        fault: Fault,
        scene: &Scene,
        random: &mut Random,
    ) -> anyhow::Result<bool> {
        let (bank, next) = (&scene.bank, scene.bank.next_number());
        let came = match fault {
            Fault::KilledTokenTaken => held(scene, PathKind::Token).await,
            Fault::KilledPageTaken => held(scene, PathKind::Transactions).await,
            Fault::BankKilled if random.chance(40) => {
                let kinds = [PathKind::Token, PathKind::Transactions, PathKind::Balances];
                held(scene, random.pick(&kinds).unwrap_or(PathKind::Token)).await
            }
            // At its first reading, of those that the bank allows in a day.
            Fault::BankKilled if random.chance(60) => {
                let number = scene.come(To::Budgeted, false)?;
                let customer = scene.customers().get(number).cloned().context("a customer")?;
                let account = customer.bank.accounts.first().context("an account")?;
                held(scene, Target::of(PathKind::Transactions, account)).await
            }
            // What the bank gave must be kept although the database is away.
            Fault::DatabaseFast | Fault::DatabaseImmediate | Fault::DiskFull if random.chance(60) => {
                held(scene, PathKind::Token).await
            }
            Fault::KilledTokenGiven => bank.wait_answered(PathKind::Token, next, MOMENT).await,
            Fault::KilledPageGiven => {
                let kinds = [PathKind::Transactions, PathKind::Balances];
                bank.wait_answered(random.pick(&kinds).unwrap_or(PathKind::Balances), next, MOMENT).await
            }
            Fault::KilledEndTaken => {
                let here = scene.those(Stage::Here);
                if let Some(one) = here.get(random.place(here.len())) {
                    scene.change(one.number, |customer| customer.stage = Stage::Leaving);
                }
                held(scene, PathKind::Consent).await
            }
            Fault::KilledAcknowledgementTaken => {
                scene.come(To::Statements, false)?;
                held(scene, PathKind::CamtAcknowledge).await
            }
            Fault::KilledWebhookTaken | Fault::ReceiverKilled => {
                scene.receivers.iter().for_each(crate::sink::Sink::hold);
                one_more_received(scene).await
            }
            Fault::KilledWebhookAnswered => one_more_received(scene).await,
            Fault::KilledLinkSent => {
                let number = scene.come(To::Any, false)?;
                let customer = scene.customers().get(number).cloned().context("a customer")?;
                let mut random = random.clone();
                let at = millis(random.between(0, 60));
                // Killed while the call is open, or answered already.
                let _ = tokio::time::timeout(at, scene.link(&mut random, &customer)).await;
                Ok(())
            }
            _ => {
                real_time(millis(random.between(0, ANY_MOMENT_MS))).await;
                Ok(())
            }
        };
        Ok(came.is_ok())
    }
}

async fn held(scene: &Scene, what: impl Into<Target>) -> Result<(), crate::TimedOut> {
    scene.bank.hold(what, Hold::Answer);
    scene.bank.wait_held(1, MOMENT).await
}

async fn one_more_received(scene: &Scene) -> Result<(), crate::TimedOut> {
    let Some(receiver) = scene.receivers.first() else { return Ok(()) };
    let before = receiver.look(<[_]>::len);
    receiver.wait_for("one more webhook", MOMENT, |received| (received.len() > before).then_some(())).await
}

fn millis(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(0))
}

/// How long something is broken is no fact to wait for.
async fn real_time(span: Duration) {
    tokio::time::sleep(span).await;
}
