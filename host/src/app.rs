//! All of it, built and run: configuration in, a running service out.

use crate::clock::Clock;
use crate::config::Config;
use crate::egress::Egress;
use crate::model::{Institution, Manifest, Route};
use crate::nudge::Nudge;
use crate::store::Store;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The built service: what every part shares.
pub struct App {
    /// What the operator said.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// The database.
    pub store: Store,
    /// The way out.
    pub egress: Egress,
    /// Profiles by id.
    pub institutions: BTreeMap<String, Arc<Bank>>,
    /// Wake-ups.
    pub nudge: Nudge,
}

/// An institution, ready to be synced or not.
#[derive(Debug)]
pub struct Bank {
    /// Its profile.
    pub institution: Institution,
    /// Its connector's manifest, if the connector is loaded.
    pub manifest: Option<Manifest>,
    /// The connector's routes at this institution.
    pub routes: Vec<Route>,
    /// What the operator approves.
    pub fingerprint: String,
    /// Why nothing can be asked of it, in a sentence for the operator; none if it can.
    pub unavailable: Option<String>,
}

impl App {
    /// Builds everything; nothing runs yet.
    pub async fn build(_config: Config, _clock: Clock) -> anyhow::Result<Arc<Self>> {
        todo!()
    }

    /// Serves until `shutdown` resolves, then drains.
    pub async fn run(
        self: Arc<Self>,
        _listener: tokio::net::TcpListener,
        _shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        todo!()
    }
}
