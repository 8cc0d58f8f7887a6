//! The time, passed in: the system's, or one that a test or demo moves.
//!
//! Must not know: what the time is wanted for.

use crate::model::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// A clock. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Added to the source's time, in microseconds; the whole time if there is none.
    shift: AtomicI64,
    /// When the machine started, by the clock that is followed, in microseconds; 0 while none is.
    followed: AtomicI64,
    /// Moves only when told to.
    frozen: bool,
    /// Sends when `shift` changed, so that sleepers look again.
    moved: watch::Sender<()>,
}

/// A moment after which something must not be done any more. It also passes while the machine
/// sleeps or the process is stopped.
#[derive(Debug, Clone)]
pub struct Deadline {
    clock: Clock,
    at: Timestamp,
    boot: Duration,
}

impl Clock {
    /// The system's time. [`Clock::advance`] shifts it.
    pub fn system() -> Self {
        Self::new(0, false)
    }

    /// A clock that stands still at `start` and moves only by [`Clock::advance`].
    pub fn frozen(start: Timestamp) -> Self {
        Self::new(start.0, true)
    }

    fn new(shift: i64, frozen: bool) -> Self {
        let (shift, followed) = (AtomicI64::new(shift), AtomicI64::new(0));
        Self(Arc::new(Inner { shift, followed, frozen, moved: watch::Sender::new(()) }))
    }

    /// How far another clock that shows `other` is ahead of this one, in microseconds; none if this one stands still and has
    /// nothing to do with the time of day. What it was advanced by does not count.
    pub fn off(&self, other: Timestamp) -> Option<i64> {
        (!self.0.frozen).then(|| other.0 - self.source())
    }

    /// Is another clock from now on, which is ahead by so many microseconds: counted on by how long the machine runs, so that
    /// setting the system's clock changes nothing.
    pub fn follow(&self, ahead: i64) {
        if !self.0.frozen {
            self.0.followed.store(self.source() + ahead - micros(boot_time()), Ordering::SeqCst);
        }
    }

    /// Without what it was advanced by.
    fn source(&self) -> i64 {
        match self.0.followed.load(Ordering::SeqCst) {
            0 => {
                #[allow(clippy::disallowed_methods)] // the one place that reads the system's time
                let system = chrono::Utc::now();
                Timestamp::from(system).0
            }
            started => started + micros(boot_time()),
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        let shift = self.0.shift.load(Ordering::SeqCst);
        if self.0.frozen {
            return Timestamp(shift);
        }
        Timestamp(self.source() + shift)
    }

    /// Moves the clock forward, and wakes those who sleep on it.
    pub fn advance(&self, span: Duration) {
        self.0.shift.fetch_add(micros(span), Ordering::SeqCst);
        self.0.moved.send_replace(());
    }

    /// Returns at `moment` or soon after.
    pub async fn sleep_until(&self, moment: Timestamp) {
        let mut moved = self.0.moved.subscribe();
        loop {
            let left = moment.since(self.now());
            if left.is_zero() {
                return;
            }
            if self.0.frozen {
                if moved.changed().await.is_err() {
                    return;
                }
            } else {
                let _ = tokio::time::timeout(left, moved.changed()).await;
            }
        }
    }

    /// Returns after `span` or soon after.
    pub async fn sleep(&self, span: Duration) {
        self.sleep_until(self.now().plus(span)).await;
    }

    /// A deadline `span` from now.
    pub fn deadline(&self, span: Duration) -> Deadline {
        Deadline { clock: self.clone(), at: self.now().plus(span), boot: boot_time() + span }
    }
}

impl Deadline {
    /// This one, or `span` from now, whichever is sooner.
    #[must_use]
    pub fn and_before(self, span: Duration) -> Self {
        let other = self.clock.deadline(span);
        if other.left() < self.left() { other } else { self }
    }
    /// Is it over?
    pub fn passed(&self) -> bool {
        self.left().is_zero()
    }
    /// How long until it is over.
    pub fn left(&self) -> Duration {
        self.at.since(self.clock.now()).min(self.boot.saturating_sub(boot_time()))
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(0)
}

/// Time since the machine started, counting suspension.
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_followed_clock_is_the_others_and_goes_on() {
        let clock = Clock::system();
        clock.advance(Duration::from_secs(7)); // stays what it is
        let other = Timestamp(1_800_000_000_000_000);
        clock.follow(clock.off(other).unwrap());
        let shown = clock.now().since(other);
        assert!(shown >= Duration::from_secs(7) && shown < Duration::from_secs(60), "{shown:?}");
        assert!(clock.off(other).is_some_and(|off| off <= 0 && off > -60_000_000));
        assert_eq!(Clock::frozen(other).off(other), None);
    }

    #[tokio::test]
    async fn a_frozen_clock_moves_only_when_told_and_wakes_its_sleepers() {
        let clock = Clock::frozen(Timestamp(1_000_000));
        let deadline = clock.deadline(Duration::from_secs(60));
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(3600)).await;
                clock.now()
            }
        });
        while clock.0.moved.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!deadline.passed());
        clock.advance(Duration::from_secs(60));
        assert!(deadline.passed());
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(3540));
        assert_eq!(sleeper.await.unwrap(), Timestamp(3_601_000_000));
    }
}
