//! Which values must fit each other, and which texts must be names. The range of each number by itself stands in
//! `ranges.rs`.

use super::{Config, Problem};
use crate::pipeline::budget::{SHARE_MAX, threshold};
use crate::pipeline::decode::Decoder;

/// Time-out of a session of librdkafka's where none is set (milliseconds).
const SESSION_TIMEOUT_MS: u64 = 45_000;
/// Longest time between two polls of librdkafka's where none is set (milliseconds).
const MAX_POLL_INTERVAL_MS: u64 = 300_000;

/// Lists what does not fit.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let mut problems = Problems::default();
    names(config, &mut problems);
    feed(config, &mut problems);
    alerts(config, &mut problems);
    learning(config, &mut problems);
    worker(config, &mut problems);
    problems.0
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn unless(&mut self, holds: bool, key: &str, text: impl Into<String>) {
        if !holds {
            self.0.push(Problem::new(key, text));
        }
    }
}

fn names(config: &Config, problems: &mut Problems) {
    for (key, found, expected) in [
        ("kafka.brokers", &config.kafka.brokers, "host:port"),
        ("kafka.group", &config.kafka.group, "a name"),
    ] {
        let text = format!("expected {expected}, found nothing");
        problems.unless(!found.trim().is_empty(), key, text);
    }
    for (key, text) in config.kafka.problems() {
        problems.unless(false, &key, text);
    }
    let (topics, output) = (&config.input.topics, &config.output);
    problems.unless(!topics.is_empty(), "input.topics", "expected at least one topic");
    let outputs = [
        ("output.alerts_topic", &output.alerts_topic),
        ("output.dead_letters_topic", &output.dead_letters_topic),
    ];
    for (key, topic) in topics.iter().map(|topic| ("input.topics", topic)).chain(outputs) {
        let text = format!(
            "{topic:?} is no topic name; expected 1 to 249 letters a to z, digits, dots, underscores or hyphens"
        );
        problems.unless(is_topic_name(topic), key, text);
    }
    for (key, topic) in outputs {
        let text = format!("{topic} is an input topic too; the daemon would read itself");
        problems.unless(!topics.contains(topic), key, text);
    }
    let listen = &config.http.listen;
    let text = format!(
        "expected an IP address and a port, such as 127.0.0.1:9464, or 0.0.0.0:9464 for every address of this machine; \
         found {listen:?}"
    );
    problems.unless(listen.parse::<std::net::SocketAddr>().is_ok(), "http.listen", text);
}

fn is_topic_name(name: &str) -> bool {
    const LENGTH_MAX: usize = 249;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= LENGTH_MAX && name.bytes().all(allowed)
}

fn feed(config: &Config, problems: &mut Problems) {
    let decode = &config.decode;
    if let Err(text) = Decoder::new(decode, &config.input.topics) {
        problems.unless(false, "decode", text);
    }
    problems.unless(
        decode.instrument_bytes_max <= decode.record_bytes_max,
        "decode.instrument_bytes_max",
        at_most(
            "decode.record_bytes_max",
            decode.record_bytes_max,
            decode.instrument_bytes_max,
        ),
    );
    let guards = &config.guards;
    problems.unless(
        guards.stale_secs_max > guards.stale_secs_min,
        "guards.stale_secs_max",
        format!(
            "expected more than guards.stale_secs_min = {}, found {}",
            guards.stale_secs_min, guards.stale_secs_max
        ),
    );
}

fn alerts(config: &Config, problems: &mut Problems) {
    let alerts = &config.alerts;
    problems.unless(
        alerts.shock_instruments_min != 1,
        "alerts.shock_instruments_min",
        "expected 0 (never) or at least 2, found 1",
    );
    problems.unless(
        alerts.shock_active_secs >= alerts.shock_window_secs,
        "alerts.shock_active_secs",
        at_least(
            "alerts.shock_window_secs",
            alerts.shock_window_secs,
            alerts.shock_active_secs,
        ),
    );
    // A budget per day allows a fast feed little and a slow one much: up to the largest share.
    let lowest = match alerts.false_alarms_per_instrument_day > 0.0 {
        true => threshold(SHARE_MAX),
        false => alerts.threshold(),
    };
    problems.unless(
        alerts.hysteresis_decades < lowest,
        "alerts.hysteresis_decades",
        format!(
            "expected less than the lowest threshold of the budget, {lowest:.2}, or no tick is quiet enough to resolve an \
             alert; found {}",
            alerts.hysteresis_decades
        ),
    );
    let (lookback, rows_kept) = (config.model.lookback, config.detector.rows_kept);
    problems.unless(
        rows_kept >= lookback,
        "detector.rows_kept",
        at_least("model.lookback", lookback, rows_kept),
    );
}

fn learning(config: &Config, problems: &mut Problems) {
    if let Err(text) = config.model.check() {
        problems.unless(false, "model", text);
    }
    let (training, retrain) = (&config.training, &config.retrain);
    let min = training.ticks_per_instrument_min;
    let key = "training.ticks_per_instrument_min";
    problems.unless(
        training.ticks_per_instrument_max >= min,
        "training.ticks_per_instrument_max",
        at_least(key, min, training.ticks_per_instrument_max),
    );
    // Else there would never be a model.
    let held = training.memory().instrument_ticks_max();
    problems.unless(
        held >= min,
        "training.memory_bytes_max",
        format!("expected enough for {key} = {min}, found room for {held} ticks of one instrument"),
    );
    problems.unless(
        retrain.history_ticks_max >= min,
        "retrain.history_ticks_max",
        at_least(key, min, retrain.history_ticks_max),
    );
}

/// Lets a drain that nobody has set give way to a session that somebody has made shorter: four fifths of it.
pub(super) fn shorten_drain(config: &mut Config) {
    let set = config.kafka.consumer_property("session.timeout.ms");
    if let Some(session_ms) = set.and_then(|set| set.parse::<u64>().ok()) {
        let longest = (session_ms * 4 / 5 / 1000).max(1);
        config.worker.drain_secs = config.worker.drain_secs.min(longest);
    }
}

fn worker(config: &Config, problems: &mut Problems) {
    let worker = &config.worker;
    let drain_secs = worker.drain_secs;
    // While partitions are given up, nothing is polled: whoever drains for longer is taken for dead, and what it commits
    // is refused.
    for (property, default) in [
        ("session.timeout.ms", SESSION_TIMEOUT_MS),
        ("max.poll.interval.ms", MAX_POLL_INTERVAL_MS),
    ] {
        let set = config.kafka.consumer_property(property);
        // What is no number is refused by librdkafka, with the property's own range.
        let Ok(limit_ms) = set.map_or(Ok(default), str::parse) else {
            continue;
        };
        problems.unless(
            drain_secs * 1000 < limit_ms,
            "worker.drain_secs",
            format!(
                "expected less than librdkafka's {property} = {limit_ms} milliseconds, found {drain_secs} seconds; lower \
                 it, or raise {property} in kafka.consumer_properties"
            ),
        );
    }
    problems.unless(
        worker.stall_secs > drain_secs,
        "worker.stall_secs",
        format!(
            "expected more than worker.drain_secs = {drain_secs}, or /livez fails while a worker drains; found {}",
            worker.stall_secs
        ),
    );
}

fn at_least(other: &str, limit: impl std::fmt::Display, found: impl std::fmt::Display) -> String {
    format!("expected at least {other} = {limit}, found {found}")
}

fn at_most(other: &str, limit: impl std::fmt::Display, found: impl std::fmt::Display) -> String {
    format!("expected at most {other} = {limit}, found {found}")
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn assert_refused(text: &str, problem: &str) {
        let found = Config::from_toml(text).unwrap_err().to_string();
        assert!(found.contains(problem), "{problem}: {found}");
    }

    #[test]
    fn values_that_do_not_fit_each_other_are_named_with_both() {
        for (text, problem) in [
            (
                "[model]\nlookback = 100",
                "detector.rows_kept: expected at least model.lookback = 100, found 64",
            ),
            (
                "[alerts]\nshock_instruments_min = 1",
                "alerts.shock_instruments_min: expected 0 (never) or at least 2, found 1",
            ),
            (
                "[alerts]\nshock_window_secs = 90",
                "alerts.shock_active_secs: expected at least alerts.shock_window_secs = 90, found 60",
            ),
            (
                "[guards]\nstale_secs_max = 1.0",
                "guards.stale_secs_max: expected more than guards.stale_secs_min = 2, found 1",
            ),
            (
                "[decode]\nrecord_bytes_max = 100",
                "decode.instrument_bytes_max: expected at most decode.record_bytes_max = 100, found 128",
            ),
            (
                "[decode]\nyear_max = 1990",
                "year_max: expected more than year_min = 1990",
            ),
            (
                "[training]\nticks_per_instrument_max = 1999",
                "training.ticks_per_instrument_max: expected at least training.ticks_per_instrument_min = 2000, found 1999",
            ),
            (
                "[training]\nmemory_bytes_max = 67108864\nticks_per_instrument_min = 80000",
                "training.memory_bytes_max: expected enough for training.ticks_per_instrument_min = 80000, found room for",
            ),
            (
                "[retrain]\nhistory_ticks_max = 100",
                "retrain.history_ticks_max: expected at least training.ticks_per_instrument_min = 2000, found 100",
            ),
            (
                "[output]\nalerts_topic = \"ticks\"",
                "output.alerts_topic: ticks is an input topic too",
            ),
            ("[decode.json]\nprice = \"price\"", "json.price"),
        ] {
            assert_refused(text, problem);
        }
    }

    #[test]
    fn an_alert_must_be_able_to_resolve() {
        let problem = "alerts.hysteresis_decades: expected less than the lowest threshold of the budget, 4.00";
        assert_refused("[alerts]\nhysteresis_decades = 4.0", problem);
        Config::from_toml("[alerts]\nhysteresis_decades = 1.5").unwrap();
        // A budget per day gives slow feeds a threshold of 1.
        let text = "[alerts]\nfalse_alarms_per_instrument_day = 2.0\nhysteresis_decades = 1.5";
        assert_refused(
            text,
            "alerts.hysteresis_decades: expected less than the lowest threshold of the budget, 1.00",
        );
    }

    #[test]
    fn a_drain_ends_before_the_broker_gives_the_worker_up() {
        let drain = |secs: u64, more: &str| format!("{more}\n[worker]\ndrain_secs = {secs}\nstall_secs = 400");
        Config::from_toml(&drain(44, "")).unwrap();
        assert_refused(
            &drain(45, ""),
            "worker.drain_secs: expected less than librdkafka's session.timeout.ms = 45000 milliseconds, found 45 seconds",
        );
        let short = "[kafka.consumer_properties]\n\"session.timeout.ms\" = \"2000\"";
        assert_eq!(Config::from_toml(short).unwrap().worker.drain_secs, 1);
        let longer = "[kafka.consumer_properties]\n\"session.timeout.ms\" = \"400000\"";
        Config::from_toml(&drain(299, longer)).unwrap();
        assert_refused(&drain(300, longer), "max.poll.interval.ms = 300000");
        // A consumer's own property goes before that of all clients.
        let both = format!("[kafka.properties]\n\"session.timeout.ms\" = \"10000\"\n{longer}");
        Config::from_toml(&drain(20, &both)).unwrap();
        let shorter = "[kafka.properties]\n\"session.timeout.ms\" = \"10000\"";
        assert_refused(
            &drain(20, shorter),
            "session.timeout.ms = 10000 milliseconds, found 20 seconds",
        );
    }

    #[test]
    fn a_worker_that_drains_is_not_taken_for_stuck() {
        let problem = "worker.stall_secs: expected more than worker.drain_secs = 20";
        assert_refused("[worker]\nstall_secs = 20", problem);
    }
}
