//! What a tick costs before any network: `cargo bench --bench pipeline [-- --ticks DIR]`.
//!
//! Prints one JSON object per part and instrument: nanoseconds of one core per tick, in the best of several rounds over the
//! whole recording. Without `--ticks`, a synthetic market is taken.

#![expect(clippy::expect_used, reason = "a bench that cannot go on says why and ends")]

#[expect(dead_code, reason = "the peak of products is the kernel's bench's")]
mod timing;

use std::hint::black_box;
use std::path::PathBuf;

use serde_json::json;
use tapewatch::config::Config;
use tapewatch::offline::market::{self, MarketConfig};
use tapewatch::offline::tick_files::{RecordedTick, Recording};
use tapewatch::pipeline::feature::{FeatureRow, FeatureState};
use tapewatch::pipeline::guard::{GuardConfig, GuardState};
use tapewatch::pipeline::scaler::InputTransform;
use tapewatch::pipeline::tick::{InstrumentTicks, Tick};
use tapewatch::pipeline::tick_reader::{TickBounds, TickReader};
use tapewatch::pipeline::time::{ArrivalTime, EventTime};
use timing::Timing;

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let config = Config::from_toml("").expect("the defaults are sound");
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let recordings = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--ticks"), Some(folder)) => recorded(&config, folder.into()),
        (None, None) => market::generate(&MarketConfig {
            instruments: 4,
            ticks: 200_000,
            seed: 1,
            start: EventTime(1_700_000_000_000_000_000),
        }),
        _ => panic!("usage: cargo bench --bench pipeline [-- --ticks DIR]"),
    };
    for InstrumentTicks { instrument, ticks } in &recordings {
        let rows: Vec<_> = rows_of(ticks).collect();
        let transform = InputTransform::fit(&rows);
        let cases: [(&str, &dyn Fn()); 4] = [
            ("features", &|| keep(rows_of(ticks))),
            ("guards", &|| guard(&config.guards, ticks)),
            ("features+guards", &|| {
                guard(&config.guards, ticks);
                keep(rows_of(ticks));
            }),
            ("input transform", &|| keep(rows.iter().map(|row| transform.apply(row)))),
        ];
        for (part, run) in cases {
            let nanos = Timing::default().best(&mut || run()) * 1e9 / ticks.len() as f64;
            let line = json!({"instrument": instrument, "part": part, "ns_per_tick": nanos.round()});
            println!("{line}");
        }
    }
}

fn recorded(config: &Config, folder: PathBuf) -> Vec<InstrumentTicks> {
    let recording = Recording::open(&[folder], &config.decode, &mut |_| {}).expect("a folder of ticks");
    let mut reader = TickReader::new(TickBounds::UNBOUNDED);
    let push = |recorded: RecordedTick<'_>| reader.push(recorded.instrument, recorded.tick);
    recording.read(push).expect("files of ticks");
    reader.finish().instruments
}

fn keep(rows: impl Iterator<Item = FeatureRow>) {
    for row in rows {
        black_box(row);
    }
}

fn rows_of(ticks: &[Tick]) -> impl Iterator<Item = FeatureRow> {
    let mut state = FeatureState::default();
    ticks.iter().filter_map(move |tick| state.observe(tick))
}

fn guard(config: &GuardConfig, ticks: &[Tick]) {
    let mut state = GuardState::default();
    for tick in ticks {
        black_box(state.observe(config, tick, ArrivalTime(tick.event_time.0)).is_repeated);
    }
}
