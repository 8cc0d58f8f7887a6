//! Mutual TLS: the bank's two certificate authorities, and a listener that speaks TLS and demands a
//! certificate from the second.
//!
//! One authority signs the bank's own certificate, for `127.0.0.1` and `localhost`; the other signs
//! those of clients, as the directory of Open Banking does. Both are made at the start and end with
//! the bank, and are good at any time, since TLS goes by the system's clock and not by the bank's.
//! Whose certificate it is that a caller shows is for others to look at: here counts only that the
//! authority signed it.
//!
//! Must not know: tokens, consents, HTTP.

use crate::wire::{Cutter, Door, Line};
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

/// Who connects and then says nothing must not hold a place for ever, in real time.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Connections that are shaken hands with and not yet taken by the server.
const READY_MAX: usize = 256;

/// SHA-256 of a certificate in DER: `x5t#S256` of RFC 8705.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Thumbprint([u8; 32]);

impl Thumbprint {
    pub(super) fn of(der: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// A certificate and its key.
pub(crate) struct Issued {
    /// The certificate and the authority's, PEM.
    pub(crate) chain: String,
    /// PKCS#8, PEM.
    pub(crate) key: String,
    pub(super) thumbprint: Thumbprint,
    der: CertificateDer<'static>,
    key_der: Vec<u8>,
}

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    /// What must be trusted, PEM.
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Ok(Self { issuer: Issuer::new(params, key), der, pem })
    }

    pub(crate) fn issue(
        &self,
        name: &str,
        addresses: &[&str],
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Issued, rcgen::Error> {
        let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
        let mut params = CertificateParams::new(addresses)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            chain: format!("{}{}", certificate.pem(), self.pem),
            key: key.serialize_pem(),
            thumbprint: Thumbprint::of(certificate.der()),
            der: certificate.der().clone(),
            key_der: key.serialize_der(),
        })
    }
}

/// The authorities of a bank.
pub(crate) struct Authorities {
    servers: Authority,
    clients: Authority,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Authorities")
    }
}

impl Authorities {
    pub(crate) fn new() -> Result<Self, rcgen::Error> {
        let [servers, clients] = ["Demo Bank roots", "Demo Bank directory of clients"].map(Authority::new);
        Ok(Self { servers: servers?, clients: clients? })
    }

    /// What a client must trust, PEM.
    pub(crate) fn roots(&self) -> &str {
        &self.servers.pem
    }

    pub(crate) fn issue_client(&self, name: &str) -> Result<Issued, rcgen::Error> {
        self.clients.issue(name, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let mut known = RootCertStore::empty();
        known.add(self.clients.der.clone()).map_err(io::Error::other)?;
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(known), provider.clone());
        let verifier = verifier.build().map_err(io::Error::other)?;
        let own =
            self.servers.issue("Demo Bank", &["127.0.0.1", "localhost"], ExtendedKeyUsagePurpose::ServerAuth);
        let own = own.map_err(io::Error::other)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.key_der));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![own.der, self.servers.der.clone()], key)
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A listener whose connections have shown a client certificate.
#[derive(Debug)]
pub(crate) struct TlsDoor {
    address: SocketAddr,
    ready: mpsc::Receiver<(TlsStream<Line>, SocketAddr)>,
    accepting: tokio::task::AbortHandle,
}

impl Drop for TlsDoor {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl TlsDoor {
    pub(crate) fn new(mut door: Door, authorities: &Authorities) -> io::Result<Self> {
        let (address, acceptor) = (door.address()?, authorities.acceptor()?);
        let (shaken, ready) = mpsc::channel(READY_MAX);
        // Each handshake on its own, so that a slow one keeps nobody waiting.
        let accepting = tokio::spawn(async move {
            loop {
                let (line, from) = door.accept().await;
                let (acceptor, shaken) = (acceptor.clone(), shaken.clone());
                tokio::spawn(async move {
                    // Who fails is turned away by TLS itself, which tells them why.
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(line)).await {
                        let _ = shaken.send((stream, from)).await;
                    }
                });
            }
        });
        Ok(Self { address, ready, accepting: accepting.abort_handle() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Listener for TlsDoor {
    type Io = TlsStream<Line>;
    type Addr = SocketAddr;
    async fn accept(&mut self) -> (TlsStream<Line>, SocketAddr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // Only when the runtime ends.
            None => std::future::pending().await,
        }
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// The other side of a TLS connection.
#[derive(Debug, Clone)]
pub(super) struct Shaken {
    pub(super) cutter: Cutter,
    pub(super) caller: Caller,
}

impl Connected<IncomingStream<'_, TlsDoor>> for Shaken {
    fn connect_info(stream: IncomingStream<'_, TlsDoor>) -> Self {
        let (line, session) = stream.io().get_ref();
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        Self { cutter: line.cutter(), caller: Caller { certificate: shown.map(|one| Thumbprint::of(one)) } }
    }
}

/// Who asks, as far as the connection says it: with a certificate, or over plain HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Caller {
    pub(super) certificate: Option<Thumbprint>,
}
