//! Waiting for a condition, and asking a daemon's endpoints.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks: short beside anything that is waited for.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// One answer of an endpoint on this machine.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// Looks until `look` gives something.
///
/// # Panics
/// When nothing has come within `limit`; `what` says what was waited for.
pub fn until_some<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::sleep(LOOK_PAUSE);
    }
}

/// Looks until `holds`.
///
/// # Panics
/// When it does not hold within `limit`; `what` says what was waited for.
pub fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    until_some(what, limit, || holds().then_some(()));
}

/// Makes sure that `holds` all the time for so long: for what must not happen, where no condition tells that it will not.
///
/// # Panics
/// When it does not hold once.
pub fn holds_for(what: &str, time: Duration, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        assert!(holds(), "no longer: {what}");
        thread::sleep(LOOK_PAUSE);
    }
}

/// Gets `path` of an endpoint: status code and body; `None` while nobody answers. By HTTP 1.0, in which no answer comes in
/// chunks.
pub fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWER_DEADLINE)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: tapewatch\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// An address that nobody listens at now.
pub fn free_address() -> String {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    held.local_addr().unwrap().to_string()
}

/// One sample of Prometheus' text format.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

/// Reads Prometheus' text format.
///
/// # Panics
/// On a line that is none.
pub fn samples(text: &str) -> Vec<Sample> {
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("no labels: {line}"));
        let label = |label: &str| {
            let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        };
        Sample {
            name: name.to_owned(),
            labels: labels
                .split("\",")
                .filter(|label| !label.is_empty())
                .map(label)
                .collect(),
            value: value.parse().unwrap_or_else(|_| panic!("no number: {line}")),
        }
    };
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(sample)
        .collect()
}

/// Sums all series of one name.
///
/// # Panics
/// When there is none.
pub fn sum(samples: &[Sample], name: &str) -> f64 {
    let found: Vec<f64> = samples
        .iter()
        .filter(|sample| sample.name == name)
        .map(|sample| sample.value)
        .collect();
    assert!(!found.is_empty(), "no series {name}");
    found.iter().sum()
}
