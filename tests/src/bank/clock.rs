//! The bank's own clock: the system's, shifted, or one that stands still. Nobody else's clock
//! moves it.

use chrono::{DateTime, TimeDelta, Utc};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

/// How the bank's clock starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockStart {
    /// Runs with the system's time.
    #[default]
    System,
    /// Stands still at this moment until advanced.
    Frozen(DateTime<Utc>),
}

#[derive(Debug)]
pub(super) struct BankClock {
    /// Microseconds added to the system's time; since 1970 if `frozen`.
    shift: AtomicI64,
    frozen: bool,
}

impl BankClock {
    pub(super) fn new(start: ClockStart) -> Self {
        match start {
            ClockStart::System => Self { shift: AtomicI64::new(0), frozen: false },
            ClockStart::Frozen(at) => Self { shift: AtomicI64::new(at.timestamp_micros()), frozen: true },
        }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        let shift = TimeDelta::microseconds(self.shift.load(Ordering::SeqCst));
        let base = if self.frozen { DateTime::UNIX_EPOCH } else { DateTime::<Utc>::from(SystemTime::now()) };
        base.checked_add_signed(shift).unwrap_or(base)
    }

    pub(super) fn advance(&self, span: Duration) {
        self.shift.fetch_add(i64::try_from(span.as_micros()).unwrap_or(0), Ordering::SeqCst);
    }
}
