//! No allocation per batch: once memory has grown to a batch's needs, scoring more batches asks for none.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use tapewatch::config::Config;
use tapewatch::model::kernel::scorer::KernelScorer;
use tapewatch::model::kernel::simd::Path;
use tapewatch::model::spec::{ContextKind, JudgeSpec, ModelSpec};
use tapewatch::model::weights::Weights;
use tapewatch::pipeline::batch::Batch;
use tapewatch::pipeline::decode::{Decoder, What};
use tapewatch::pipeline::feature::{FEATURES, FeatureState};
use tapewatch::pipeline::input::Record;
use tapewatch::pipeline::score::{Context, Evidence, Item, Scorer, Workspace};
use tapewatch::pipeline::window::Window;

thread_local! {
    /// How often this thread has asked for memory; other tests run beside.
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(
    unsafe_code,
    reason = "an allocator is unsafe by its trait; this one hands everything to the system's as it came"
)]
// SAFETY: every method passes its arguments unchanged to `System`, which keeps the trait's promises, and counting neither
// allocates nor unwinds: the counter is a plain number that needs no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, new_size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn count() {
    ASKED.set(ASKED.get() + 1);
}

/// Says how often `run` asks for memory.
fn asked(run: impl FnOnce()) -> u64 {
    let before = ASKED.get();
    run();
    ASKED.get() - before
}

/// Models with every part that a scorer has.
fn specs(context: ContextKind) -> Vec<ModelSpec> {
    let judged = ModelSpec {
        context,
        judge: Some(JudgeSpec {
            hidden: [16, 8],
            row_net: true,
        }),
        ..ModelSpec::autoencoder(7, 12, 1, 6, 2)
    };
    let foretelling = ModelSpec {
        context,
        horizon: 2,
        conditioned: true,
        bottleneck: 5,
        ..ModelSpec::autoencoder(7, 12, 2, 6, 3)
    };
    let both_ways = ModelSpec {
        bidirectional: true,
        ..foretelling
    };
    match context {
        ContextKind::Window => vec![judged, foretelling, both_ways],
        ContextKind::Carried => vec![judged, foretelling],
    }
}

/// Instruments and queued rows of batches: one row, less than a block, several blocks, long queues.
const BATCHES: [(usize, usize); 5] = [(1, 1), (16, 1), (130, 1), (3, 64), (60, 5)];

/// Gives one instrument's rows of a batch; windows hold no more than T rows.
fn item<'a>(spec: &ModelSpec, numbers: &'a [f32], state: &'a mut [f32], queued: usize) -> Item<'a> {
    let (context, queued) = match spec.context {
        ContextKind::Window => {
            let before = &numbers[..(spec.lookback - 1) * spec.input_size];
            (Context::Window(before), queued.min(spec.lookback))
        }
        ContextKind::Carried => (Context::Carried(state), queued),
    };
    Item {
        context,
        rows: &numbers[..queued * spec.input_size],
    }
}

/// Scores all batches once, which grows memory, then again; says how often the second round asked for memory.
fn asked_in_steady_state(spec: &ModelSpec, path: Path) -> u64 {
    let scorer = KernelScorer::on(&Weights::seeded(*spec, 3), path);
    let (mut workspace, mut evidence) = (Workspace::default(), Evidence::default());
    let numbers: Vec<f32> = (0..100 * spec.input_size)
        .map(|i| (i % 17) as f32 / 8.0 - 1.0)
        .collect();
    let mut round = || {
        BATCHES.iter().fold(0, |sum, (instruments, queued)| {
            let mut states = vec![vec![0.0; scorer.state_len()]; *instruments];
            let items = states.iter_mut().map(|state| item(spec, &numbers, state, *queued));
            let mut items: Vec<Item<'_>> = items.collect();
            let asked = asked(|| scorer.score(&mut items, &mut workspace, &mut evidence));
            assert!(!evidence.reconstruction.is_empty());
            sum + asked
        })
    };
    assert!(round() > 0, "nothing is counted");
    round()
}

#[test]
fn scoring_asks_for_no_memory_once_it_has_grown() {
    for context in [ContextKind::Window, ContextKind::Carried] {
        for spec in specs(context) {
            for path in Path::available() {
                assert_eq!(asked_in_steady_state(&spec, path), 0, "{spec:?} on {path}");
            }
        }
    }
}

#[test]
fn gathering_and_scoring_a_batch_asks_for_no_memory_once_it_has_grown() {
    for context in [ContextKind::Window, ContextKind::Carried] {
        let spec = ModelSpec {
            context,
            ..ModelSpec::autoencoder(FEATURES, 8, 1, 4, 2)
        };
        let scorer = KernelScorer::new(&Weights::seeded(spec, 3));
        let mut window = Window::new(spec.lookback);
        (0..4).for_each(|_| window.push([0.5; FEATURES], [0.5; FEATURES]));
        let (state, features) = (vec![0.0; scorer.state_len()], FeatureState::default());
        let mut batch = Batch::default();
        let mut round = |rows: usize| {
            asked(|| {
                for row in 0..rows {
                    match context {
                        ContextKind::Window => batch.add_window(&window, features.scales(), spec.lookback),
                        ContextKind::Carried => batch.add_carried(row % 7, &state, &window, features.scales()),
                    };
                }
                batch.score(&scorer);
                batch.clear();
            })
        };
        assert!(round(100) > 0, "nothing is counted");
        assert_eq!([100, 1, 60, 99].map(&mut round), [0; 4], "{context:?}");
    }
}

/// A layout with all that a rule can ask of well-formed JSON.
const RULES: &str = r#"
[[decode.rules]]
each = "/data"
when = { "$/type" = "trade", "/ev" = ["T", "t*"] }
instrument = ["/x", ":", "/s"]
instrument_case = "upper"
time = ["/none", "/t"]
price = "/p"
size = "/q"
size_is_signed = true
sequence = "$/seq"
exclude = { "/c" = [37, "I"] }
[[decode.rules]]
when = { "/e" = "quote" }
instrument = "/id"
time = "/t"
kind = "quote"
price_decimals = 2
bid = "/bids/0/0"
ask = "/asks/0/0"
"#;

#[test]
fn decoding_well_formed_records_asks_for_no_memory() {
    let plain =
        r#"{"instrument":"ACME","ts_ns":1773239405123456789,"kind":"trade","price":101.25,"size":"300","seq":1}"#;
    let batch = r#"{"type":"trade","data":[{"ev":"T","x":"nyse","s":"abc","t":1773239405123,"p":"1.5","q":-2,"c":[1,2]},
        {"ev":"tx","x":"nyse","s":"abd","t":"1773239405.123456","p":2.5,"q":"3"}],"seq":5}"#;
    let quote = r#"{"e":"quote","id":4711,"t":"2026-03-11T14:30:05.123Z","bids":[[100,1]],"asks":[["101",2]]}"#;
    // A record whose nested values are skipped in the first walk takes a few bytes for it, once.
    for (rules, payload, ticks, most) in [("", plain, 1, 0), (RULES, batch, 2, 1), (RULES, quote, 1, 0)] {
        let config = Config::from_toml(rules).unwrap();
        let decoder = Decoder::new(&config.decode, &config.input.topics).unwrap();
        let mut read = 0;
        let asked = asked(|| {
            for _ in 0..10 {
                decoder.decode(&Record::of_line(payload.as_bytes()), &mut |item| {
                    read += usize::from(matches!(item.what, What::Tick { .. }));
                });
            }
        });
        assert_eq!(read, 10 * ticks, "{payload}");
        assert!(asked <= 10 * most, "{asked} for {payload}");
    }
}
