//! What a worker hands on: a polled record to its detector, alerts and dead letters to its sink.

use std::borrow::Cow;

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Message};

use super::now;
use crate::config::Config;
use crate::kafka::alert_record::{cloud_event_headers, to_json};
use crate::kafka::client::BrokerError;
use crate::kafka::outgoing::{DETAIL, Kind, Outgoing};
use crate::kafka::sink::Sink;
use crate::kafka::source::Polled;
use crate::metrics::Metrics;
use crate::pipeline::alert::{Alert, AlertState};
use crate::pipeline::detector::{DeadLetter, Record};
use crate::pipeline::position::{Offset, Position};
use crate::pipeline::summary::summary;
use crate::pipeline::time::ArrivalTime;

/// Gives a record as the detector sees it.
pub(super) fn record_of<'a>(polled: &'a Polled<'_>) -> Record<'a> {
    let message = &polled.message;
    Record {
        position: Position {
            at: polled.at,
            offset: Offset(message.offset()),
        },
        arrival_time: message
            .timestamp()
            .to_millis()
            .map_or_else(now, ArrivalTime::from_millis),
        key: message.key(),
        payload: message.payload(),
    }
}

/// Sends a record to the dead-letter topic: with its original key, value and headers, and why.
pub(super) fn send_dead_letter(
    (config, metrics): (&Config, &Metrics),
    sink: &mut Sink,
    message: &BorrowedMessage<'_>,
    letter: &DeadLetter,
) -> Result<(), BrokerError> {
    metrics.dead_letters.with_label_values(&[letter.reason]).inc();
    let headers = vec![
        ("tapewatch-reason", letter.reason.to_string()),
        (DETAIL, letter.detail.clone()),
        ("tapewatch-topic", message.topic().to_string()),
        ("tapewatch-partition", message.partition().to_string()),
        ("tapewatch-offset", message.offset().to_string()),
    ];
    sink.send(Outgoing {
        kind: Kind::DeadLetter,
        topic: &config.output.dead_letters_topic,
        key: message.key(),
        payload: message.payload().map(Cow::Borrowed),
        headers,
        // As bytes: nobody promises that a header's name is text.
        original: message.headers().map(BorrowedHeaders::detach),
    })
}

/// Sends an alert to its topic, counts it, and tells the log.
pub(super) fn send_alert(
    (config, metrics): (&Config, &Metrics),
    sink: &mut Sink,
    alert: &Alert,
    now: ArrivalTime,
) -> Result<(), BrokerError> {
    let summary = summary(alert);
    let payload = to_json(alert, &summary, &config.input.topics);
    let (state, kind, severity) = (alert.state.name(), alert.kind.name(), alert.severity.name());
    metrics.alerts.with_label_values(&[state, kind, severity]).inc();
    match alert.state {
        AlertState::Opened => tracing::info!(id = %alert.id, severity, summary, "alert opened"),
        AlertState::Updated => tracing::debug!(id = %alert.id, severity, summary, "alert updated"),
        AlertState::Resolved => tracing::debug!(id = %alert.id, severity, summary, "alert resolved"),
    }
    if alert.state == AlertState::Opened {
        let latency_ns = now.0.saturating_sub(alert.latest.arrival_time.0).max(0);
        metrics.tick_to_alert_seconds.observe(latency_ns as f64 * 1e-9);
    }
    sink.send(Outgoing {
        kind: Kind::Alert,
        topic: &config.output.alerts_topic,
        key: Some(alert.instrument.as_bytes()),
        payload: Some(payload.into()),
        headers: cloud_event_headers(alert, &config.input.topics).into(),
        original: None,
    })
}
