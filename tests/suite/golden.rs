//! The golden alerts: a run whose every byte is known, on every machine.
//!
//! The model's weights are drawn, not trained, since training sums in an order that depends on the machine's cores; its
//! calibration is fitted, by the code at work. `TAPEWATCH_REGENERATE=1 cargo test --release --test suite golden` writes
//! `tests/data/golden/alerts.jsonl` anew, which a commit that means to change alerts does, and says why.

use std::path::Path;

use crate::market::{self, run};

/// Alerts of two deterministic runs on one market with faults: by a model calibrated on another, and by guards alone.
pub fn alerts() -> [Vec<Vec<u8>>; 2] {
    let config = market::config();
    let artifact = market::seeded(&config, &market::ticks(3, 9000, 21), 21);
    let lines = market::lines(&market::with_faults(&market::ticks(4, 4000, 22), 22).0);
    [Some(artifact.model()), None].map(|model| run(&config, model, &lines, 100).alerts)
}

#[test]
fn alerts_of_a_known_run_are_the_golden_ones() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/alerts.jsonl");
    let mut found = alerts().concat().join(&b'\n');
    found.push(b'\n');
    let found = String::from_utf8(found).unwrap();
    if std::env::var("TAPEWATCH_REGENERATE").is_ok_and(|value| value == "1") {
        std::fs::write(&path, &found).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (found, golden)) in found.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, golden, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(found.lines().count(), golden.lines().count());
    assert!(golden.contains(r#""state":"opened""#) && golden.contains(r#""state":"resolved""#));
    assert!(golden.contains(r#""arm":"guard""#) && golden.contains(r#""kind":"anomaly""#));
}
