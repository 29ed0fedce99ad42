//! Rules about the source itself: who imports whom, where `unsafe` may stand, how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file before its tests: about what one sitting can hold, with a little slack for doc comments.
const FILE_LINES_MAX: usize = 520;

/// What a room may import of ours. Rooms that bring others together are not listed; the graph must be acyclic anyway.
const IMPORTS: [(&str, &[&str]); 7] = [
    ("pipeline", &[]),
    ("inject", &["pipeline"]),
    ("model", &["pipeline"]),
    ("train", &["pipeline", "inject", "model"]),
    ("kafka", &["pipeline"]),
    ("http", &["metrics", "pipeline", "status"]),
    ("offline", &["pipeline", "inject", "model", "train", "config"]),
];

/// What a room that computes alone must not know.
const IMPURE: &[&str] = &[
    "tokio",
    "rdkafka",
    "candle_core",
    "candle_nn",
    "axum",
    "tracing",
    "std::fs",
    "std::net",
    "std::thread",
];

/// Crates that a room must not know.
const FOREIGN: [(&str, &[&str]); 4] = [
    ("pipeline", IMPURE),
    ("inject", IMPURE),
    ("model", &["tokio", "rdkafka", "axum", "tracing"]),
    ("train", &["tokio", "rdkafka", "axum"]),
];

/// One file of ours.
struct Source {
    path: PathBuf,
    /// The top-level module that it belongs to.
    room: String,
    text: String,
    /// Lines before its tests.
    lines: Vec<String>,
}

impl Source {
    /// Lines before the tests, without comments.
    fn code(&self) -> impl Iterator<Item = &str> {
        self.lines
            .iter()
            .map(|line| line.split("//").next().unwrap_or_default())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `src` but those that hold tests alone.
fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(source(path));
            }
        }
    }
    assert!(sources.len() > 50, "{} files", sources.len());
    sources
}

fn source(path: PathBuf) -> Source {
    let text = fs::read_to_string(&path).unwrap();
    let within = path.strip_prefix(root().join("src")).unwrap();
    let first = within.components().next().unwrap().as_os_str().to_str().unwrap();
    let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
    let lines = text.lines().take_while(|line| !is_test && *line != "#[cfg(test)]");
    Source {
        room: first.trim_end_matches(".rs").to_owned(),
        lines: lines.map(str::to_owned).collect(),
        text,
        path,
    }
}

/// The names after `crate::` in a line: `crate::a`, and both of `crate::{a, b::c}`.
fn imports_of(line: &str) -> Vec<String> {
    let name = |text: &str| {
        let end = text
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        text[..end].to_owned()
    };
    let mut names = Vec::new();
    for after in line.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => names.extend(
                list.split('}')
                    .next()
                    .unwrap_or_default()
                    .split(',')
                    .map(|part| name(part.trim())),
            ),
            None => names.push(name(after)),
        }
    }
    names
}

/// Room → rooms that it imports, the library's own root left out.
fn graph() -> BTreeMap<String, BTreeSet<String>> {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources()
        .iter()
        .filter(|source| source.room != "lib" && source.room != "main")
    {
        let imports = graph.entry(source.room.clone()).or_default();
        imports.extend(source.code().flat_map(imports_of).filter(|name| *name != source.room));
    }
    graph
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let graph = graph();
    for (room, allowed) in IMPORTS {
        let found = graph.get(room).unwrap_or_else(|| panic!("no room {room}"));
        let more: Vec<_> = found.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(more.is_empty(), "{room} imports {more:?}");
    }
    for (room, imports) in &graph {
        assert!(!imports.contains("cli"), "{room} imports cli");
    }
}

#[test]
fn rooms_know_no_crate_that_is_none_of_their_business() {
    for source in sources() {
        for (room, crates) in FOREIGN {
            for line in source.code().filter(|_| source.room == room) {
                let used = crates.iter().find(|name| line.contains(&format!("{name}::")));
                assert!(used.is_none(), "{}: {line}", source.path.display());
            }
        }
    }
}

#[test]
fn imports_have_no_cycle() {
    let mut graph = graph();
    // Rooms without imports are taken away until none is left; what cannot be taken away is a cycle.
    while !graph.is_empty() {
        let free: Vec<String> = graph
            .iter()
            .filter(|(_, imports)| !imports.iter().any(|name| graph.contains_key(name)))
            .map(|(room, _)| room.clone())
            .collect();
        assert!(!free.is_empty(), "rooms that import each other: {graph:?}");
        free.iter().for_each(|room| drop(graph.remove(room)));
    }
}

#[test]
fn unsafe_stands_in_the_kernels_file_alone() {
    // With hyphens in words, since `unsafe-inline` is a word of HTML.
    let is_word = |line: &str| {
        line.split(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c))
            .any(|word| word == "unsafe")
    };
    for source in sources() {
        let allowed = source.path.ends_with("model/kernel/simd.rs");
        assert!(allowed || !source.code().any(is_word), "{}", source.path.display());
    }
}

#[test]
fn files_are_short_and_begin_by_saying_what_they_are() {
    for source in sources() {
        let path = source.path.display();
        let lines = source.lines.len();
        assert!(lines <= FILE_LINES_MAX, "{path}: {lines} lines before its tests");
        assert!(source.text.starts_with("//! "), "{path} does not begin with //!");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let unfinished = ["todo!", "unimplemented!", "dbg!", "FIXME", "XXX"];
    for source in sources() {
        let found = unfinished.iter().find(|mark| source.text.contains(**mark));
        assert!(found.is_none(), "{}: {found:?}", source.path.display());
    }
}

#[test]
fn commands_of_the_readme_exist() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    if readme.trim().is_empty() {
        return;
    }
    // The lines of its shell blocks: one command to see it run, one to test it.
    let shell: Vec<&str> = readme.lines().map(str::trim).collect();
    for command in ["cargo run --release -- demo", "tests/run.sh"] {
        assert!(shell.contains(&command), "the README does not name {command}");
    }
    assert!(root().join("tests/run.sh").is_file());
}
