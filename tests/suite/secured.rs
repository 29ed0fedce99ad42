//! A real Kafka that asks for a password within TLS: what is wrong is told at once and told apart, and a secret never.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::process::{self, Ended, Running};
use crate::raw_produce::{self, Operation, Resource};
use crate::real_kafka::{self, PASSWORD, Secured, USER};
use crate::wait::{self, free_address};

/// Whatever no waiting can mend is told within this time, on a loaded machine: half of the time that it would be waited for.
const AT_ONCE: Duration = Duration::from_secs(15);
/// A start, or a restart of the broker.
const DEADLINE: Duration = Duration::from_secs(60);

struct Settings<'a> {
    address: &'a str,
    protocol: &'a str,
    mechanism: &'a str,
    ca: &'a Path,
    password: &'a str,
    topic: &'a str,
    timeout_secs: u64,
    http: &'a str,
    more: &'a str,
}

fn config(folder: &Path, settings: &Settings<'_>) -> String {
    let secret = folder.join("secret");
    fs::write(&secret, format!("{}\n", settings.password)).unwrap();
    format!(
        r#"
[kafka]
brokers = "{address}"
start_timeout_secs = {timeout_secs}
[kafka.properties]
"security.protocol" = "{protocol}"
"sasl.mechanism" = "{mechanism}"
"sasl.username" = "{USER}"
"ssl.ca.location" = "{ca}"
{more}
[kafka.secret_files]
"sasl.password" = "{secret}"
[input]
topics = ["{topic}"]
[output]
alerts_topic = "alerts"
dead_letters_topic = "letters"
[retrain]
enabled = false
[http]
listen = "{http}"
"#,
        address = settings.address,
        timeout_secs = settings.timeout_secs,
        protocol = settings.protocol,
        mechanism = settings.mechanism,
        ca = settings.ca.display(),
        more = settings.more,
        secret = secret.display(),
        topic = settings.topic,
        http = settings.http,
    )
}

fn start(folder: &Path, settings: &Settings<'_>) -> Running {
    fs::write(folder.join("tapewatch.toml"), config(folder, settings)).unwrap();
    process::start(folder, &["run", "--config", "tapewatch.toml"])
}

fn right<'a>(secured: &'a Secured, http: &'a str) -> Settings<'a> {
    Settings {
        address: &secured.address,
        protocol: "sasl_ssl",
        mechanism: "SCRAM-SHA-512",
        ca: &secured.ca,
        password: PASSWORD,
        topic: "ticks",
        timeout_secs: 30,
        http,
        more: "",
    }
}

fn scene() -> Option<Secured> {
    let secured = real_kafka::start_secured_or_skip()?;
    for topic in ["ticks", "alerts", "letters", "hidden"] {
        secured.kafka.create_topic(topic, 1, &[]);
    }
    Some(secured)
}

/// Makes sure that a start ends with the broker's own reason, and with no secret.
fn assert_told(ended: &Ended, code: i32, words: &[&str], secret: &str) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    let lower = ended.stderr.to_lowercase();
    for word in words {
        assert!(lower.contains(word), "{word}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains(secret), "a secret is told: {}", ended.stderr);
}

#[test]
fn what_is_wrong_with_a_secured_broker_is_told_apart_and_at_once() {
    let Some(secured) = scene() else { return };
    let folder = tempfile::tempdir().unwrap();
    let http = free_address();
    let other = folder.path().join("other.pem");
    fs::write(&other, include_str!("../data/other-ca.pem")).unwrap();
    let right = || right(&secured, &http);
    let cases: [(&str, Settings<'_>, &[&str]); 5] = [
        (
            "password",
            Settings {
                password: "hunter2-wrong",
                ..right()
            },
            &["authentication"],
        ),
        ("ca", Settings { ca: &other, ..right() }, &["certificate"]),
        (
            "mechanism",
            Settings {
                mechanism: "PLAIN",
                ..right()
            },
            &["mechanism"],
        ),
        (
            "plaintext to a TLS listener",
            Settings {
                protocol: "plaintext",
                ..right()
            },
            &["security.protocol"],
        ),
        (
            "TLS to a plaintext listener",
            Settings {
                address: &secured.kafka.brokers,
                ..right()
            },
            &["ssl"],
        ),
    ];
    for (name, settings, words) in &cases {
        let asked = Instant::now();
        let ended = start(folder.path(), settings).ended();
        println!("{name}, {:?}: {}", asked.elapsed(), ended.stderr);
        assert_told(&ended, 69, words, settings.password);
        assert!(asked.elapsed() < AT_ONCE, "{name}: {:?}", asked.elapsed());
    }
    let nowhere = Settings {
        address: "no-such-name.invalid:9092",
        timeout_secs: 3,
        ..right()
    };
    assert_told(
        &start(folder.path(), &nowhere).ended(),
        69,
        &["resolve", "no-such-name"],
        PASSWORD,
    );
    let principal = format!("User:{USER}");
    raw_produce::deny(
        &secured.kafka.brokers,
        (Resource::Topic, "hidden"),
        &principal,
        Operation::Describe,
    );
    let hidden = Settings {
        topic: "hidden",
        timeout_secs: 3,
        ..right()
    };
    assert_told(
        &start(folder.path(), &hidden).ended(),
        69,
        &["hidden", "may not be described"],
        PASSWORD,
    );
}

#[test]
fn readiness_follows_rights_and_a_password_that_is_refused_for_long_ends_the_process() {
    let Some(mut secured) = scene() else { return };
    let folder = tempfile::tempdir().unwrap();
    let http = free_address();
    let settings = Settings {
        timeout_secs: 5,
        ..right(&secured, &http)
    };
    let mut daemon = start(folder.path(), &settings);
    let is_ready = |daemon: &mut Running| {
        assert!(daemon.is_running(), "the daemon has ended");
        wait::get(&http, "/readyz")
    };
    wait::until("ready", DEADLINE, || {
        is_ready(&mut daemon).is_some_and(|(status, _)| status == 200)
    });
    let principal = format!("User:{USER}");
    let broker = secured.kafka.brokers.clone();
    raw_produce::deny(&broker, (Resource::Topic, "ticks"), &principal, Operation::Read);
    wait::until("the right to read is missed", DEADLINE, || {
        is_ready(&mut daemon).is_some_and(|(status, body)| status == 503 && body.contains("authorization"))
    });
    secured.change_password("another-password");
    secured.kafka.kill();
    secured.kafka.start_again();
    let ended = daemon.ended();
    assert_told(&ended, 69, &["authentication"], PASSWORD);
}

#[test]
fn no_value_of_a_property_is_told_whatever_is_wrong_with_it() {
    const SECRET: &str = "hunter2-secret";
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let path = secret.display();
    for (text, named) in [
        (
            format!("[kafka.secret_files]\n\"sasl.pasword\" = \"{path}\""),
            "sasl.pasword",
        ),
        (
            format!("[kafka.secret_files]\n\"security.protocol\" = \"{path}\""),
            "security.protocol",
        ),
        (
            format!("[kafka.secret_files]\n\"session.timeout.ms\" = \"{path}\""),
            "session.timeout.ms",
        ),
        (
            format!("[kafka.properties]\n\"sasl.password\" = \"{SECRET}\""),
            "kafka.secret_files",
        ),
        (
            format!("[kafka.properties]\n\"sasl.pasword\" = \"{SECRET}\""),
            "sasl.pasword",
        ),
        (
            "[kafka.properties]\n\"enable.auto.commit\" = \"true\"".into(),
            "enable.auto.commit",
        ),
        (
            "[kafka.consumer_properties]\n\"statistics.interval.ms\" = \"0\"".into(),
            "statistics.interval.ms",
        ),
        (
            "[kafka.properties]\n\"bootstrap.servers\" = \"b:9092\"".into(),
            "kafka.brokers",
        ),
    ] {
        fs::write(folder.path().join("tapewatch.toml"), text).unwrap();
        for command in ["check", "run"] {
            let ended = process::run(folder.path(), &[command, "--config", "tapewatch.toml"]);
            assert_told(&ended, 78, &[named], SECRET);
            assert!(!ended.stdout.contains(SECRET), "{}", ended.stdout);
        }
    }
}
