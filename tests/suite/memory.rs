//! What a training takes: the peak memory of the real program, read from the system.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tapewatch::config::Config;
use tapewatch::offline::replay::to_json;
use tapewatch::pipeline::tick::{InstrumentTicks, Tick};
use tapewatch::train::trainer::TrainingConfig;

use crate::cli::write_ticks;
use crate::{market, process, real_kafka, wait};

/// What the program, its libraries and the model inside it take beside a training (bytes).
const PROGRAM_BYTES: u64 = 128 << 20;

/// Makes so many instruments with so many ticks each: ten stretches of one market, each under many names.
fn instruments(count: usize, ticks_each: usize) -> Vec<InstrumentTicks> {
    const STRETCHES: usize = 10;
    let market = &market::ticks(1, STRETCHES * ticks_each, 3)[0].ticks;
    let stretches: Vec<&[Tick]> = market.chunks(ticks_each).collect();
    let named = |number: usize| InstrumentTicks {
        instrument: format!("I{number:04}"),
        ticks: stretches[number % STRETCHES].to_vec(),
    };
    (0..count).map(named).collect()
}

/// The default training with a memory budget.
fn config(memory_bytes_max: u64) -> TrainingConfig {
    let text = format!("[training]\nmemory_bytes_max = {memory_bytes_max}");
    Config::from_toml(&text).unwrap().training
}

/// Waits for a process to end; gives the highest resident memory that was read (bytes).
fn peak_bytes(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        std::thread::sleep(Duration::from_millis(20));
    }
    peak
}

/// Trains on a folder with a memory budget, on few copies: they change how long it takes, not what it holds.
fn train(folder: &Path, memory_bytes_max: u64) -> (u64, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tapewatch"))
        .args(["train", "--ticks"])
        .arg(folder)
        .arg("--output")
        .arg(folder.with_extension("safetensors"))
        .env("TAPEWATCH__TRAINING__EXPOSURE__TICKS_MAX", "400000")
        .env("TAPEWATCH__TRAINING__MEMORY_BYTES_MAX", memory_bytes_max.to_string())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let peak = peak_bytes(&mut child);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    (peak, told)
}

#[test]
#[cfg(target_os = "linux")]
fn training_on_two_million_ticks_of_a_thousand_instruments_keeps_to_its_budget() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("ticks");
    write_ticks(&folder, &instruments(1000, 2000));
    let budget = Config::from_toml("").unwrap().training.memory_bytes_max as u64;
    let (peak, told) = train(&folder, budget);
    println!("peak {} MiB of a budget of {} MiB", peak >> 20, budget >> 20);
    assert!(peak > 64 << 20, "no peak was read: {peak}");
    assert!(peak <= budget + PROGRAM_BYTES, "{} MiB", peak >> 20);
    assert!(told.contains("trained on 2000000 ticks of 1000 instruments"), "{told}");
    assert!(
        !told.contains("memory_bytes_max"),
        "the default budget holds them all: {told}"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_small_budget_does_not_hold_is_thinned_and_said() {
    const BUDGET: u64 = 64 << 20;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("ticks");
    write_ticks(&folder, &instruments(4, 20_000));
    let (peak, told) = train(&folder, BUDGET);
    println!("peak {} MiB of a budget of {} MiB", peak >> 20, BUDGET >> 20);
    assert!(peak <= BUDGET + PROGRAM_BYTES, "{} MiB", peak >> 20);
    let thinned = told.lines().find(|line| line.contains("of 80000 ticks")).unwrap();
    assert!(thinned.contains("training.memory_bytes_max"), "{told}");
    // Every instrument gives up as many.
    let kept = config(BUDGET).memory().instrument_ticks_max() * 4;
    assert!(thinned.contains(&format!("newest {kept} of")), "{told}");
    assert!(
        told.contains(&format!("trained on {kept} ticks of 4 instruments")),
        "{told}"
    );
}

/// The default daemon with an empty store: the first model from two million ticks of a thousand instruments, and all of them
/// scored. It takes a minute or two: `cargo test --release --test suite -- --ignored the_default_daemon`.
#[test]
#[ignore = "takes longer than a minute"]
#[cfg(target_os = "linux")]
fn the_default_daemon_keeps_within_a_gibibyte_with_two_million_ticks_of_a_thousand_instruments() {
    const INSTRUMENTS: usize = 1000;
    const TICKS_EACH: usize = 2000;
    const DEADLINE: Duration = Duration::from_secs(400);
    let Some(kafka) = real_kafka::start_or_skip() else {
        return;
    };
    for topic in ["ticks", "tapewatch.alerts", "tapewatch.dead-letters"] {
        kafka.create_topic(topic, 1, &[]);
    }
    let feeds = instruments(INSTRUMENTS, TICKS_EACH);
    // A hundred ticks of each in turn, as a hundred thousand records at a time.
    for start in (0..TICKS_EACH).step_by(100) {
        let json = |feed: &InstrumentTicks| {
            let ticks = &feed.ticks[start..start + 100];
            let texts = ticks.iter().map(|tick| to_json(&feed.instrument, tick).into_bytes());
            texts.collect::<Vec<_>>()
        };
        let values: Vec<Vec<u8>> = feeds.iter().flat_map(json).collect();
        let records: Vec<_> = values
            .iter()
            .map(|value| (Some(0), None, Some(value.as_slice())))
            .collect();
        kafka.produce("ticks", &records);
    }
    drop(feeds);
    let folder = tempfile::tempdir().unwrap();
    let address = wait::free_address();
    let text = format!(
        "[kafka]\nbrokers = \"{}\"\n[http]\nlisten = \"{address}\"\n",
        kafka.brokers
    );
    fs::write(folder.path().join("tapewatch.toml"), text).unwrap();
    let mut daemon = process::start(folder.path(), &["run", "--config", "tapewatch.toml"]);
    wait::until("all ticks are scored by a model of one's own", DEADLINE, || {
        assert!(daemon.is_running(), "the daemon has ended");
        let Some((_, text)) = wait::get(&address, "/metrics") else {
            return false;
        };
        let samples = wait::samples(&text);
        let records = wait::sum(&samples, "tapewatch_records_in_total");
        wait::sum(&samples, "tapewatch_model_version") > 0.0 && records == (INSTRUMENTS * TICKS_EACH) as f64
    });
    let peak = daemon.peak_bytes() >> 20;
    println!("peak {peak} MiB");
    assert!(peak < 1024, "{peak} MiB");
    daemon.terminate();
    assert_eq!(daemon.ended().code, Some(0));
}
