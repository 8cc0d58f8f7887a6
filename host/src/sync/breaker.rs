//! A bank that fails for many is left alone for a while. [`after`] is pure arithmetic over what is kept in its row.
//!
//! Only what is the bank's own fault counts: it cannot be reached, cannot answer, or answers what nobody can read. Refused
//! credentials, ended consents and limits are answers. A fault of the connection that failed last says nothing new, so
//! one customer's broken account holds back nobody else. Must not know: the database, what a run does.

use super::Run;
use crate::model::{Breaker, BreakerState, ConnectionId, Failure, Timestamp};
use crate::nudge::Bell;
use crate::store::StoreError;
use std::time::Duration;

/// So many more faults than answers open the breaker. An answer takes one off, so that a bank of which less than half
/// of the runs fail hardly ever comes this far.
const FAULTS_OPEN: u32 = 10;
/// The first pause: a restart takes about as long.
const PAUSE_FIRST: Duration = Duration::from_secs(30);
/// The longest: after an outage of hours the bank is asked again this soon.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);

/// What a run says of its bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It answered, well or not.
    Answer,
    /// It did not, and that is its own fault.
    Fault,
}

/// What a failure says of the bank; nothing, if the bank was not asked or it is not about it.
pub(super) fn said(failure: &Failure, was_asked: bool) -> Option<Said> {
    match failure {
        Failure::BankUnavailable { .. } | Failure::Unreachable(_) | Failure::Unreadable { .. } => {
            Some(Said::Fault)
        }
        Failure::CredentialsWithheld | Failure::ConnectorFault(_) | Failure::NotConfigured(_) => None,
        Failure::CredentialsRejected
        | Failure::ConsentExpired
        | Failure::SessionExpired
        | Failure::RateLimited { .. }
        | Failure::WindowNotAvailable { .. }
        | Failure::PagesChanged
        | Failure::NotSupported
        | Failure::IncompleteStatement(_)
        | Failure::CustomerNeeded
        | Failure::SecretEchoed => was_asked.then_some(Said::Answer),
    }
}

/// The breaker after a run that began at `begun`.
pub(super) fn after(
    breaker: &Breaker,
    said: Said,
    connection: ConnectionId,
    begun: Timestamp,
    now: Timestamp,
) -> Breaker {
    let mut next = breaker.clone();
    match (breaker.state, said) {
        // A run from before the pause says nothing of how the bank is now.
        (BreakerState::Open, _) => {}
        (BreakerState::HalfOpen, _) if begun < breaker.since.unwrap_or(begun) => {}
        (BreakerState::HalfOpen, Said::Answer) => next = Breaker::default(),
        (BreakerState::HalfOpen, Said::Fault) => open(&mut next, now),
        (BreakerState::Closed, Said::Answer) => {
            next.faults = breaker.faults.saturating_sub(1);
            next.last_fault = None;
        }
        (BreakerState::Closed, Said::Fault) if breaker.last_fault == Some(connection) => {}
        (BreakerState::Closed, Said::Fault) => {
            next.faults = breaker.faults.saturating_add(1);
            next.last_fault = Some(connection);
            if next.faults >= FAULTS_OPEN {
                open(&mut next, now);
            }
        }
    }
    next
}

fn open(breaker: &mut Breaker, now: Timestamp) {
    let pause = PAUSE_FIRST.saturating_mul(1 << breaker.opened.min(16)).min(PAUSE_MAX);
    breaker.state = BreakerState::Open;
    breaker.since = Some(now);
    breaker.held_since = breaker.held_since.or(Some(now));
    breaker.until = Some(now.plus(pause));
    breaker.opened = breaker.opened.saturating_add(1);
}

impl Run<'_> {
    /// A failure was met. What the bank answered before, or answers later, counts more.
    pub(super) fn met(&mut self, failure: &Failure) {
        if self.said != Some(Said::Answer) {
            self.said = said(failure, self.steps > 0).or(self.said);
        }
    }

    /// The bank did what it should.
    pub(super) fn answered(&mut self) {
        self.said = Some(Said::Answer);
    }

    /// Notes what this run says of its bank. That all is well needs no note.
    pub(super) async fn note_of_bank(&self) -> Result<(), StoreError> {
        let said = match self.said {
            Some(Said::Answer) if !self.lease.is_suspect => return Ok(()),
            Some(said) => said,
            None => return Ok(()),
        };
        let (now, lease) = (self.app.clock.now(), self.lease);
        let next = |known: &Breaker| after(known, said, lease.connection, lease.claimed_at, now);
        let (before, known) = self.app.store.note_of_bank(&lease.institution, &next).await?;
        let institution = lease.institution.as_str();
        match (before.state, known.state) {
            (before, after) if before == after => {}
            (_, BreakerState::Open) => {
                tracing::warn!(institution, until = %known.until.unwrap_or(now), "the bank fails for many; it is left alone");
            }
            _ => {
                tracing::info!(institution, "the bank answers again");
                self.app.nudge.ring(Bell::Schedule);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn fault(breaker: &Breaker, now: Timestamp) -> Breaker {
        after(breaker, Said::Fault, ConnectionId::new(), now, now)
    }
    fn answer(breaker: &Breaker, now: Timestamp) -> Breaker {
        after(breaker, Said::Answer, ConnectionId::new(), now, now)
    }
    fn opened() -> Breaker {
        (0..FAULTS_OPEN).fold(Breaker::default(), |breaker, _| fault(&breaker, NOW))
    }
    fn on_trial(breaker: &Breaker) -> (Breaker, Timestamp) {
        let now = breaker.until.unwrap_or(NOW);
        (Breaker { state: BreakerState::HalfOpen, since: Some(now), ..breaker.clone() }, now)
    }

    #[test]
    fn many_faults_open_it_and_the_pauses_grow_up_to_the_longest() {
        let mut breaker = (1..FAULTS_OPEN).fold(Breaker::default(), |breaker, _| fault(&breaker, NOW));
        assert_eq!(breaker.state, BreakerState::Closed);
        breaker = fault(&breaker, NOW);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!((breaker.state, breaker.held_since), (BreakerState::Open, Some(NOW)));
            pauses.push(breaker.until.map(|until| until.since(breaker.since.unwrap_or(NOW)).as_secs()));
            let (trial, now) = on_trial(&breaker);
            breaker = fault(&trial, now);
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 900, 900, 900].map(Some));
    }

    #[test]
    fn one_answer_of_a_trial_closes_it_and_what_began_before_says_nothing() {
        let open = opened();
        assert_eq!(answer(&open, NOW), open, "a run that was under way");
        assert_eq!(fault(&open, NOW), open);
        let (trial, now) = on_trial(&open);
        assert_eq!(after(&trial, Said::Answer, ConnectionId::new(), NOW, now), trial);
        assert_eq!(after(&trial, Said::Fault, ConnectionId::new(), NOW, now), trial);
        assert_eq!(answer(&trial, now), Breaker::default());
        // Its first fault opens it again; those of the same trial that follow change nothing.
        let again = fault(&trial, now);
        assert_eq!(fault(&again, now), again);
        assert_eq!(again.until, Some(now.plus(MINUTE)));
    }

    #[test]
    fn one_connection_that_fails_for_ever_is_no_fault_of_the_bank() {
        let one = ConnectionId::new();
        let alone = (0..100).fold(Breaker::default(), |known, _| after(&known, Said::Fault, one, NOW, NOW));
        assert_eq!((alone.state, alone.faults), (BreakerState::Closed, 1));
        let among_others = (0..100)
            .fold(Breaker::default(), |known, _| answer(&after(&known, Said::Fault, one, NOW, NOW), NOW));
        assert_eq!((among_others.state, among_others.faults), (BreakerState::Closed, 0));
    }

    #[test]
    fn what_the_bank_answers_is_no_fault_whatever_it_is() {
        for failure in [
            Failure::CredentialsRejected,
            Failure::ConsentExpired,
            Failure::SessionExpired,
            Failure::CustomerNeeded,
            Failure::RateLimited { retry_after_s: None, scope: crate::model::LimitScope::Institution },
        ] {
            assert_eq!(said(&failure, true), Some(Said::Answer), "{failure}");
        }
        for failure in [
            Failure::CredentialsWithheld,
            Failure::NotConfigured("no connector".to_owned()),
            Failure::ConnectorFault("loops".to_owned()),
        ] {
            assert_eq!(said(&failure, true), None, "{failure}");
        }
        assert_eq!(said(&Failure::ConsentExpired, false), None, "the bank was not asked");
        for failure in [
            Failure::BankUnavailable { retry_after_s: None },
            Failure::Unreachable("timeout".to_owned()),
            Failure::Unreadable { row: None, field: "reply".to_owned() },
        ] {
            assert_eq!(said(&failure, true), Some(Said::Fault), "{failure}");
        }
    }
}
