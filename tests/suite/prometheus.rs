//! What watches tapewatch, on a real Prometheus that scrapes a running daemon: every query of the dashboard gives an answer,
//! every series that a rule asks for is there, and numbers of events are exact at any scrape interval.
//!
//! Prometheus and promtool are Debian's (package `prometheus`). Where they cannot be had, the tests skip themselves.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tapewatch::daemon::Daemon;

use crate::broker::Scene;
use crate::market::{self, Line};
use crate::wait;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Prometheus answers within a second, on a loaded machine within ten.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// One scrape more: a second, on a loaded machine several.
const SCRAPE_DEADLINE: Duration = Duration::from_secs(20);
/// Scrapes within which every query has an answer. Lag is told by librdkafka's statistics, which come every few seconds.
const SCRAPES_MAX: usize = 20;
/// What Grafana puts for `$__interval` and `$__rate_interval` where a scrape comes every second and a point every two.
const RANGES: [(&str, &str); 2] = [("$__rate_interval", "4s"), ("$__interval", "2s")];

/// Queries without an answer while nothing is wrong.
const EMPTY_WHEN_ALL_IS_WELL: [(&str, &str); 5] = [
    (
        "Kafka errors and failed deliveries A",
        "librdkafka has reported no error",
    ),
    ("Pause at a model swap A", "no model was swapped"),
    ("Pause at a model swap B", "no model was swapped"),
    ("Model swaps", "no model was swapped"),
    ("Restarts or outages", "the daemon answers"),
];
/// Series that rules ask for and that are not there while nothing is wrong.
const ABSENT_WHEN_ALL_IS_WELL: [&str; 0] = [];

/// A query of the dashboard.
struct Query {
    /// Title of its panel and letter in it, or name of its annotation.
    place: String,
    expr: String,
}

fn dashboard() -> Value {
    let path = Path::new(ROOT).join("deploy/grafana/dashboards/tapewatch.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// All queries as they are in the file.
fn queries(dashboard: &Value) -> Vec<Query> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut queries = Vec::new();
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        queries.push(Query {
            place: text(&annotation["name"]),
            expr: text(&annotation["expr"]),
        });
    }
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push(Query {
                place: format!("{} {}", text(&panel["title"]), text(&target["refId"])),
                expr: text(&target["expr"]),
            });
        }
    }
    assert!(queries.len() > 30, "{} queries", queries.len());
    queries
}

fn with_ranges(expr: &str, ranges: &[(&str, &str)]) -> String {
    let expr = ranges
        .iter()
        .fold(expr.to_owned(), |expr, (variable, range)| expr.replace(variable, range));
    assert!(!expr.contains('$'), "a variable that nobody sets: {expr}");
    expr
}

/// Finds a program of Debian's package, or says that the test is skipped.
fn has_or_skips(program: &str) -> bool {
    let has = Command::new(program).arg("--version").output().is_ok();
    if !has {
        eprintln!("skipped: {program} is missing (Debian: prometheus)");
    }
    has
}

/// A Prometheus that scrapes one daemon every second and evaluates the rules of `deploy/prometheus`.
struct Prometheus {
    process: Child,
    address: String,
}

impl Prometheus {
    fn start(folder: &Path, daemon: &str) -> Self {
        let rules = Path::new(ROOT).join("deploy/prometheus/alerts.yml");
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "tapewatch", "static_configs": [{"targets": [daemon]}]}],
        });
        // JSON is YAML.
        let config_file = folder.join("prometheus.yml");
        fs::write(&config_file, config.to_string()).unwrap();
        let log = fs::File::create(folder.join("prometheus.log")).unwrap();
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut started = Prometheus { process, address };
        wait::until("Prometheus answers", START_DEADLINE, || {
            let log = || fs::read_to_string(folder.join("prometheus.log")).unwrap();
            assert!(started.process.try_wait().unwrap().is_none(), "{}", log());
            wait::get(&started.address, "/-/ready").is_some_and(|(status, _)| status == 200)
        });
        started
    }

    /// Asks the API; gives `data` of the answer.
    fn ask(&self, path: &str) -> Value {
        let (status, body) = wait::get(&self.address, path).unwrap();
        let answer: Value = serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert_eq!(status, 200, "{path}: {body}");
        assert_eq!(answer["status"], "success", "{path}: {body}");
        answer["data"].clone()
    }

    /// Evaluates an expression now; gives the values of its series.
    fn values(&self, expr: &str) -> Vec<f64> {
        let data = self.ask(&format!("/api/v1/query?query={}", encoded(expr)));
        assert_eq!(data["resultType"], "vector", "{expr}");
        let series = data["result"].as_array().unwrap().iter();
        series
            .map(|series| series["value"][1].as_str().unwrap().parse().unwrap())
            .collect()
    }

    /// Waits for one more scrape.
    fn wait_for_scrape(&self) {
        let scrapes = || self.values("count_over_time(up[10m])").first().copied().unwrap_or(0.0);
        let before = scrapes();
        wait::until("Prometheus scrapes", SCRAPE_DEADLINE, || scrapes() > before);
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Encodes a text for a query of a URL.
fn encoded(text: &str) -> String {
    let of = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(of).collect()
}

/// A feed that never ends: a market with faults, a record that is no tick, and an alert of a new instrument.
struct Feed<'a> {
    scene: &'a Scene,
    lines: Vec<Line>,
    sent: usize,
}

impl Feed<'_> {
    fn send(&mut self, count: usize) {
        let end = (self.sent + count).min(self.lines.len());
        self.scene.produce(&self.lines[self.sent..end]);
        let crossed = format!(
            r#"{{"instrument":"CROSSED{}","ts_ns":1704205800000000000,"kind":"quote","bid":2.0,"ask":1.0}}"#,
            self.sent
        );
        let extra = |payload: &[u8]| Line {
            partition: 0,
            offset: 0,
            key: None,
            payload: Some(payload.to_vec()),
        };
        self.scene.produce(&[extra(b"no tick"), extra(crossed.as_bytes())]);
        self.sent = end;
    }
}

/// The daemon with endpoints, on an embedded broker.
fn start_daemon(scene: &Scene) -> (Daemon, String) {
    let mut config = scene.config("");
    config.http.enabled = true;
    config.http.listen = "127.0.0.1:0".into();
    let daemon = scene.start(config);
    let address = daemon.address.unwrap().to_string();
    (daemon, address)
}

#[test]
fn every_query_and_rule_has_an_answer_on_a_real_prometheus() {
    if !has_or_skips("prometheus") {
        return;
    }
    let scene = Scene::new(1);
    let (daemon, address) = start_daemon(&scene);
    let folder = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(folder.path(), &address);
    let mut lines = market::lines(&market::with_faults(&market::ticks(3, 12_000, 41), 41).0);
    lines.iter_mut().for_each(|line| line.partition = 0);
    let mut feed = Feed {
        scene: &scene,
        lines,
        sent: 0,
    };
    feed.send(4000);

    let dashboard = dashboard();
    let mut unanswered: Vec<(String, String)> = queries(&dashboard)
        .into_iter()
        .map(|query| (query.place, with_ranges(&query.expr, &RANGES)))
        .collect();
    for (place, _) in EMPTY_WHEN_ALL_IS_WELL {
        assert!(
            unanswered.iter().any(|(query, _)| query == place),
            "{place} is no query"
        );
    }
    unanswered.extend(
        rules()
            .iter()
            .flat_map(selectors)
            .map(|series| (series.clone(), series)),
    );
    for _ in 0..SCRAPES_MAX {
        prometheus.wait_for_scrape();
        feed.send(250);
        daemon.check().unwrap();
        unanswered.retain(|(place, expr)| {
            let values = prometheus.values(expr);
            assert!(
                values.iter().all(|value| value.is_finite()),
                "{place}: {values:?} of {expr}"
            );
            values.is_empty()
        });
        if unanswered.iter().all(|(place, _)| may_be_empty(place)) {
            break;
        }
    }
    let missing: Vec<&(String, String)> = unanswered.iter().filter(|(place, _)| !may_be_empty(place)).collect();
    assert!(missing.is_empty(), "no answer to {missing:#?}");
    assert_rules_are_evaluated_and_silent(&prometheus);
    daemon.stop().unwrap();
}

fn may_be_empty(place: &str) -> bool {
    let named = EMPTY_WHEN_ALL_IS_WELL.iter().map(|(query, _)| *query);
    named.chain(ABSENT_WHEN_ALL_IS_WELL).any(|name| name == place)
}

/// The daemon is well, so no rule may page; each must have been evaluated without an error.
fn assert_rules_are_evaluated_and_silent(prometheus: &Prometheus) {
    let groups = prometheus.ask("/api/v1/rules")["groups"].clone();
    let evaluated: Vec<&Value> = groups
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert_eq!(evaluated.len(), rules().len());
    for rule in evaluated {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_ne!(rule["state"], "firing", "{rule}");
    }
}

/// The expressions of all rules.
fn rules() -> Vec<String> {
    let text = fs::read_to_string(Path::new(ROOT).join("deploy/prometheus/alerts.yml")).unwrap();
    let rules: Value = serde_yaml_ng::from_str(&text).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    rules.map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect()
}

/// The series that an expression asks for: names of ours with their matchers.
fn selectors(expr: &String) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = expr.as_str();
    while let Some(start) = rest.find(is_name) {
        let from = &rest[start..];
        let name_end = from.find(|c| !is_name(c)).unwrap_or(from.len());
        let mut end = name_end;
        if from[end..].starts_with('{') {
            end += from[end..].find('}').unwrap() + 1;
        }
        let name = &from[..name_end];
        if name == "up" || name.starts_with("tapewatch_") || name.starts_with("process_") {
            found.push(from[..end].to_owned());
        }
        rest = &from[end..];
    }
    assert!(!found.is_empty(), "no series in {expr}");
    found
}

/// A counter that is scraped every so often, of a daemon that is started anew in the midst.
struct Counter {
    scrape_secs: u64,
    /// Events between each scrape and the one before.
    events: Vec<u64>,
    /// The first scrape after the restart; what came before it in the same step is gone with the process.
    restart: usize,
}

impl Counter {
    fn new(scrape_secs: u64, minutes: u64) -> Self {
        let scrapes = minutes * 60 / scrape_secs;
        Counter {
            scrape_secs,
            events: (0..=scrapes).map(|scrape| scrape * 7 % 5).collect(),
            restart: (scrapes * 2 / 3) as usize,
        }
    }

    /// What is read at a scrape.
    fn value(&self, scrape: usize) -> u64 {
        let from = if scrape < self.restart { 0 } else { self.restart };
        self.events[from..=scrape].iter().sum()
    }

    /// Events after one moment and until another.
    fn between(&self, from_secs: u64, to_secs: u64) -> u64 {
        let scrape = |secs: u64| (secs / self.scrape_secs) as usize;
        let (after, last) = (scrape(from_secs), scrape(to_secs));
        let first = if (after + 1..=last).contains(&self.restart) {
            self.restart
        } else {
            after + 1
        };
        self.events[first..=last].iter().sum()
    }
}

/// Writes the unit test that promtool runs: the number of events of each minute, for every panel that shows numbers.
fn write_counting_test(folder: &Path, scrape_secs: u64) -> PathBuf {
    const MINUTES: u64 = 30;
    let counter = Counter::new(scrape_secs, MINUTES);
    let dashboard = dashboard();
    let counting: Vec<String> = queries(&dashboard)
        .into_iter()
        .filter(|query| query.place != "Model swaps" && query.expr.contains("offset $__interval"))
        .map(|query| with_ranges(&query.expr, &[("$__interval", "1m")]))
        .collect();
    assert_eq!(counting.len(), 3, "alerts, scores, trainings: {counting:?}");
    let text: Vec<String> = (0..counter.events.len())
        .map(|scrape| counter.value(scrape).to_string())
        .collect();
    let series = counting.iter().map(|expr| {
        let name = selectors(expr)[0].split('{').next().unwrap().to_owned();
        let labels = r#"instance="a", state="opened", kind="k", severity="s", le="1", outcome="o""#;
        json!({"series": format!("{name}{{{labels}}}"), "values": text.join(" ")})
    });
    let of_minute = |expr: &String, minute: u64| {
        let events = counter.between((minute - 1) * 60, minute * 60);
        json!({
            "expr": format!("sum({expr})"),
            "eval_time": format!("{minute}m"),
            "exp_samples": [{"labels": "{}", "value": events}],
        })
    };
    let tests = counting
        .iter()
        .flat_map(|expr| (1..=MINUTES).map(move |minute| of_minute(expr, minute)));
    let test = json!({
        "rule_files": [],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": format!("{scrape_secs}s"),
            "input_series": series.collect::<Vec<_>>(),
            "promql_expr_test": tests.collect::<Vec<_>>(),
        }],
    });
    let path = folder.join(format!("counts-{scrape_secs}.yml"));
    fs::write(&path, test.to_string()).unwrap();
    path
}

#[test]
fn numbers_of_events_are_whole_and_exact_at_every_scrape_interval() {
    if !has_or_skips("promtool") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for scrape_secs in [5, 15, 60, 120] {
        let test = write_counting_test(folder.path(), scrape_secs);
        let output = Command::new("promtool")
            .args(["test", "rules"])
            .arg(test)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scraped every {scrape_secs} s: {text}");
    }
}

/// `$__rate_interval` is four times the panel's shortest step, which the list "Scraped every" sets: a shorter range would hold
/// fewer than two scrapes.
#[test]
fn rates_are_taken_over_a_range_that_follows_the_scrape_interval() {
    let dashboard = dashboard();
    let mut rates = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().unwrap();
            for range in expr.split('[').skip(1).map(|rest| rest.split(']').next().unwrap()) {
                assert!(["$__rate_interval", "1d"].contains(&range), "[{range}] in {expr}");
            }
            if expr.contains("$__rate_interval") {
                assert_eq!(target["interval"], "$scrape", "{expr}");
                rates += 1;
            }
        }
    }
    assert!(rates > 10, "{rates} rates");
}
