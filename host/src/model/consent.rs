//! When a consent is over, and when its end is told ahead. Pure: the time comes as an argument.

use super::{BusinessId, ConnectionId, Consent, ConsentId, Timestamp};
use std::time::Duration;

/// The end of a consent is told so many days ahead: time to write to the customer, to remind, and to ask
/// once more.
pub const NOTICE_DAYS: [u32; 3] = [14, 7, 1];

/// A consent as the audit trail shows it: with the bank and the customer it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedConsent {
    /// The consent.
    pub consent: Consent,
    /// At which bank.
    pub institution: String,
    /// The business's own name for the customer; erased with the connection.
    pub customer_ref: Option<String>,
}

/// A consent of which something is to be told, or that is to be ended, by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueConsent {
    /// Which.
    pub id: ConsentId,
    /// For which link.
    pub connection: ConnectionId,
    /// Whose customer.
    pub business: BusinessId,
    /// At which bank.
    pub institution: String,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Since when it is due.
    pub due_at: Timestamp,
}

impl Consent {
    /// Nothing may be asked of the bank any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ended_at.is_some() || self.expires_at.is_some_and(|end| end <= now)
    }
}

impl DueConsent {
    /// The notice to give now: of several that were missed the nearest. None before the first and after
    /// the end.
    pub fn notice(&self, now: Timestamp) -> Option<u32> {
        let begun = |days: &&u32| ahead(self.expires_at, **days) <= now;
        NOTICE_DAYS.iter().rev().find(begun).copied().filter(|_| self.expires_at > now)
    }
}

/// When something is to be told or done about a consent next: the first notice that is still to come, or
/// its end.
pub fn consent_due_at(expires_at: Timestamp, now: Timestamp) -> Timestamp {
    NOTICE_DAYS.iter().map(|days| ahead(expires_at, *days)).find(|at| *at > now).unwrap_or(expires_at)
}

fn ahead(expires_at: Timestamp, days: u32) -> Timestamp {
    expires_at.minus(Duration::from_secs(u64::from(days) * 24 * 3_600))
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Timestamp = Timestamp(1_800_000_000_000_000);

    fn days_before(days: u32) -> Timestamp {
        ahead(END, days)
    }

    #[test]
    fn each_notice_comes_in_its_turn_and_the_end_after_the_last() {
        let mut now = days_before(90);
        let mut looks = Vec::new();
        while now < END {
            now = consent_due_at(END, now);
            looks.push(now);
        }
        assert_eq!(looks, [days_before(14), days_before(7), days_before(1), END]);
        assert_eq!(consent_due_at(END, days_before(3)), days_before(1), "what is over is not made up for");
        assert_eq!(consent_due_at(END, Timestamp(END.0 - 1)), END);
    }

    #[test]
    fn of_the_notices_that_were_missed_the_nearest_is_given() {
        let due = DueConsent {
            id: ConsentId::new(),
            connection: ConnectionId::new(),
            business: BusinessId::new(),
            institution: "bank".into(),
            expires_at: END,
            due_at: days_before(14),
        };
        for (days, notice) in
            [(15, None), (14, Some(14)), (8, Some(14)), (7, Some(7)), (2, Some(7)), (1, Some(1))]
        {
            assert_eq!(due.notice(days_before(days)), notice, "{days} days before");
        }
        assert_eq!(due.notice(END), None, "it has ended");
    }
}
