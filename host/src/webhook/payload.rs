//! What the events say, exactly as it is signed and sent: `{"type", "timestamp", "data"}`.
//!
//! Ids, numbers and codes only, never a customer's text: a webhook is a hint, the cursor is the truth.
//! Every payload has well under a kilobyte (Standard Webhooks asks for less than 20 kB). Pure: time
//! comes as an argument.

use crate::model::{
    AccountId, AccountState, AuthorisationId, BusinessId, ConnectionId, DueConsent, EventId, EventType,
    NewEvent, StaleAccount, Sync, Timestamp,
};
use serde_json::{Value, json};

/// An account's transactions or balances changed. `sync` is the finished run, as stored.
pub fn account_updated(business: BusinessId, sync: &Sync, balances_changed: bool) -> NewEvent {
    let data = json!({
        "account_id": sync.account,
        "connection_id": sync.connection,
        "sync_id": sync.id,
        "to_seq": sync.seq,
        "added": sync.added,
        "modified": sync.modified,
        "removed": sync.removed,
        "balances_changed": balances_changed,
        "proof": sync.proof,
    });
    event(business, EventType::AccountUpdated, sync.connection, Some(sync.account), &data, sync.finished_at)
}

/// The customer must act before the connection is synced again. `reason` is a code such as `consent-expired`.
pub fn reauthorisation_required(
    business: BusinessId,
    connection: ConnectionId,
    institution: &str,
    reason: &str,
    at: Timestamp,
) -> NewEvent {
    let data = json!({ "connection_id": connection, "institution_id": institution, "reason": reason });
    event(business, EventType::ReauthorisationRequired, connection, None, &data, at)
}

/// The customer let us in: the connection is synced from now on.
pub fn connection_authorised(
    business: BusinessId,
    connection: ConnectionId,
    institution: &str,
    authorisation: AuthorisationId,
    at: Timestamp,
) -> NewEvent {
    let data = json!({
        "connection_id": connection,
        "institution_id": institution,
        "authorisation_id": authorisation,
    });
    event(business, EventType::ConnectionAuthorised, connection, None, &data, at)
}

/// The customer was on the way to letting us in, and it came to nothing. `reason` is a code such as `expired`.
pub fn authorisation_failed(
    business: BusinessId,
    connection: ConnectionId,
    institution: &str,
    authorisation: AuthorisationId,
    reason: &str,
    at: Timestamp,
) -> NewEvent {
    let data = json!({
        "connection_id": connection,
        "institution_id": institution,
        "authorisation_id": authorisation,
        "reason": reason,
    });
    event(business, EventType::AuthorisationFailed, connection, None, &data, at)
}

/// An account was not read for too long after it should have been.
pub fn account_stale(stale: &StaleAccount, at: Timestamp) -> NewEvent {
    let data = json!({
        "account_id": stale.account,
        "connection_id": stale.connection,
        "institution_id": stale.institution,
        "fresh_at": stale.fresh_at,
        "failures": stale.failures,
        "reason": stale.reason,
    });
    event(stale.business, EventType::AccountStale, stale.connection, Some(stale.account), &data, at)
}

/// A consent ends by itself soon. `days_left` names the notice: 14, 7 or 1; `expires_at` is the moment.
pub fn consent_expiring(consent: &DueConsent, days_left: u32, at: Timestamp) -> NewEvent {
    let data = json!({
        "connection_id": consent.connection,
        "consent_id": consent.id,
        "institution_id": consent.institution,
        "expires_at": consent.expires_at,
        "days_left": days_left,
    });
    event(consent.business, EventType::ConsentExpiring, consent.connection, None, &data, at)
}

/// The business stopped the syncs of a connection.
pub fn connection_paused(
    business: BusinessId,
    connection: ConnectionId,
    institution: &str,
    at: Timestamp,
) -> NewEvent {
    let data = json!({ "connection_id": connection, "institution_id": institution });
    event(business, EventType::ConnectionPaused, connection, None, &data, at)
}

/// A paused connection is synced again.
pub fn connection_resumed(
    business: BusinessId,
    connection: ConnectionId,
    institution: &str,
    at: Timestamp,
) -> NewEvent {
    let data = json!({ "connection_id": connection, "institution_id": institution });
    event(business, EventType::ConnectionResumed, connection, None, &data, at)
}

/// An account appeared on the bank's list, or came back to it. It is synced from now on, unless `state` is
/// `excluded`: where only some accounts are kept, it must be switched on first.
pub fn account_added(
    business: BusinessId,
    connection: ConnectionId,
    account: AccountId,
    state: AccountState,
    at: Timestamp,
) -> NewEvent {
    let data = json!({ "account_id": account, "connection_id": connection, "state": state });
    event(business, EventType::AccountAdded, connection, Some(account), &data, at)
}

/// The bank no longer lists the account: it is not synced any more, and its history stays.
pub fn account_closed(
    business: BusinessId,
    connection: ConnectionId,
    account: AccountId,
    at: Timestamp,
) -> NewEvent {
    let data = json!({ "account_id": account, "connection_id": connection });
    event(business, EventType::AccountClosed, connection, Some(account), &data, at)
}

/// The connection ended and its data is erased. `consent_ended_at_bank`: the bank was asked to end the
/// consent, and said that it has; none if there was no consent, since the customer never let us in.
pub fn connection_deleted(
    business: BusinessId,
    connection: ConnectionId,
    institution: &str,
    consent_ended_at_bank: Option<bool>,
    at: Timestamp,
) -> NewEvent {
    let data = json!({
        "connection_id": connection,
        "institution_id": institution,
        "consent_ended_at_bank": consent_ended_at_bank,
    });
    event(business, EventType::ConnectionDeleted, connection, None, &data, at)
}

/// An account's sync began to fail. `sync` is the finished run, as stored.
pub fn sync_failed(business: BusinessId, sync: &Sync) -> NewEvent {
    let data = json!({
        "account_id": sync.account,
        "connection_id": sync.connection,
        "sync_id": sync.id,
        "code": sync.code,
        "reason": sync.reason,
        "next_at": sync.next_at,
    });
    event(business, EventType::SyncFailed, sync.connection, Some(sync.account), &data, sync.finished_at)
}

fn event(
    business: BusinessId,
    kind: EventType,
    connection: ConnectionId,
    account: Option<AccountId>,
    data: &Value,
    at: Timestamp,
) -> NewEvent {
    NewEvent {
        id: EventId::new(),
        business,
        kind,
        connection,
        account,
        payload: json!({ "type": kind.name(), "timestamp": at, "data": data }).to_string(),
        created_at: at,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::model::{ConsentId, Proof, SyncCode, SyncId, Trigger};

    /// What Standard Webhooks asks for, in bytes.
    const PAYLOAD_BYTES_MAX: usize = 20_000;

    fn sync() -> Sync {
        Sync {
            id: SyncId::new(),
            connection: ConnectionId::new(),
            account: AccountId::new(),
            trigger: Trigger::Schedule,
            customer_present: false,
            started_at: Timestamp(1),
            finished_at: Timestamp(1_700_000_000_000_000),
            bank_asked_at: None,
            bank_answered_at: None,
            code: SyncCode::SyncError,
            reason: Some("rate-limited".into()),
            message: Some("SECRET TEXT".into()),
            has_new_data: true,
            added: 3,
            modified: 2,
            removed: 1,
            proof: Proof::Proved,
            seq: 17,
            epoch: 0,
            next_allowed_at: None,
            next_at: Some(Timestamp(1_700_000_060_000_000)),
            connector: "SECRET TEXT".into(),
            runs: 1,
        }
    }

    fn check(event: &NewEvent, kind: EventType) -> Value {
        let payload: Value = serde_json::from_str(&event.payload).unwrap();
        assert_eq!(event.kind, kind);
        assert_eq!(payload["type"], kind.name());
        assert_eq!(payload["timestamp"], "2023-11-14T22:13:20.000000Z");
        assert_eq!(payload.as_object().unwrap().len(), 3);
        assert!(event.payload.len() < PAYLOAD_BYTES_MAX && !event.payload.contains("SECRET"));
        payload["data"].clone()
    }

    #[test]
    fn each_event_says_ids_counts_and_codes_and_no_text() {
        let (business, sync) = (BusinessId::new(), sync());
        let at = sync.finished_at;
        let data = check(&account_updated(business, &sync, true), EventType::AccountUpdated);
        assert_eq!(data["to_seq"], 17);
        assert_eq!(
            (data["added"].as_i64(), data["modified"].as_i64(), data["removed"].as_i64()),
            (Some(3), Some(2), Some(1))
        );
        assert_eq!(data["account_id"], sync.account.to_string());
        assert_eq!((&data["proof"], &data["balances_changed"]), (&json!("proved"), &json!(true)));

        let data = check(&sync_failed(business, &sync), EventType::SyncFailed);
        assert_eq!((&data["code"], &data["reason"]), (&json!("SYNC_ERROR"), &json!("rate-limited")));
        assert_eq!(data["next_at"], "2023-11-14T22:14:20.000000Z");

        let event = reauthorisation_required(business, sync.connection, "demo-bank", "consent-expired", at);
        let data = check(&event, EventType::ReauthorisationRequired);
        assert_eq!(
            (&data["institution_id"], &data["reason"]),
            (&json!("demo-bank"), &json!("consent-expired"))
        );
        assert_eq!(event.account, None);

        let data = check(
            &connection_deleted(business, sync.connection, "demo-bank", Some(true), at),
            EventType::ConnectionDeleted,
        );
        assert_eq!(data["connection_id"], sync.connection.to_string());
        assert_eq!(data["consent_ended_at_bank"], true);
        let event = connection_deleted(business, sync.connection, "demo-bank", None, at);
        assert_eq!(
            check(&event, EventType::ConnectionDeleted).get("consent_ended_at_bank"),
            Some(&Value::Null)
        );

        let (paused, resumed) = (connection_paused, connection_resumed);
        for (event, kind) in [
            (paused(business, sync.connection, "demo-bank", at), EventType::ConnectionPaused),
            (resumed(business, sync.connection, "demo-bank", at), EventType::ConnectionResumed),
        ] {
            assert_eq!(event.account, None);
            let data = check(&event, kind);
            assert_eq!(data["connection_id"], sync.connection.to_string());
            assert_eq!(data["institution_id"], "demo-bank");
        }

        let stale = StaleAccount {
            account: sync.account,
            connection: sync.connection,
            business,
            institution: "demo-bank".into(),
            fresh_at: Some(at),
            stale_at: at,
            failures: 2,
            reason: Some("unreachable".into()),
            polled: true,
        };
        let event = account_stale(&stale, at);
        assert_eq!(event.account, Some(sync.account));
        let data = check(&event, EventType::AccountStale);
        assert_eq!((&data["failures"], &data["reason"]), (&json!(2), &json!("unreachable")));
        assert_eq!(data["fresh_at"], "2023-11-14T22:13:20.000000Z");

        let due = DueConsent {
            id: ConsentId::new(),
            connection: sync.connection,
            business,
            institution: "demo-bank".into(),
            expires_at: Timestamp(1_700_604_800_000_000),
            due_at: at,
        };
        let data = check(&consent_expiring(&due, 7, at), EventType::ConsentExpiring);
        assert_eq!((&data["days_left"], &data["consent_id"]), (&json!(7), &json!(due.id)));
        assert_eq!(data["expires_at"], "2023-11-21T22:13:20.000000Z");
        assert_eq!(data["connection_id"], sync.connection.to_string());

        for (event, kind) in [
            (
                account_added(business, sync.connection, sync.account, AccountState::Excluded, at),
                EventType::AccountAdded,
            ),
            (account_closed(business, sync.connection, sync.account, at), EventType::AccountClosed),
        ] {
            assert_eq!(event.account, Some(sync.account));
            assert_eq!(check(&event, kind)["account_id"], sync.account.to_string());
        }
    }
}
