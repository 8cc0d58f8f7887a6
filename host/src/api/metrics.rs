//! `/metrics`, on an address of its own: it tells of all businesses together.
//!
//! Must not know: what is counted.

use crate::app::App;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The OpenMetrics text format, version 1.0.0 (openmetrics.io, "Exposition Format").
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until `stopping` turns true.
pub async fn serve_metrics(app: Arc<App>, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let stopped = async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let routes = Router::new().route("/metrics", get(show)).with_state(app);
    if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "metrics are no longer served");
    }
}

async fn show(State(app): State<Arc<App>>) -> Response {
    let counted = async {
        let now = app.clock.now();
        let (freshness, queues) = (app.freshness().await?, app.store.queues(now).await?);
        let held = app.store.held_institutions(now).await?;
        anyhow::Ok(app.metrics.text(&freshness, &queues, &held)?)
    };
    match counted.await {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "metrics could not be counted");
            (StatusCode::SERVICE_UNAVAILABLE, "the database cannot be used; the log has the reason\n")
                .into_response()
        }
    }
}
