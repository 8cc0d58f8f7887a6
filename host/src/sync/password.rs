//! No third wrong password: what may leave that the bank could refuse and count, and what came of it.
//!
//! A login is counted as refused before its password leaves, in the one row that the customer's connections share. So
//! two connections of a customer that send at the same moment see each other, and a process that dies, or an answer
//! that is lost or unreadable, leaves the count standing. It goes back to nothing when the bank lets the customer in, and by one when
//! nothing left, or the bank said something else. Must not know: SQL, which operation asks for the password.

use super::{Halt, Run};
use crate::egress::EgressError;
use crate::model::*;
use crate::store::StoreError;

/// The customer's password in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Password {
    /// Nothing has been asked with it.
    Unused,
    /// Counted; `left`: it may have reached the bank.
    Counted { series: LoginSeries, left: bool },
    /// The bank took it a moment ago.
    Accepted,
}

impl Run<'_> {
    /// After two refusals nothing leaves that the bank could refuse and count. That is a request that names a password,
    /// so that a renewal by a refresh token goes on, and one that is a login in disguise does not; and whatever follows
    /// from a form that the customer filled in, since codes are counted, too. The answer of an authorisation is marked
    /// with the count: whoever finds the mark does not send it again. True if this request is such a one, and the bank has
    /// not let the customer in yet.
    pub(super) async fn guard_password(&mut self, request: &Request) -> Result<bool, Halt> {
        let manifest = self.connector.manifest();
        let is_password = |name: &str| manifest.value(name).is_some_and(ValueDeclaration::is_password);
        let counts = self.answers || request.names(is_password);
        if counts && self.password == Password::Unused {
            let answers = self.own.as_ref().map(|(id, _)| *id);
            let counted = self.app.store.count_login(self.lease, answers, self.app.clock.now()).await?;
            let series = counted.ok_or(Failure::CredentialsWithheld)?;
            self.password = Password::Counted { series, left: false };
        }
        Ok(counts && self.password != Password::Accepted)
    }

    /// A request that `guard_password` let pass was sent, or not.
    pub(super) fn password_sent<T>(&mut self, sent: &Result<T, EgressError>) {
        if let Password::Counted { left, .. } = &mut self.password {
            *left |= sent.as_ref().err().is_none_or(EgressError::may_have_left);
        }
    }

    /// The count in which the password of this run stands, if it does.
    pub(super) fn counted(&self) -> Option<LoginSeries> {
        match self.password {
            Password::Counted { series, .. } => Some(series),
            _ => None,
        }
    }

    /// It left, and nobody knows what the bank made of it: no answer came, or none that could be read.
    pub(super) fn password_is_lost(&self, failure: &Failure) -> bool {
        matches!(self.password, Password::Counted { left: true, .. })
            && (matches!(failure, Failure::Unreachable(_)) || is_unread(failure))
    }

    /// The bank let the customer in, as the caller has stored, or stores with the next word.
    pub(super) fn password_was_accepted(&mut self) {
        if self.password != Password::Unused {
            self.password = Password::Accepted;
        }
    }

    /// A reading came to an end: if it named the password, the bank took it.
    pub(super) async fn read_with_password(&mut self) -> Result<(), StoreError> {
        if self.counted().is_some() {
            self.app.store.clear_logins(self.lease).await?;
            self.password_was_accepted();
        }
        Ok(())
    }

    /// A reading failed. Where rows could not be read, the bank has taken the password that asked for them.
    pub(super) async fn reading_failed(&mut self, failure: &Failure) -> Result<(), StoreError> {
        if is_unread(failure) { self.uncount().await } else { Ok(()) }
    }

    /// It came to something else than being let in: what was refused, or lost, stays counted.
    pub(super) async fn password_came_to(&mut self, failure: &Failure) -> Result<(), StoreError> {
        if *failure != Failure::CredentialsRejected && !self.password_is_lost(failure) {
            return self.uncount().await;
        }
        if self.counted().is_some() {
            self.password = Password::Unused;
        }
        Ok(())
    }

    async fn uncount(&mut self) -> Result<(), StoreError> {
        if let Some(series) = self.counted() {
            self.app.store.uncount_login(self.lease, series).await?;
            self.password = Password::Unused;
        }
        Ok(())
    }
}

/// An answer came, and nobody could read it.
fn is_unread(failure: &Failure) -> bool {
    matches!(failure, Failure::Unreadable { .. } | Failure::ConnectorFault(_) | Failure::SecretEchoed)
}
