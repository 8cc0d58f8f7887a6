//! HTTP clients: one per bank, registration and its version, way, scheme and port. Connections made
//! with one business's certificate are never used for another's requests.

use super::address::Guard;
use super::limits::CONNECT_TIMEOUT;
use crate::model::{EgressProfile, Registration, RegistrationId};
use reqwest::{Certificate, Client, Identity, Proxy};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Clients kept: each holds its idle connections and TLS roots.
const CLIENTS_MAX: usize = 256;
/// Idle connections are closed after this; banks close theirs after a minute or so.
const IDLE_MAX: Duration = Duration::from_secs(50);
/// Idle connections kept per host: enough for the next round of a busy bank.
const IDLE_PER_HOST_MAX: usize = 128;

/// What no two requests share a connection without.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// None for webhooks.
    institution: Option<String>,
    registration: Option<(RegistrationId, i64)>,
    way: EgressProfile,
    plain: bool,
    port: u16,
}

/// The clients built so far.
pub(super) struct Clients {
    allow: Arc<[SocketAddr]>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    /// With the turn of the last use.
    clients: HashMap<Key, (Client, u64)>,
    turn: u64,
}

/// Why a client cannot be built: a code, as in `EgressError::Unreachable`.
pub(super) type Code = &'static str;

impl Clients {
    pub fn new(allow: &[SocketAddr]) -> Self {
        Self { allow: allow.into(), cache: Mutex::default() }
    }

    /// What clients for this scheme and port may connect to.
    pub fn guard(&self, plain: bool, port: u16) -> Guard {
        Guard { allow: self.allow.clone(), plain, port }
    }

    /// What clients that go through this proxy may connect to, which is the proxy alone.
    pub fn proxy_guard(&self, proxy: &url::Url) -> Guard {
        self.guard(proxy.scheme() == "http", proxy.port_or_known_default().unwrap_or(0))
    }

    /// The addresses the operator allows.
    pub fn allow(&self) -> &[SocketAddr] {
        &self.allow
    }

    /// The client for a bank.
    pub fn bank(
        &self,
        institution: &str,
        registration: Option<&Registration>,
        way: &EgressProfile,
        plain: bool,
        port: u16,
    ) -> Result<Client, Code> {
        let key = Key {
            institution: Some(institution.to_owned()),
            registration: registration.map(|registration| (registration.id, registration.version)),
            way: way.clone(),
            plain,
            port,
        };
        self.get(key, registration)
    }

    /// The client for webhook receivers.
    pub fn webhook(&self, plain: bool, port: u16) -> Result<Client, Code> {
        let way = EgressProfile::default();
        self.get(Key { institution: None, registration: None, way, plain, port }, None)
    }

    fn get(&self, key: Key, registration: Option<&Registration>) -> Result<Client, Code> {
        if let Some(client) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).find(&key) {
            return Ok(client);
        }
        let client = self.build(&key, registration)?;
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).keep(key, client.clone());
        Ok(client)
    }

    fn build(&self, key: &Key, registration: Option<&Registration>) -> Result<Client, Code> {
        let proxy = key.way.proxy.as_deref().map(url::Url::parse).transpose().map_err(|_| "proxy")?;
        // Of a name that is asked of a proxy, only the proxy's own is looked up by the client.
        let guard = match &proxy {
            Some(proxy) => self.proxy_guard(proxy),
            None => self.guard(key.plain, key.port),
        };
        let mut builder = Client::builder()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(guard))
            .local_address(key.way.local_address)
            .no_proxy() // a proxy from the environment would connect past the guard
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .gzip(key.institution.is_some())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_PER_HOST_MAX);
        if let Some(proxy) = proxy {
            builder = builder.proxy(Proxy::all(proxy).map_err(|_| "proxy")?);
        }
        if key.plain {
            return builder.tls_certs_only([]).build().map_err(|_| "client");
        }
        if let Some(roots) = registration.and_then(|registration| registration.roots.as_deref()) {
            let roots = Certificate::from_pem_bundle(roots.as_bytes()).map_err(|_| "roots")?;
            builder = builder.tls_certs_merge(roots);
        }
        if let Some(identity) = registration.and_then(|registration| registration.client_identity.as_ref()) {
            let identity =
                Identity::from_pem(identity.reveal().as_bytes()).map_err(|_| "client-certificate")?;
            builder = builder.identity(identity);
        }
        builder.https_only(true).build().map_err(|_| "client-certificate")
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clients.len()
    }
}

impl Cache {
    fn find(&mut self, key: &Key) -> Option<Client> {
        self.turn += 1;
        let (client, used) = self.clients.get_mut(key)?;
        *used = self.turn;
        Some(client.clone())
    }

    /// Keeps a client; drops older versions of the same registration, and at the limit the one
    /// that was not used for the longest time.
    fn keep(&mut self, key: Key, client: Client) {
        if let Some((id, version)) = key.registration {
            self.clients.retain(|other, _| {
                other.registration.is_none_or(|(other, old)| other != id || old >= version)
            });
        }
        if self.clients.len() >= CLIENTS_MAX {
            let oldest = self.clients.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                self.clients.remove(&oldest);
            }
        }
        self.clients.insert(key, (client, self.turn));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::model::Timestamp;

    fn registration(version: i64) -> Registration {
        Registration {
            id: RegistrationId::from_bytes(&[7; 16]).unwrap(),
            business: None,
            institution: "bank".to_owned(),
            values: Default::default(),
            client_identity: None,
            roots: None,
            version,
            created_at: Timestamp(0),
        }
    }

    #[test]
    fn the_number_of_clients_is_bounded() {
        let clients = Clients::new(&[]);
        for port in 1..=(CLIENTS_MAX as u16 + 20) {
            clients.bank("bank", None, &EgressProfile::default(), true, port).unwrap();
        }
        assert_eq!(clients.len(), CLIENTS_MAX);
    }

    #[test]
    fn a_new_version_of_a_registration_replaces_the_client_of_the_old_one() {
        let (clients, direct) = (Clients::new(&[]), EgressProfile::default());
        for version in [1, 1, 2] {
            clients.bank("bank", Some(&registration(version)), &direct, true, 443).unwrap();
        }
        clients.bank("bank", None, &direct, true, 443).unwrap();
        assert_eq!(clients.len(), 2);
    }

    #[test]
    fn a_bad_certificate_is_named_as_such() {
        let (clients, direct) = (Clients::new(&[]), EgressProfile::default());
        let mut bad = registration(1);
        bad.client_identity = Some(crate::model::Secret::new("not PEM"));
        assert_eq!(clients.bank("bank", Some(&bad), &direct, false, 443).err(), Some("client-certificate"));
        bad.client_identity = None;
        bad.roots = Some("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----".to_owned());
        assert_eq!(clients.bank("bank", Some(&bad), &direct, false, 443).err(), Some("roots"));
    }
}
