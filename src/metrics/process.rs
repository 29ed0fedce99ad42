//! What Prometheus' convention says of every process: memory, processor time, descriptors and start.
//!
//! The kernel is asked when the metrics are. What it does not tell is left out and not shown as 0. The crate
//! `prometheus` has a collector of its own, which brings two more crates that are built and counts whole seconds of
//! processor time alone.

use std::collections::HashMap;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, DynamicClockId, Timespec, clock_gettime, clock_gettime_dynamic};

const CPU_SECONDS: (&str, &str) = (
    "process_cpu_seconds_total",
    "Processor time of all threads, in user and in kernel mode.",
);
const RESIDENT_BYTES: (&str, &str) = ("process_resident_memory_bytes", "Memory that the process holds.");
const OPEN_FDS: (&str, &str) = ("process_open_fds", "Open file descriptors.");
const MAX_FDS: (&str, &str) = ("process_max_fds", "File descriptors that the process may have open.");
const START_SECONDS: (&str, &str) = (
    "process_start_time_seconds",
    "When the process was started (seconds since 1970).",
);

/// Fields of `/proc/self/stat` from the state, the first after the name, up to the time of the start.
const FIELDS_BEFORE_START: usize = 19;

/// The metrics of this process.
pub(super) struct ProcessMetrics {
    descs: Vec<Desc>,
    /// When the process was started (seconds since 1970).
    start: Option<f64>,
}

impl ProcessMetrics {
    /// # Errors
    /// Never but for a bug: the names are literals.
    pub(super) fn new() -> prometheus::Result<Self> {
        let desc = |(name, help): (&str, &str)| Desc::new(name.into(), help.into(), Vec::new(), HashMap::new());
        let all = [CPU_SECONDS, RESIDENT_BYTES, OPEN_FDS, MAX_FDS, START_SECONDS];
        Ok(ProcessMetrics {
            descs: all.into_iter().map(desc).collect::<prometheus::Result<_>>()?,
            start: start_seconds(),
        })
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let gauges = [
            (RESIDENT_BYTES, resident_bytes()),
            (OPEN_FDS, open_fds()),
            (MAX_FDS, max_fds()),
            (START_SECONDS, self.start),
        ];
        let gauges = gauges.into_iter().filter_map(|((name, help), value)| {
            let gauge = Gauge::new(name, help).ok()?;
            gauge.set(value?);
            Some(gauge.collect())
        });
        // Made anew for each answer, so two at once cannot both add what has come since the last.
        let cpu = Counter::new(CPU_SECONDS.0, CPU_SECONDS.1).ok().map(|counter| {
            counter.inc_by(seconds(clock_gettime(ClockId::ProcessCPUTime)));
            counter.collect()
        });
        gauges.chain(cpu).flatten().collect()
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "seconds and nanoseconds fit a double to the microsecond"
)]
fn seconds(time: Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53 bytes")]
fn resident_bytes() -> Option<f64> {
    let pages: usize = fs::read_to_string("/proc/self/statm")
        .ok()?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some((pages * rustix::param::page_size()) as f64)
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53 descriptors")]
fn open_fds() -> Option<f64> {
    // The listing itself is one.
    fs::read_dir("/proc/self/fd")
        .ok()
        .map(|entries| entries.count().saturating_sub(1) as f64)
}

/// `None` where there is no limit.
#[expect(clippy::cast_precision_loss, reason = "below 2^53 descriptors")]
fn max_fds() -> Option<f64> {
    getrlimit(Resource::Nofile).current.map(|limit| limit as f64)
}

/// From the time since the machine was booted, because that of the boot itself is hidden from a hardened service.
#[expect(clippy::cast_precision_loss, reason = "below 2^53 ticks of the clock")]
fn start_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the process may hold spaces and parentheses.
    let (_, after_name) = stat.rsplit_once(") ")?;
    let started_ticks: u64 = after_name.split(' ').nth(FIELDS_BEFORE_START)?.parse().ok()?;
    let started_after_boot = started_ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
    let now_after_boot = seconds(clock_gettime_dynamic(DynamicClockId::Boottime).ok()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(now - (now_after_boot - started_after_boot))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str) -> f64 {
        let families = ProcessMetrics::new().unwrap().collect();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let metric = &family.get_metric()[0];
        metric.get_gauge().get_value() + metric.get_counter().get_value()
    }

    #[test]
    fn process_is_told_as_it_is() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        // The tests of one binary take minutes at most; the kernel's clock counts hundredths of a second.
        let started = value(START_SECONDS.0);
        assert!((now - 3600.0..=now + 0.02).contains(&started), "{started} at {now}");
        let resident = value(RESIDENT_BYTES.0);
        assert!((1e6..1e11).contains(&resident), "{resident} bytes");
        let before = value(CPU_SECONDS.0);
        let mut sum = 0_u64;
        while value(CPU_SECONDS.0) - before < 0.005 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let after = value(CPU_SECONDS.0);
        assert!(before > 0.0 && after - before < 60.0, "{before} s, then {after} s");
    }

    #[test]
    fn descriptors_are_counted_without_the_count_itself() {
        let entries = || fs::read_dir("/proc/self/fd").unwrap().count() as f64 - 1.0;
        // Other tests open files at the same time.
        let found = (0..1000).any(|_| {
            let before = entries();
            let counted = value(OPEN_FDS.0);
            before == counted && entries() == before
        });
        assert!(found);
        assert!(value(MAX_FDS.0) >= value(OPEN_FDS.0));
    }
}
