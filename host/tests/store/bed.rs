//! What a case starts from, and short ways to say what happens in it.

use host::model::*;
use host::store::{NewConnection, Opened, Store, StoreError};
use host::vault::Vault;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tempfile::TempDir;
use tests::postgres::Postgres;

/// When every case begins.
pub const START: Timestamp = Timestamp(1_800_000_000_000_000);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const INSTITUTION: &str = "demo";

/// A migrated database with one business.
pub struct Bed {
    pub store: Store,
    pub url: String,
    pub business: BusinessId,
    pub folder: Option<TempDir>,
}

pub fn vault() -> Arc<Vault> {
    Arc::new(Vault::from_text("k1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap())
}

/// The same master key, and a newer one that wraps.
pub fn rotated_vault() -> Arc<Vault> {
    let text =
        "k2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\nk1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    Arc::new(Vault::from_text(text).unwrap())
}

/// Only the newer one.
pub fn new_vault() -> Arc<Vault> {
    Arc::new(Vault::from_text("k2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=").unwrap())
}

/// The URL of a fresh database; none, said loudly, if the machine has no PostgreSQL.
pub async fn postgres_database() -> Option<String> {
    let postgres = Postgres::shared().unwrap()?;
    Some(postgres.database().await.unwrap())
}

impl Bed {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("tidegate.db").display());
        Self::make(url, Some(folder)).await
    }

    pub async fn postgres() -> Option<Self> {
        Some(Self::make(postgres_database().await?, None).await)
    }

    async fn make(url: String, folder: Option<TempDir>) -> Self {
        let store = Store::open(&url, vault()).await.unwrap();
        store.migrate().await.unwrap();
        let business = store.create_business("Books & Co", START).await.unwrap().id;
        Self { store, url, business, folder }
    }

    /// A connection with a token, a consent and a customer's name, due at the start.
    pub async fn connection(&self) -> Connection {
        self.connection_at(INSTITUTION, START).await
    }

    pub async fn connection_at(&self, institution: &str, due_at: Timestamp) -> Connection {
        self.connection_for(self.business, institution, due_at).await
    }

    pub async fn connection_for(
        &self,
        business: BusinessId,
        institution: &str,
        due_at: Timestamp,
    ) -> Connection {
        let new = NewConnection {
            id: ConnectionId::new(),
            business,
            institution: institution.to_owned(),
            customer_ref: Some("customer Rosalind".to_owned()),
            credentials: vec![credential("refresh_token", "rt-1-secret-of-rosalind")],
            consent: Some(consent()),
            phase: 77,
            slot_at: START,
            due_at,
            linking: false,
        };
        self.store.create_connection(&new, START).await.unwrap()
    }

    /// Claims the one connection that is due.
    pub async fn claim(&self, now: Timestamp) -> Lease {
        let mut leases = self.claim_all(now).await;
        assert_eq!(leases.len(), 1);
        leases.remove(0)
    }

    pub async fn claim_all(&self, now: Timestamp) -> Vec<Lease> {
        let permits = Permits::of_any([(INSTITUTION.to_owned(), 100)]);
        self.store.claim_due(now, now.plus(MINUTE), &permits).await.unwrap()
    }

    /// A connection that is claimed, with one account.
    pub async fn running(&self) -> (Lease, Account) {
        self.running_at(START).await
    }

    /// The same, at another moment.
    pub async fn running_at(&self, now: Timestamp) -> (Lease, Account) {
        let connection = self.connection().await.id;
        let mut claimed = self.claim_all(now).await;
        claimed.retain(|lease| lease.connection == connection);
        let lease = claimed.remove(0);
        let account = self.list(&lease, &[bank_account("a1", Some("GB29"))], now).await.unwrap().remove(0);
        (lease, account)
    }

    /// The bank lists these accounts.
    pub async fn list(
        &self,
        lease: &Lease,
        listed: &[BankAccount],
        now: Timestamp,
    ) -> Result<Vec<Account>, StoreError> {
        let event =
            |kind, account, _| NewEvent { account: Some(account), ..self.event(lease.connection, kind) };
        self.store.record_accounts(lease, listed, None, &event, now).await
    }

    /// Hands in fresh credentials.
    pub async fn reauthorise(
        &self,
        connection: ConnectionId,
        credentials: &[NewCredential],
        consent: Option<&NewConsent>,
        now: Timestamp,
    ) -> Option<Connection> {
        let resumed = self.event(connection, EventType::ConnectionResumed);
        let business = self.business;
        self.store.reauthorise(business, connection, credentials, consent, &resumed, now).await.unwrap()
    }

    /// Asks and commits these changes.
    pub async fn commit(&self, lease: &Lease, account: &Account, changes: Vec<NewChange>) -> Sync {
        let (id, trigger, _) = self.store.begin_asking(lease, account.id).await.unwrap();
        let commit = commit(self.after(sync(lease, account, id, trigger)).await, changes);
        self.store.commit_sync(lease, &commit, |_| None).await.unwrap()
    }

    /// A sync that continues the history as it stands.
    pub async fn after(&self, sync: Sync) -> Sync {
        let seq = self.store.head(sync.account).await.unwrap().unwrap().seq;
        Sync { seq, ..sync }
    }

    /// What the endpoint was told, in order.
    pub async fn told(&self, endpoint: &Endpoint) -> Vec<EventType> {
        let told = self.store.deliveries(endpoint.id, None, 99).await.unwrap().items;
        told.into_iter().rev().map(|one| one.kind).collect()
    }

    pub async fn endpoint(&self, event_types: &[EventType]) -> Endpoint {
        let endpoint = Endpoint {
            id: EndpointId::new(),
            business: self.business,
            url: "https://books.example/hook".to_owned(),
            event_types: event_types.to_vec(),
            state: EndpointState::Active,
            disabled_reason: None,
            failing_since: None,
            secrets: vec![EndpointSecret {
                secret: Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
                expires_at: None,
            }],
            created_at: START,
        };
        self.store.create_endpoint(&endpoint).await.unwrap();
        endpoint
    }

    pub fn event(&self, connection: ConnectionId, kind: EventType) -> NewEvent {
        NewEvent {
            id: EventId::new(),
            business: self.business,
            kind,
            connection,
            account: None,
            payload: format!("{{\"type\":\"{}\"}}", kind.name()),
            created_at: START,
        }
    }
}

/// What a run of this lease begins with.
pub async fn opened(store: &Store, lease: &Lease) -> Result<Opened, StoreError> {
    store.opened(std::slice::from_ref(lease)).await?.remove(0)
}

pub fn registration(business: Option<BusinessId>, secret: &str) -> Registration {
    Registration {
        id: RegistrationId::new(),
        business,
        institution: INSTITUTION.to_owned(),
        values: BTreeMap::from([("client_secret".to_owned(), Secret::new(secret))]),
        client_identity: Some(Secret::new("-----BEGIN CERTIFICATE-----")),
        roots: None,
        version: 1,
        created_at: START,
    }
}

pub fn credential(name: &str, value: &str) -> NewCredential {
    NewCredential { name: name.to_owned(), value: Secret::new(value), expires_at: Some(START.plus(HOUR)) }
}

pub fn consent() -> NewConsent {
    NewConsent {
        granted_at: START,
        expires_at: Some(START.plus(90 * 24 * HOUR)),
        scopes: vec!["ReadBalances".to_owned()],
        how: "redirect".to_owned(),
        reference: Some("reference of Rosalind".to_owned()),
    }
}

pub fn bank_account(id: &str, number: Option<&str>) -> BankAccount {
    BankAccount {
        bank_id: format!("bank-id-{id}"),
        name: format!("Rosalind's account {id}"),
        currency: Currency::from_code("GBP").unwrap(),
        number: number.map(str::to_owned),
    }
}

pub fn money(minor: i64) -> Money {
    Money { minor, currency: Currency::from_code("GBP").unwrap() }
}

/// A booked row of a day in January 2027, with something in every field.
pub fn booked(day: u32, minor: i64, text: &str) -> Transaction {
    Transaction {
        bank_id: Some(format!("row of {text}")),
        stability: IdStability::Immutable,
        supersedes: Some("an older id".to_owned()),
        status: TransactionStatus::Booked,
        booked_on: chrono::NaiveDate::from_ymd_opt(2027, 1, day),
        valued_on: chrono::NaiveDate::from_ymd_opt(2027, 1, day + 1),
        money: money(minor),
        text: text.to_owned(),
        counterparty: Some("Café Größe".to_owned()),
        balance_after: Some(-minor),
        details: "{\"city\":\"Zürich\"}".to_owned(),
    }
}

pub fn pending(minor: i64, text: &str) -> Transaction {
    Transaction {
        bank_id: None,
        stability: IdStability::None,
        supersedes: None,
        status: TransactionStatus::Pending,
        booked_on: None,
        valued_on: None,
        counterparty: None,
        balance_after: None,
        ..booked(1, minor, text)
    }
}

pub fn balance(minor: i64) -> Balance {
    let (kind, money) = (BalanceKind::Booked, money(minor));
    Balance { kind, money, as_of: Some(START), includes_pending: false, credit_included: Credit::None }
}

pub fn sync(lease: &Lease, account: &Account, id: SyncId, trigger: Trigger) -> Sync {
    Sync {
        id,
        connection: lease.connection,
        account: account.id,
        trigger,
        customer_present: false,
        started_at: lease.claimed_at,
        finished_at: lease.claimed_at.plus(Duration::from_secs(2)),
        bank_asked_at: Some(lease.claimed_at),
        bank_answered_at: Some(lease.claimed_at.plus(Duration::from_secs(1))),
        code: SyncCode::SyncSuccessful,
        reason: None,
        message: None,
        has_new_data: false,
        added: 0,
        modified: 0,
        removed: 0,
        proof: Proof::Proved,
        seq: 0,
        epoch: 0,
        next_allowed_at: None,
        next_at: Some(lease.claimed_at.plus(HOUR)),
        connector: "open-banking-uk 0.1.0".to_owned(),
        runs: 1,
    }
}

pub fn commit(sync: Sync, changes: Vec<NewChange>) -> SyncCommit {
    let due_at = sync.started_at.plus(HOUR);
    SyncCommit {
        sync,
        changes,
        missed: vec![],
        balances: vec![balance(100)],
        state: Some("cursor 1".to_owned()),
        history_from: None,
        history_due_at: None,
        rekeyed: vec![],
        standing: Default::default(),
        index: None,
        due_at,
        stale_at: due_at.plus(HOUR),
    }
}

pub fn failure(mut sync: Sync) -> SyncFailure {
    sync.code = SyncCode::SyncError;
    sync.reason = Some("bank-unavailable".to_owned());
    SyncFailure { due_at: sync.started_at.plus(5 * MINUTE), sync }
}

/// Polls the future so often, then drops it: a process that ends between two steps.
pub async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}
