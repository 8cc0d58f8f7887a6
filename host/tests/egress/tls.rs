//! TLS with a client certificate: a business's standing at a bank.

use crate::bank::*;
use host::clock::Clock;
use host::egress::{EgressError, Limits};
use host::model::{Registration, RegistrationId, Secret, Timestamp};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs::default_provider};

const AUTHORITY: &str = include_str!("authority.pem");

/// A bank that talks only to clients with a certificate of the test authority.
pub async fn bank() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(include_bytes!("bank.pem")).unwrap()],
            PrivateKeyDer::from_pem_slice(include_bytes!("bank.key")).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, log) = (acceptor.clone(), log.clone());
            tokio::spawn(async move {
                if let Ok(socket) = acceptor.accept(socket).await {
                    serve(socket, Arc::new(|_: usize, _: &str| ok("", "hello")), log).await;
                }
            });
        }
    });
    (address, seen)
}

pub fn registration(identity: bool, roots: bool) -> Registration {
    Registration {
        id: RegistrationId::new(),
        business: None,
        institution: "bank".to_owned(),
        values: Default::default(),
        client_identity: identity.then(|| Secret::new(include_str!("client.pem"))),
        roots: roots.then(|| AUTHORITY.to_owned()),
        version: 1,
        created_at: Timestamp(0),
    }
}

#[tokio::test]
async fn a_bank_sees_the_registrations_certificate_and_is_known_by_its_roots() {
    let (address, seen) = bank().await;
    let origin = format!("https://localhost:{}", address.port());
    let mut world = World::with(&origin, &[address], Limits::default(), Clock::system());
    let get = world.get();

    world.registration = Some(registration(true, true));
    assert_eq!(world.send(&get).await.unwrap().reply.body, b"hello");

    // Another registration never travels on that connection, nor does none.
    world.registration = Some(registration(false, true));
    let error = world.send(&get).await.unwrap_err();
    assert!(matches!(error, EgressError::Unreachable { .. }), "{error:?}");
    world.registration = Some(registration(true, false));
    let error = world.send(&get).await.unwrap_err();
    assert!(matches!(error, EgressError::Unreachable { code: "tls", .. }), "{error:?}");
    world.registration = None;
    assert!(world.send(&get).await.is_err());
    assert_eq!(seen.lock().unwrap().len(), 1);
}
