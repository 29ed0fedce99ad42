//! The name that somebody meant who wrote another.

/// How alike two names must be (Jaro-Winkler, 0–1). At this, `wrkers` is taken for `workers` and `topic` for `topics`, and
/// two names of the configuration are rarely taken for each other.
const LIKENESS_MIN: f64 = 0.85;

/// Gives the candidate that is most like `written`, if one is like enough.
pub(super) fn nearest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate| (strsim::jaro_winkler(written, candidate), candidate);
    let best = candidates
        .map(likeness)
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)));
    best.filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_understood_and_another_word_is_not() {
        let keys = ["workers", "drain_secs", "stall_secs", "commit_interval_ms"];
        let found = |written| nearest(written, keys.into_iter());
        assert_eq!(found("wrkers"), Some("workers"));
        assert_eq!(found("worker"), Some("workers"));
        assert_eq!(found("drain_seconds"), Some("drain_secs"));
        assert_eq!(found("brokers"), None);
        assert_eq!(found("x"), None);
    }
}
