//! What a training takes: the peak memory of the real program, read from the system.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tapewatch::config::Config;
use tapewatch::pipeline::tick::{InstrumentTicks, Tick};
use tapewatch::train::trainer::TrainingConfig;

use crate::cli::write_ticks;
use crate::market;

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
