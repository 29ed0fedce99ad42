//! Rules about the source itself: who imports whom, where `unsafe` may stand, how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file before its tests: about what one sitting can hold, with a little slack for doc comments.
const FILE_LINES_MAX: usize = 520;

/// What a room that computes alone must not know.
const IMPURE: [&str; 4] = ["std::fs", "std::net", "std::thread", "tracing"];

/// Rooms that compute alone; the last two may use threads.
const PURE: [&str; 4] = ["pipeline", "inject", "model", "train"];

/// Crates that are not ours, each with the rooms that may know it.
const FOREIGN: [(&str, &[&str]); 10] = [
    ("candle_core", &["model", "train"]),
    ("candle_nn", &["model", "train"]),
    ("rdkafka", &["kafka", "worker", "demo"]),
    ("tokio", &["daemon", "http"]),
    ("axum", &["http"]),
    ("maud", &["offline"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
    ("indicatif", &["cli"]),
    ("tempfile", &["store"]),
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

/// Room → what it may import, as the table in the architecture text says.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let names = |cell: &str| {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let row = |line: &str| {
        let cells: Vec<&str> = line.strip_prefix("//! | `")?.trim_end_matches('|').split('|').collect();
        let [room, imports] = cells[..] else { return None };
        let room = room.trim().trim_matches('`').to_owned();
        Some((room, names(imports).into_iter().collect()))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn rooms_import_only_what_the_table_of_the_architecture_allows() {
    let (graph, table) = (graph(), table());
    let rooms = |of: &BTreeMap<String, BTreeSet<String>>| of.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(rooms(&graph), rooms(&table), "every room has a row");
    for (room, found) in graph {
        assert_eq!(found, table[&room], "{room}: what it imports, and its row");
    }
}

#[test]
fn rooms_know_no_crate_that_is_none_of_their_business() {
    for source in sources() {
        let knows = |name: &str| source.code().any(|line| line.contains(&format!("{name}::")));
        let path = source.path.display();
        for (name, rooms) in FOREIGN {
            assert!(
                rooms.contains(&source.room.as_str()) || !knows(name),
                "{path} knows {name}"
            );
        }
        for name in IMPURE {
            let is_pure = PURE.contains(&source.room.as_str());
            assert!(!is_pure || !knows(name), "{path} knows {name}");
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

/// The name of the module that a file is, from the root: `["pipeline", "guard", "prices"]`.
fn module_of(path: &Path) -> Vec<String> {
    let within = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    let names = within
        .components()
        .map(|part| part.as_os_str().to_str().unwrap().to_owned());
    names.filter(|name| name != "mod").collect()
}

/// Reads the paths of a `use` tree, or the one path of an expression, from just behind its first `::`.
fn tree(text: &str, base: &[String], out: &mut Vec<Vec<String>>) -> usize {
    let skip = |from: usize| from + text[from..].len() - text[from..].trim_start().len();
    let start = skip(0);
    if text[start..].starts_with('{') {
        let mut at = start + 1;
        loop {
            at = skip(at);
            match text[at..].chars().next() {
                Some('}') => return at + 1,
                Some(',') => at += 1,
                Some(_) => {
                    let read = tree(&text[at..], base, out);
                    at += read.max(1);
                }
                None => return at,
            }
        }
    }
    let end = start
        + text[start..]
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len() - start);
    let name = &text[start..end];
    let path = match name {
        "super" => base[..base.len().saturating_sub(1)].to_vec(),
        "self" => base.to_vec(),
        _ => [base, &[name.to_owned()]].concat(),
    };
    match text[end..].strip_prefix("::") {
        Some(rest) if !name.is_empty() => end + 2 + tree(rest, &path, out),
        _ => {
            out.push(path);
            end
        }
    }
}

/// The modules that a file's code names, as far as they are files.
fn files_named(source: &Source, known: &BTreeSet<Vec<String>>) -> BTreeSet<Vec<String>> {
    let own = module_of(&source.path);
    let code = source.code().collect::<Vec<_>>().join("\n");
    let mut paths = Vec::new();
    for (word, base) in [
        ("crate::", Vec::new()),
        ("super::", own[..own.len() - 1].to_vec()),
        ("self::", own.clone()),
    ] {
        for (at, _) in code.match_indices(word) {
            let before = code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_' && c != ':') {
                tree(&code[at + word.len()..], &base, &mut paths);
            }
        }
    }
    let file_of = |path: Vec<String>| {
        (1..=path.len())
            .rev()
            .map(|n| path[..n].to_vec())
            .find(|path| known.contains(path))
    };
    paths.into_iter().filter_map(file_of).collect()
}

#[test]
fn files_within_a_room_have_no_cycle() {
    let sources: Vec<Source> = sources()
        .into_iter()
        .filter(|source| !source.path.ends_with("tests.rs"))
        .collect();
    let known: BTreeSet<Vec<String>> = sources.iter().map(|source| module_of(&source.path)).collect();
    let mut graph: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for source in &sources {
        let own = module_of(&source.path);
        let mut named = files_named(source, &known);
        // A module and those within it are one thing.
        named.retain(|other| other[0] == own[0] && !other.starts_with(&own) && !own.starts_with(other));
        graph.insert(own, named);
    }
    assert!(
        graph.values().map(BTreeSet::len).sum::<usize>() > 200,
        "imports were read"
    );
    loop {
        let free: Vec<Vec<String>> = graph
            .iter()
            .filter(|(_, named)| !named.iter().any(|name| graph.contains_key(name)))
            .map(|(file, _)| file.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|file| drop(graph.remove(file)));
    }
    let left: Vec<String> = graph
        .iter()
        .map(|(file, named)| format!("{file:?} → {named:?}"))
        .collect();
    assert!(left.is_empty(), "files that know each other:\n{}", left.join("\n"));
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
fn a_package_holds_every_file_that_is_compiled_in() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let listed = std::process::Command::new(cargo)
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed: BTreeSet<PathBuf> = String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .map(PathBuf::from)
        .collect();
    let mut compiled_in = 0;
    for source in sources() {
        let code = source.code().collect::<Vec<_>>().join("\n");
        for word in ["include_str!(\"", "include_bytes!(\""] {
            for (_, after) in code.match_indices(word).map(|(at, _)| code[at..].split_at(word.len())) {
                let named = source.path.parent().unwrap().join(after.split('"').next().unwrap());
                let named = named.canonicalize().unwrap();
                let within = named.strip_prefix(root()).unwrap();
                assert!(listed.contains(within), "{} is not packed", within.display());
                compiled_in += 1;
            }
        }
    }
    assert!(compiled_in >= 4, "{compiled_in}");
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
