//! Records as venues write them, read by the layouts that are built in and by rules: `tests/data/feeds/*.feed`.
//!
//! A file begins with its configuration, behind `%`. Then come records, one on a line, each with what it must be read as
//! behind `=`, one line for each item. `>` sets the key of the records that follow. The messages are written for these
//! tests, in the shapes that the venues document.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tapewatch::config::{Config, presets};
use tapewatch::pipeline::decode::{Decoder, Item, OddFields, Sides, What};
use tapewatch::pipeline::input::Record;
use tapewatch::pipeline::tick::{Body, Tick};
use tapewatch::pipeline::time::{ArrivalTime, EventTime};

use crate::process::expect;

/// The stamp of every record: 2026-09-21T14:30:00Z.
const ARRIVAL: i64 = 1_790_001_000_000_000_000;

/// A file of records, each with what it must be read as.
struct Feed {
    name: String,
    config: Config,
    records: Vec<(Option<String>, String, Vec<String>)>,
}

fn feeds() -> Vec<Feed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/feeds");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (mut config, mut key, mut records) = (String::new(), None, Vec::new());
        for line in fs::read_to_string(path).unwrap().lines() {
            let of = |mark: &str| {
                line.strip_prefix(mark)
                    .map(|rest| rest.strip_prefix(' ').unwrap_or(rest).to_owned())
            };
            if let Some(rest) = of("%") {
                config += &format!("{rest}\n");
            } else if let Some(rest) = of(">") {
                key = Some(rest);
            } else if let Some(rest) = of("=") {
                let (_, _, expected): &mut (_, _, Vec<String>) = records.last_mut().unwrap();
                expected.push(rest);
            } else {
                records.push((key.clone(), line.to_owned(), Vec::new()));
            }
        }
        let config = Config::from_toml(&config).unwrap_or_else(|error| panic!("{name}: {error}"));
        Feed { name, config, records }
    };
    paths.iter().map(read).collect()
}

fn stamp(time: EventTime) -> String {
    match time.0 {
        ARRIVAL => "arrival".into(),
        _ => time.to_string(),
    }
}

fn level(price: Option<f64>, size: Option<f64>) -> String {
    let price = price.map_or_else(|| "-".into(), |price| price.to_string());
    size.map_or_else(|| price.clone(), |size| format!("{price} × {size}"))
}

fn body(tick: &Tick) -> String {
    let sequence = tick
        .sequence
        .map_or_else(String::new, |sequence| match sequence.written() {
            Some(number) => format!(" #{number}"),
            None => " #text".into(),
        });
    match tick.body {
        Body::Trade(trade) => format!("{}{sequence}", level(Some(trade.price), trade.size)),
        Body::Quote(quote) => format!(
            "{} / {}{sequence}",
            level(Some(quote.bid), quote.bid_size),
            level(Some(quote.ask), quote.ask_size)
        ),
    }
}

fn sides(sides: Option<Sides>) -> String {
    sides.map_or_else(
        || "a trade of nothing".into(),
        |sides| {
            format!(
                "{} / {}",
                level(sides.bid, sides.bid_size),
                level(sides.ask, sides.ask_size)
            )
        },
    )
}

fn text(item: &Item<'_>) -> String {
    let odd_text = |odd: OddFields| match odd.is_empty() {
        true => String::new(),
        false => format!(" odd {}", odd.names().collect::<Vec<_>>().join(",")),
    };
    match &item.what {
        What::Tick { instrument, tick, odd } => {
            let kind = if tick.is_trade() { "trade" } else { "quote" };
            format!(
                "{kind} {instrument} {} {}{}",
                stamp(tick.event_time),
                body(tick),
                odd_text(*odd)
            )
        }
        What::Incomplete {
            instrument,
            event_time,
            sides: of,
            odd,
        } => format!(
            "incomplete {instrument} {} {}{}",
            stamp(*event_time),
            sides(*of),
            odd_text(*odd)
        ),
        What::Ignored => "ignored".into(),
        What::Bad(error) => format!("bad {}", error.reason()),
    }
}

#[test]
fn records_are_read_as_their_files_say() {
    let mut problems = String::new();
    for feed in feeds() {
        let decoder = Decoder::new(&feed.config.decode, &feed.config.input.topics).unwrap();
        for (key, payload, expected) in &feed.records {
            let record = Record {
                arrival_time: ArrivalTime(ARRIVAL),
                key: key.as_deref().map(str::as_bytes),
                ..Record::of_line(payload.as_bytes())
            };
            let mut got = Vec::new();
            decoder.decode(&record, &mut |item| got.push(text(&item)));
            if got != *expected {
                let got = got.join("\n= ");
                problems += &format!("{}:\n{payload}\n= {got}\n", feed.name);
            }
        }
    }
    assert!(
        problems.is_empty(),
        "records that are read as something else:\n{problems}"
    );
}

#[test]
fn every_preset_is_tried() {
    let tried: BTreeSet<String> = feeds().into_iter().map(|feed| feed.name).collect();
    for (name, _) in presets::PRESETS {
        assert!(tried.contains(name), "{name} has no file in tests/data/feeds");
    }
}

#[test]
fn a_sample_shows_what_each_record_is_read_as_and_ends_with_1_where_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let trade = r#"{"stream":"adausdt@trade","data":{"e":"trade","s":"ADAUSDT","t":71,"p":"0.4513","q":"x","T":1790000000120}}"#;
    let quote = r#"{"stream":"adausdt@bookTicker","data":{"u":4,"s":"ADAUSDT","b":"0","B":"0","a":"0.5","A":"2","T":1790000000121}}"#;
    let error = r#"{"code":-1121,"msg":"Invalid symbol."}"#;
    write("sound.jsonl", &format!("{trade}\n\n{quote}\n"));
    write("mixed.jsonl", &format!("K|{trade}\nK|{error}\n"));
    write("tapewatch.toml", "[decode]\npreset = \"binance\"");
    let check = |code, more: &[&str]| {
        let arguments = [&["check", "--config", "tapewatch.toml"][..], more].concat();
        expect(folder.path(), code, &arguments).stdout
    };
    let sound = check(0, &["--sample", "sound.jsonl"]);
    for line in [
        "    trade ADAUSDT 2026-09-21T14:13:20.12Z price 0.4513 sequence 71  [trade]  (odd: size)\n",
        "3: {\"stream\":\"adausdt@bookTicker\"",
        "    incomplete ADAUSDT 2026-09-21T14:13:20.121Z no bid, ask 0.5 × 2  [bookTicker]\n",
        "1 ticks without their size, which could not be read\n",
        "2 records, 0 of them refused\n",
    ] {
        assert!(sound.contains(line), "{line} in {sound}");
    }
    let mixed = check(1, &["--sample", "mixed.jsonl", "--key-separator", "|"]);
    let line = "    refused (unmatched): no rule reads it: {\"code\":-1121,\"msg\":\"Invalid symbol.\"}\n";
    assert!(mixed.contains(line), "{mixed}");
    check(
        0,
        &[
            "--sample",
            "mixed.jsonl",
            "--key-separator",
            "|",
            "--refused-share-max",
            "0.5",
        ],
    );
    assert!(check(0, &["--preset", "okx"]).contains("name = \"bbo-tbt\""));
    expect(folder.path(), 2, &["check", "--preset", "nobody"]);
}
