//! Alerts and dead letters as records.

use std::borrow::Cow;

use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};

use crate::config::Config;
use crate::kafka::alert_record::{cloud_event_headers, to_json};
use crate::kafka::client::BrokerError;
use crate::kafka::sink::{DEAD_LETTER_REASON, Outgoing, Sink, copy_of};
use crate::metrics::Metrics;
use crate::pipeline::alert::{Alert, AlertState};
use crate::pipeline::detector::DeadLetter;
use crate::pipeline::summary::summary;
use crate::pipeline::time::ArrivalTime;

/// Sends a record to the dead-letter topic: with its original key, value and headers, and why.
pub(super) fn send_dead_letter(
    (config, metrics): (&Config, &Metrics),
    sink: &mut Sink,
    message: &BorrowedMessage<'_>,
    letter: &DeadLetter,
) -> Result<(), BrokerError> {
    metrics.dead_letters.with_label_values(&[letter.reason]).inc();
    sink.send(Outgoing {
        topic: &config.output.dead_letters_topic,
        key: message.key(),
        payload: message.payload().map(Cow::Borrowed),
        headers: dead_letter_headers(message, letter),
    })
}

fn dead_letter_headers(message: &BorrowedMessage<'_>, letter: &DeadLetter) -> OwnedHeaders {
    let original = message.headers().map_or_else(OwnedHeaders::new, copy_of);
    [
        (DEAD_LETTER_REASON, letter.reason.to_string()),
        ("tapewatch-detail", letter.detail.clone()),
        ("tapewatch-topic", message.topic().to_string()),
        ("tapewatch-partition", message.partition().to_string()),
        ("tapewatch-offset", message.offset().to_string()),
    ]
    .iter()
    .fold(original, |headers, (key, value)| {
        headers.insert(Header {
            key,
            value: Some(value),
        })
    })
}

/// Sends an alert to its topic, counts it, and tells the log.
pub(super) fn send_alert(
    (config, metrics): (&Config, &Metrics),
    sink: &mut Sink,
    alert: &Alert,
    now: ArrivalTime,
) -> Result<(), BrokerError> {
    let headers =
        cloud_event_headers(alert, &config.input.topics)
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(value),
                })
            });
    let payload = to_json(alert, &config.input.topics);
    let (state, kind, severity) = (alert.state.name(), alert.kind.name(), alert.severity.name());
    metrics.alerts.with_label_values(&[state, kind, severity]).inc();
    let summary = summary(alert);
    match alert.state {
        AlertState::Opened => tracing::info!(id = %alert.id, severity, summary, "alert opened"),
        AlertState::Updated => tracing::debug!(id = %alert.id, severity, summary, "alert updated"),
        AlertState::Resolved => tracing::debug!(id = %alert.id, severity, summary, "alert resolved"),
    }
    if alert.state == AlertState::Opened {
        let latency_ns = now.0.saturating_sub(alert.latest.arrival_time.0).max(0);
        metrics.tick_to_alert_seconds.observe(latency_ns as f64 * 1e-9);
    }
    let topic = &config.output.alerts_topic;
    sink.send(Outgoing {
        topic,
        key: Some(alert.instrument.as_bytes()),
        payload: Some(payload.into()),
        headers,
    })
}
