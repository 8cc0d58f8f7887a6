//! What a run finds when it begins: its connection, and all that belongs to it.
//!
//! A claim gives many leases at once, and what they need is read at once: a handful of statements side by side,
//! whatever the number of runs. Must not know: what a run does with it.

use super::account::{self, AccountRow, HeadRow};
use super::arg::args;
use super::codec::json;
use super::connection::{self, ConnectionRow};
use super::consent::{self, ConsentRow, in_force};
use super::credential::{self, CredentialRow};
use super::dialect::Kind;
use super::institution::{self, RegistrationRow};
use super::schedule::{PLACE, place};
use super::{Result, Store, StoreError};
use crate::model::*;
use serde_json::json as value;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// What a run begins with, as of one moment after its lease was taken.
#[derive(Debug)]
pub struct Opened {
    /// Its connection.
    pub connection: Connection,
    /// The business's registration at the institution, else the operator's.
    pub registration: Option<Registration>,
    /// The consent in force, or the last one.
    pub consent: Option<Consent>,
    /// The connection's credentials, by name.
    pub credentials: Vec<Credential>,
    /// Its accounts, and where each stands.
    pub accounts: Vec<(Account, AccountHead)>,
}

impl Store {
    /// What these runs begin with, in their order; [`StoreError::LeaseLost`] for each whose lease is held no more.
    pub async fn opened(&self, leases: &[Lease]) -> Result<Vec<Result<Opened>>> {
        let places = json(&leases.iter().map(place).collect::<Vec<_>>(), "leases")?;
        let ids = leases.iter().map(|lease| value!({ "of_connection": hex(lease.connection.as_bytes()) }));
        let ids = json(&ids.collect::<Vec<_>>(), "leases")?;
        let bulk = |rest| self.db.dialect().bulk(&[("of_connection", Kind::Bytes)], rest);
        let (places, ids) = (args![&places], args![&ids]);
        let owners = leases.iter().map(|lease| lease.connection.as_bytes());
        let (connections, registrations, consents, credentials, accounts, heads, keys) = tokio::try_join!(
            self.db.all::<ConnectionRow>(self.db.dialect().bulk(&PLACE, connection::LEASED), places),
            self.db.all::<RegistrationRow>(self.db.dialect().bulk(&PLACE, institution::OF_PLACES), places),
            self.db.all::<ConsentRow>(bulk(consent::OF_CONNECTIONS), ids),
            self.db.all::<CredentialRow>(bulk(credential::OF_CONNECTIONS), ids),
            self.db.all::<AccountRow>(bulk(account::OF_CONNECTIONS), ids),
            self.db.all::<HeadRow>(bulk(account::HEADS_OF_CONNECTIONS), ids),
            self.keys.of_all(&self.db, owners),
        )?;
        let mut known = BTreeMap::new();
        for row in registrations {
            let registration = self.open_registration(row).await?;
            known.insert((registration.institution.clone(), registration.business), registration);
        }
        let mut connections: HashMap<_, _> = connections.into_iter().map(|row| (row.id(), row)).collect();
        let mut consents = by(consents, ConsentRow::connection);
        let mut credentials = by(credentials, CredentialRow::connection);
        let mut accounts = by(accounts, |row| row.ids().1);
        let mut heads: HashMap<_, _> = heads.into_iter().map(|row| (row.account(), row)).collect();
        let opened = leases.iter().map(|lease| {
            let id = lease.connection;
            let row = connections.remove(&id).ok_or(StoreError::LeaseLost)?;
            // A connection without a key was deleted meanwhile.
            let key = keys.get(id.as_bytes()).ok_or(StoreError::LeaseLost)?;
            let of = |business| known.get(&(lease.institution.clone(), business)).cloned();
            let registration = of(Some(row.business())).or_else(|| of(None));
            let accounts = accounts.remove(&id).unwrap_or_default();
            let kept = accounts.iter().filter(|row| !row.is_excluded()).map(|row| row.ids().0);
            let consents = consents.remove(&id).unwrap_or_default().into_iter();
            let credentials = credentials.remove(&id).unwrap_or_default().into_iter();
            Ok(Opened {
                connection: row.open(Some(key), kept)?,
                registration,
                consent: in_force(consents.map(|row| row.open(Some(key))).collect::<Result<_>>()?),
                credentials: credentials.map(|row| row.open(key)).collect::<Result<_>>()?,
                accounts: accounts
                    .into_iter()
                    // One that was listed between the two statements has no head yet here, or the other way round.
                    .filter_map(|row| heads.remove(&row.ids().0).map(|head| (row, head)))
                    .map(|(row, head)| Ok((account::open(key, row)?, account::open_head(key, head)?)))
                    .collect::<Result<_>>()?,
            })
        });
        Ok(opened.collect())
    }
}

/// Rows by what they belong to, each group in their order.
fn by<T, K: Eq + Hash>(rows: Vec<T>, of: impl Fn(&T) -> K) -> HashMap<K, Vec<T>> {
    let mut groups: HashMap<K, Vec<T>> = HashMap::new();
    for row in rows {
        groups.entry(of(&row)).or_default().push(row);
    }
    groups
}
