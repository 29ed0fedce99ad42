//! `/status?instruments=learning&page=0`: names of instruments, a page at a time.

use std::sync::Arc;

use serde::Serialize;

use crate::pipeline::alert::Mode;

/// Names on one page: what a person looks through, and a few kilobytes.
const PAGE_NAMES: usize = 200;

/// What a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Instruments of this mode.
    pub mode: Mode,
    /// Page, from 0.
    pub page: usize,
}

/// One page of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Page {
    mode: &'static str,
    /// Instruments of this mode on all pages.
    instruments: usize,
    /// This page, from 0.
    page: usize,
    /// Pages that there are.
    pages: usize,
    names: Vec<Arc<str>>,
}

/// Reads a query; nothing is asked for where `instruments` is missing.
///
/// # Errors
/// A text that says what was expected.
pub(super) fn asked(query: &str) -> Result<Option<Asked>, String> {
    let (mut mode, mut page) = (None, 0);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("instruments", "learning") => mode = Some(Mode::Learning),
            ("instruments", "scoring") => mode = Some(Mode::Scoring),
            ("instruments", _) => return Err("instruments: expected learning or scoring".into()),
            ("page", number) => {
                page = number
                    .parse()
                    .map_err(|_| "page: expected a whole number from 0".to_string())?;
            }
            (other, _) => return Err(format!("{other}: expected instruments or page")),
        }
    }
    Ok(mode.map(|mode| Asked { mode, page }))
}

/// Gives one page of the names of a mode; one past the last is empty.
pub(super) fn page_of(names: &[Arc<str>], mode: Mode, page: usize) -> Page {
    let on_page = names.chunks(PAGE_NAMES).nth(page).unwrap_or_default();
    Page {
        mode: mode.name(),
        instruments: names.len(),
        page,
        pages: names.len().div_ceil(PAGE_NAMES),
        names: on_page.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_is_read_and_what_is_unknown_is_named() {
        assert_eq!(asked(""), Ok(None));
        let mode = Mode::Learning;
        assert_eq!(asked("instruments=learning"), Ok(Some(Asked { mode, page: 0 })));
        assert_eq!(asked("page=3&instruments=learning"), Ok(Some(Asked { mode, page: 3 })));
        for (query, problem) in [
            ("instruments=all", "learning or scoring"),
            ("page=-1", "whole number"),
            ("x=1", "x: "),
        ] {
            let error = asked(query).unwrap_err();
            assert!(error.contains(problem), "{query}: {error}");
        }
    }

    #[test]
    fn every_name_is_on_one_page_and_no_page_holds_more_than_200() {
        let names: Vec<Arc<str>> = (0..401).map(|index| format!("{index:03}").into()).collect();
        let pages: Vec<Page> = (0..3).map(|page| page_of(&names, Mode::Scoring, page)).collect();
        let lengths: Vec<usize> = pages.iter().map(|page| page.names.len()).collect();
        assert_eq!(lengths, [200, 200, 1]);
        assert!(pages.iter().all(|page| (page.pages, page.instruments) == (3, 401)));
        assert_eq!(pages.into_iter().flat_map(|page| page.names).collect::<Vec<_>>(), names);
        assert!(page_of(&names, Mode::Scoring, usize::MAX).names.is_empty());
    }
}
