//! The texts for people: links lead somewhere, examples work, and what they list is what there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tapewatch::pipeline::guard::Guard;

use crate::process::expect;
use crate::schema;

/// What a newcomer reads in one go.
const README_LINES_MAX: usize = 250;

/// A file of Markdown.
struct Page {
    path: PathBuf,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &str) -> Page {
    let path = root().join(path);
    let text = fs::read_to_string(&path).unwrap();
    Page { path, text }
}

/// README, all of `docs/`, and the features' reference.
fn pages() -> Vec<Page> {
    let mut pages = vec![page("README.md"), page("config/features.md")];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).unwrap();
            pages.push(Page { path, text });
        }
    }
    assert!(pages.len() > 8, "the pages of docs/ are missing");
    pages
}

impl Page {
    /// Lines outside of code blocks.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let mut code = false;
        self.text.lines().filter(move |line| {
            let fence = line.trim_start().starts_with("```");
            code ^= fence;
            !code && !fence
        })
    }

    /// The code blocks of one language.
    fn blocks(&self, language: &str) -> Vec<String> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            let Some(of) = line.strip_prefix("```") else { continue };
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if of == language {
                blocks.push(block.join("\n"));
            }
        }
        blocks
    }

    /// What the headings are called in links, as GitHub makes it.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let heading = line.trim_start_matches('#').trim().to_lowercase();
                let kept = heading
                    .chars()
                    .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
                kept.collect::<String>().replace(' ', "-")
            })
            .collect()
    }

    /// Where links and pictures lead.
    fn links(&self) -> Vec<&str> {
        let markdown = |line| str::split(line, "](").skip(1).filter_map(|rest| rest.split(')').next());
        let html = |line| {
            [" src=\"", " srcset=\"", " href=\""]
                .into_iter()
                .flat_map(move |mark| str::split(line, mark).skip(1).filter_map(|rest| rest.split('"').next()))
        };
        self.prose()
            .flat_map(|line| markdown(line).chain(html(line)))
            .filter(|target| !target.contains("://"))
            .collect()
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut seen = 0;
    for from in pages() {
        for link in from.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                from.path.clone()
            } else {
                from.path.parent().unwrap().join(file)
            };
            let place = || format!("{}: {link}", from.path.display());
            assert!(target.exists(), "{}: no such file", place());
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let to = Page { path: target, text };
                assert!(to.anchors().contains(anchor), "{}: no such heading", place());
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} links");
}

#[test]
fn readme_is_short_and_leads_to_every_page() {
    let readme = page("README.md");
    let lines = readme.text.lines().count();
    assert!(
        lines < README_LINES_MAX,
        "the README has {lines} lines, at most {README_LINES_MAX}"
    );
    let linked: BTreeSet<PathBuf> = readme
        .links()
        .iter()
        .map(|link| root().join(link.split('#').next().unwrap()))
        .collect();
    for page in pages().iter().filter(|page| page.path != readme.path) {
        assert!(
            linked.contains(&page.path),
            "the README does not lead to {}",
            page.path.display()
        );
    }
}

/// The README's own file can be checked as it stands; so can every other example of a configuration.
#[test]
fn examples_of_configurations_are_sound() {
    let mut seen = 0;
    for page in pages() {
        for block in page.blocks("toml") {
            let folder = tempfile::tempdir().unwrap();
            // An example may name secrets of its reader's machine.
            let secret = folder.path().join("secret");
            fs::write(&secret, "secret\n").unwrap();
            let text = block.replace("/run/secrets/kafka-password", secret.to_str().unwrap());
            fs::write(folder.path().join("tapewatch.toml"), text).unwrap();
            expect(folder.path(), 0, &["check", "--config", "tapewatch.toml"]);
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} examples");
}

#[test]
fn whole_alerts_in_the_pages_validate() {
    let blocks = page("docs/alerts.md").blocks("json");
    let whole: Vec<&String> = blocks.iter().filter(|block| block.contains("\"schema\"")).collect();
    assert!(!whole.is_empty(), "docs/alerts.md has no whole alert");
    for alert in whole {
        schema::assert_valid(alert.as_bytes());
    }
}

#[test]
fn every_guard_is_in_the_page_on_detection() {
    let text = page("docs/detection.md").text;
    for guard in Guard::ALL {
        let name = guard.name();
        assert!(
            text.contains(&format!("| `{name}` |")),
            "{name} is not in docs/detection.md"
        );
    }
}

/// The table of commands names every flag of every command, by its short or its long form, and none that there is not.
#[test]
fn flags_of_the_page_on_operations_are_those_of_the_commands() {
    /// These go with every command and have a table of their own.
    const GLOBAL: [&str; 3] = ["--log-level", "--log-format", "--quiet"];
    const COMMANDS: [&str; 13] = [
        "run",
        "init",
        "completions",
        "man",
        "check",
        "demo",
        "train",
        "backtest",
        "replay",
        "generate",
        "models show",
        "models export",
        "models import",
    ];
    let text = page("docs/operations.md").text;
    for flag in GLOBAL {
        assert!(text.contains(&format!("| `{flag}")), "docs/operations.md lacks {flag}");
    }
    let folder = tempfile::tempdir().unwrap();
    for command in COMMANDS {
        let usage = format!("| `tapewatch {command} ");
        let row = text
            .lines()
            .find_map(|line| line.strip_prefix(&usage)?.split('`').next());
        let row = row.unwrap_or_else(|| panic!("docs/operations.md has no row for {command}"));
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = expect(folder.path(), 0, &arguments).stdout;
        let (_, options) = help.split_once("Options:").unwrap();
        let first_columns = options.lines().filter_map(|line| line.trim_start().split("  ").next());
        let known: Vec<Vec<&str>> = first_columns
            .filter(|column| column.starts_with('-') && !column.starts_with("- "))
            .map(flags)
            .filter(|forms| !forms.contains(&"--help") && !GLOBAL.iter().any(|flag| forms.contains(flag)))
            .collect();
        let named = flags(row);
        for forms in &known {
            assert!(
                forms.iter().any(|form| named.contains(form)),
                "tapewatch {command}: docs/operations.md lacks {forms:?}"
            );
        }
        for flag in named {
            assert!(
                known.iter().flatten().any(|form| *form == flag),
                "tapewatch {command} has no {flag}"
            );
        }
    }
}

/// What begins with a dash, in a usage or in the first column of a line of `--help`.
fn flags(text: &str) -> Vec<&str> {
    text.split([' ', '[', ']', ','])
        .filter(|word| word.starts_with('-') && word.len() > 1)
        .collect()
}
