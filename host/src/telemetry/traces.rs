//! Traces of syncs, handed to a collector where the operator names one.
//!
//! Spans are those of the target [`SPANS`] and no others; their attributes are our ids, names of institutions and
//! connectors, codes and counts, and what is never logged is never in them either. What cannot be handed on is dropped:
//! a collector that is down slows and fails nothing.

use crate::config::Telemetry;
use crate::egress::Collector;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, SpanData, SpanExporter as Exporter,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// The target of the spans that make up a trace. Their level is DEBUG, so that the log does not show them by default.
const SPANS: &str = "tidegate";
/// Spans that wait to be sent, some seconds of a busy process; more are dropped.
const QUEUE_MAX: usize = 2_048;
/// Spans of one request.
const BATCH_MAX: usize = 512;
/// How long a span waits for company.
const BATCH_DELAY: Duration = Duration::from_secs(2);
/// Time for one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// What a stop waits for the last spans.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Traces that are being collected, or none.
#[must_use = "the last traces are sent by `end`"]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends what waits, for some seconds at most.
    pub async fn end(self) {
        let Some(provider) = self.0 else { return };
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_MAX)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last traces were not taken by the collector");
        }
    }
}

/// What makes traces of spans; none where no collector is named.
pub(super) fn start<S>(
    config: &Telemetry,
) -> Result<(Traces, Option<impl Layer<S> + Send + Sync + use<S>>), String>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let Some(endpoint) = &config.otlp_endpoint else { return Ok((Traces(None), None)) };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(endpoint.starts_with("http://"))?)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|error| error.to_string())?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(BATCH_DELAY)
        .build();
    let exporter = Outspoken { exporter, is_down: AtomicBool::new(false) };
    let resource = [
        KeyValue::new("service.name", "tidegate"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let share = f64::from(config.sampled_percent) / 100.0;
    let provider = SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
        .with_resource(Resource::builder_empty().with_attributes(resource).build())
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("tidegate"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false)
        .with_level(false)
        .with_filter(Targets::new().with_target(SPANS, LevelFilter::DEBUG));
    Ok((Traces(Some(provider)), Some(layer)))
}

/// Says in the log when a collector does not take spans any more, and when it does again; once each.
#[derive(Debug)]
struct Outspoken {
    exporter: SpanExporter,
    is_down: AtomicBool,
}

impl Exporter for Outspoken {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let taken = self.exporter.export(batch).await;
        let was_down = self.is_down.swap(taken.is_err(), Ordering::SeqCst);
        match (&taken, was_down) {
            (Err(error), false) => {
                tracing::warn!(%error, "the collector does not take traces; they are dropped until it does");
            }
            (Ok(()), true) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        taken
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
