//! Every route on one page. The only module that knows axum.
//!
//! A request passes [`layers`] (id, log, time, panics), the [`gate`] (key, rate, scope), where it makes
//! something [`idempotency`], and arrives at a handler; the path of a handler's file is the path of its
//! URL. JSON types stay inside. Must not know: connectors, SQL. Never runs a sync: it asks for one and waits.

pub mod cursor;
mod docs;
mod events;
mod extract;
mod gate;
mod health;
mod idempotency;
pub mod key;
mod layers;
mod link;
mod linking;
mod metrics;
mod ndjson;
mod problem;
mod schema;
mod v1;

pub use metrics::serve_metrics;

use crate::app::App;
use crate::model::Scope;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::serve::ListenerExt;
use problem::{Code, Problem};
use std::net::SocketAddr;
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::{Info, OpenApi, Paths};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use v1::accounts::{changes, sync, transactions};
use v1::connections::{export, pause, settings};
use v1::webhook_endpoints::deliveries;
use v1::{accounts, authorisations, connections, consents, institutions, links, syncs, webhook_endpoints};

/// What handlers share.
#[derive(Clone)]
struct Api {
    app: Arc<App>,
    limiter: Arc<gate::Limiter>,
}

type Routes = OpenApiRouter<Api>;

/// Open to everybody.
fn open() -> Routes {
    new().routes(routes!(health::healthz)).routes(routes!(health::readyz))
}

/// By the scope they need.
fn guarded() -> [(Scope, Routes); 4] {
    let read = new()
        .routes(routes!(institutions::list))
        .routes(routes!(institutions::show))
        .routes(routes!(institutions::health))
        .routes(routes!(connections::list))
        .routes(routes!(connections::show))
        .routes(routes!(export::export))
        .routes(routes!(authorisations::show))
        .routes(routes!(consents::list))
        .routes(routes!(consents::export))
        .routes(routes!(consents::show))
        .routes(routes!(accounts::list))
        .routes(routes!(accounts::show))
        .routes(routes!(accounts::balances))
        .routes(routes!(transactions::list))
        .routes(routes!(transactions::show))
        .routes(routes!(changes::of_transaction))
        .routes(routes!(changes::list))
        .routes(routes!(sync::list))
        .routes(routes!(syncs::show))
        .routes(routes!(webhook_endpoints::list))
        .routes(routes!(webhook_endpoints::show))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::attempts));
    let sync = new().routes(routes!(sync::request));
    let connections = new()
        .routes(routes!(links::create))
        .routes(routes!(connections::create))
        .routes(routes!(connections::go_on))
        .routes(routes!(settings::change, connections::delete))
        .routes(routes!(connections::reauthorise))
        .routes(routes!(pause::pause))
        .routes(routes!(pause::resume));
    let webhooks = new()
        .routes(routes!(webhook_endpoints::create))
        .routes(routes!(webhook_endpoints::change, webhook_endpoints::delete))
        .routes(routes!(webhook_endpoints::rotate_secret))
        .routes(routes!(deliveries::replay));
    [(Scope::Read, read), (Scope::Sync, sync), (Scope::Connections, connections), (Scope::Webhooks, webhooks)]
}

/// The whole API.
pub fn router(app: Arc<App>) -> Router {
    let limiter = Arc::new(gate::Limiter::new(app.config.api_rate_per_s, app.config.api_burst));
    let body_max = app.config.api_body_max;
    let public_url = app.config.public_url.clone();
    let api = Api { app, limiter };
    let mut all = open();
    for (scope, group) in guarded() {
        let group = match scope {
            Scope::Connections | Scope::Webhooks => {
                group.route_layer(from_fn_with_state(api.clone(), idempotency::once))
            }
            Scope::Read | Scope::Sync => group,
        };
        all = all.merge(group.route_layer(from_fn_with_state((api.clone(), scope), gate::gate)));
    }
    let (routes, _) = all.split_for_parts();
    routes
        .merge(link::routes())
        .merge(docs::routes(&schema::whole(document(), &public_url)))
        .fallback(unknown_path)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(api)
        .layer(DefaultBodyLimit::max(body_max))
        .layer(from_fn(layers::limit_time))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn(layers::observe))
}

/// Method and path of every documented route, e.g. `("GET", "/v1/accounts/{account_id}")`.
pub fn routes() -> Vec<(String, String)> {
    let mut routes = Vec::new();
    for (path, item) in document().paths.paths {
        let methods = [
            ("GET", item.get.is_some()),
            ("POST", item.post.is_some()),
            ("PATCH", item.patch.is_some()),
            ("PUT", item.put.is_some()),
            ("DELETE", item.delete.is_some()),
        ];
        let present = methods.into_iter().filter(|(_, present)| *present);
        routes.extend(present.map(|(method, _)| (method.to_owned(), path.clone())));
    }
    routes
}

/// Serves until `shutdown` resolves, then lets requests that have begun finish.
pub async fn serve(
    app: Arc<App>,
    listener: tokio::net::TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    // Answers are small and complete: waiting to fill a packet only delays them.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, service).with_graceful_shutdown(shutdown).await?)
}

/// What the OpenAPI document is made of: see [`schema::whole`].
fn document() -> OpenApi {
    let mut all = open();
    for (scope, mut group) in guarded() {
        schema::guarded(group.get_openapi_mut(), scope);
        all = all.merge(group);
    }
    let mut document = all.into_openapi();
    schema::complete(&mut document);
    document
}

fn new() -> Routes {
    let mut info = Info::new("Tidegate", env!("CARGO_PKG_VERSION"));
    info.description = Some(env!("CARGO_PKG_DESCRIPTION").to_owned());
    OpenApiRouter::with_openapi(OpenApi::new(info, Paths::new()))
}

async fn unknown_path() -> Problem {
    Problem::new(Code::UnknownPath, "/docs lists every address of this API.")
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!("{} does not take {method}; the header Allow says what it takes.", uri.path()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_documented_with_its_own_operation_id_and_v1_needs_a_scope() {
        let document = document();
        let mut ids = BTreeSet::new();
        for (path, item) in &document.paths.paths {
            for operation in [&item.get, &item.post, &item.patch, &item.delete].into_iter().flatten() {
                let id = operation.operation_id.clone().unwrap_or_default();
                assert!(ids.insert(id.clone()), "{id} twice");
                assert!(operation.summary.is_some(), "{path}");
                let scopes = operation.security.iter().flatten().count();
                assert_eq!(scopes == 1, path.starts_with("/v1/"), "{path}");
                assert!(operation.responses.responses.contains_key("default"), "{path}");
            }
        }
        assert_eq!(ids.len(), routes().len());
        assert!(routes().contains(&("POST".to_owned(), "/v1/accounts/{account_id}/sync".to_owned())));
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        let document = schema::whole(document(), "https://tidegate.example");
        let text = document.to_string();
        let known = &document["components"]["schemas"];
        let wanted: BTreeSet<&str> =
            text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(wanted.len() > 10, "{wanted:?}");
        for name in wanted {
            assert!(known[name].is_object(), "{name}");
        }
    }
}
