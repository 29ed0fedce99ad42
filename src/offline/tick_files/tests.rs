//! Files of ticks as people have them.

use std::io::Write;

use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::pipeline::decode::DecodeConfig;

const HEADER: &str = "ts_ns,instrument,kind,price,size,bid,ask,bid_size,ask_size\n";

/// A day of stamps, so that files can be of different days (nanoseconds).
const DAY: i64 = 86_400_000_000_000;
const START: i64 = 1_700_000_000_000_000_000;

fn trade(instrument: &str, stamp: i64) -> String {
    format!("{},{instrument},trade,100,1,,,,\n", START + stamp)
}

/// `ticks` trades, one a second, from day number `day` on.
fn day(instrument: &str, day: i64, ticks: i64) -> String {
    (0..ticks)
        .map(|tick| trade(instrument, day * DAY + tick * 1_000_000_000))
        .collect()
}

fn decode() -> DecodeConfig {
    Config::from_toml("").unwrap().decode
}

fn folder(files: &[(&str, String)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn file(lines: impl AsRef<str>) -> String {
    HEADER.to_owned() + lines.as_ref()
}

fn open(folder: &TempDir) -> Result<Recording, String> {
    let recording = Recording::open(&[folder.path().into()], &decode(), &mut |_| {});
    let path = folder.path().display().to_string();
    recording.map_err(|error| error.to_string().replace(&path, "F"))
}

/// Run, instrument and stamp of every tick, as they are read.
fn read(recording: &Recording) -> Vec<(usize, String, i64)> {
    let mut ticks = Vec::new();
    recording
        .read(|recorded| {
            let time = recorded.tick.event_time.0 - START;
            ticks.push((recorded.run, recorded.instrument.to_owned(), time));
        })
        .unwrap();
    ticks
}

#[test]
fn the_name_that_counts_is_the_columns() {
    let folder = folder(&[("BTC-USDT.csv", file(day("BTC/USDT", 0, 3)))]);
    let recording = open(&folder).unwrap();
    assert_eq!(recording.instruments(), [("BTC/USDT", 3)].into());
}

#[test]
fn a_file_may_hold_several_instruments_and_an_instrument_several_files() {
    let mixed = trade("B", 0) + &trade("A", 1) + &trade("B", 2);
    let folder = folder(&[
        // The names stand in another order than the days.
        ("1.csv", file(trade("A", 2 * DAY))),
        ("2.csv", file(trade("A", DAY) + &trade("B", DAY))),
        ("3.csv", file(mixed)),
        ("4.csv", file(trade("C", 5))),
    ]);
    let recording = open(&folder).unwrap();
    let of = |run, instrument: &str, stamp| (run, instrument.to_owned(), stamp);
    assert_eq!(
        read(&recording),
        [
            of(0, "B", 0),
            of(0, "A", 1),
            of(0, "B", 2),
            of(0, "A", DAY),
            of(0, "B", DAY),
            of(0, "A", 2 * DAY),
            of(1, "C", 5),
        ]
    );
    assert_eq!(recording.instruments(), [("A", 3), ("B", 3), ("C", 1)].into());
    assert_eq!((recording.runs(), recording.files(), recording.ticks()), (2, 4, 7));
    let span = recording.span("A").unwrap();
    assert_eq!((span.0.0 - START, span.1.0 - START), (1, 2 * DAY));
}

#[test]
fn files_of_an_instrument_that_overlap_are_refused() {
    let late = (0..20)
        .map(|tick| trade("A", tick * 1_000_000_000 + 5))
        .collect::<String>();
    for second in [day("A", 0, 20), late] {
        let folder = folder(&[("a.csv", file(day("A", 0, 20))), ("b.csv", file(second))]);
        let error = open(&folder).err().unwrap();
        assert_eq!(
            error,
            "F/a.csv and F/b.csv hold ticks of A of the same time; expected files that follow one another, or one file"
        );
    }
}

#[test]
fn one_wrong_stamp_at_an_edge_is_a_fault_of_the_feed_and_no_overlap() {
    let first = day("A", 0, 20) + &trade("A", 3 * DAY);
    let folder = folder(&[("a.csv", file(first)), ("b.csv", file(day("A", 1, 20)))]);
    assert_eq!(open(&folder).unwrap().ticks(), 41);
}

#[test]
fn a_file_that_is_sorted_in_another_way_is_refused() {
    let backwards: String = (0..50).rev().map(|tick| trade("A", tick)).collect();
    let error = open(&folder(&[("a.csv", file(backwards))])).err().unwrap();
    assert_eq!(
        error,
        "F/a.csv: 49 of 50 ticks of A have a stamp before that of the tick before; expected the order in which they came"
    );
    // Stamps that go back now and then are what a detector is for.
    let faults: String = (0..100)
        .map(|tick| trade("A", if tick % 10 == 9 { tick - 5 } else { tick }))
        .collect();
    assert_eq!(open(&folder(&[("a.csv", file(faults))])).unwrap().ticks(), 100);
}

#[test]
fn what_is_passed_over_is_named() {
    let folder = folder(&[
        ("a.csv", file(trade("A", 0))),
        ("labels.csv", "instrument,start_seq\nA,1\n".into()),
        ("empty.csv", String::new()),
        ("README.md", "hello".into()),
    ]);
    std::fs::create_dir(folder.path().join("older")).unwrap();
    let notes = open(&folder).unwrap().notes();
    let notes: Vec<String> = notes
        .iter()
        .map(|note| note.replace(&folder.path().display().to_string(), "F"))
        .collect();
    assert_eq!(
        notes,
        [
            "passed over F/README.md: its name does not end in .csv or .csv.gz",
            "passed over F/empty.csv: its first line is empty",
            "passed over F/labels.csv: its header is \"instrument,start_seq\"",
            "passed over F/older: a folder",
        ]
    );
}

#[test]
fn a_folder_without_ticks_says_what_it_holds_instead() {
    assert_eq!(
        open(&folder(&[])).err().unwrap(),
        "F holds no file of ticks (.csv or .csv.gz); it is empty"
    );
    assert_eq!(
        open(&folder(&[("a.csv", "time,price\n1,2\n".into())])).err().unwrap(),
        "F holds no file of ticks (.csv or .csv.gz); passed over F/a.csv: its header is \"time,price\""
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_not_passed_over() {
    let folder = folder(&[("a.csv", file(trade("A", 0))), ("b.csv.gz", "no gzip".into())]);
    let error = open(&folder).err().unwrap();
    assert!(error.starts_with("cannot read F/b.csv.gz: "), "{error}");
    // One that was cut off in the middle, too.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(file(day("B", 0, 500)).as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    std::fs::write(folder.path().join("b.csv.gz"), &packed[..packed.len() / 2]).unwrap();
    let error = open(&folder).err().unwrap();
    assert!(error.starts_with("cannot read F/b.csv.gz: "), "{error}");
}

#[test]
fn lines_that_are_no_ticks_are_told_and_more_than_a_hundredth_of_them_is_refused() {
    let with = |bad: usize| {
        let lines = day("A", 0, 200 - bad as i64) + &"nonsense\n".repeat(bad);
        folder(&[("a.csv", file(lines))])
    };
    let few = with(2);
    let recording = open(&few).unwrap();
    assert_eq!(recording.ticks(), 198);
    let note = recording.notes().pop().unwrap();
    assert!(
        note.contains("a.csv: left out 2 of 200 lines that are no ticks; the first is line 200: not CSV"),
        "{note}"
    );
    assert_eq!(read(&recording).len(), 198);
    let mut lines = 0;
    recording
        .read_lines(|instrument, _| lines += usize::from(instrument == "A"))
        .unwrap();
    assert_eq!(lines, 198);
    let error = open(&with(3)).err().unwrap();
    assert!(
        error.starts_with("F/a.csv: 3 of 200 lines are no ticks, more than 1 %; the first is line 199: not CSV"),
        "{error}"
    );
}

#[test]
fn blank_lines_and_the_ends_of_windows_lines_are_nothing() {
    let lines = format!("\n{}\r\n  \n{}\n\n", trade("A", 0).trim_end(), trade("A", 1).trim_end());
    let recording = open(&folder(&[("a.csv", "\u{feff}".to_owned() + &file(lines))])).unwrap();
    assert_eq!(recording.ticks(), 2);
    assert_eq!(recording.notes(), Vec::<String>::new());
}

#[test]
fn a_file_given_by_name_must_be_one_of_ticks() {
    let folder = folder(&[("a.txt", "time,price\n".into())]);
    let path = folder.path().join("a.txt");
    let error = Recording::open(&[path], &decode(), &mut |_| {})
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("a.txt: expected the header ts_ns,instrument,"),
        "{error}"
    );
    let error = Recording::open(&["/dev/null".into()], &decode(), &mut |_| {})
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("/dev/null: this is no regular file"),
        "{error}"
    );
}
