//! Segments: the rows of long sequences that drawn windows lie in, and no others.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::pipeline::scaler::InputRow;

/// Stretches of sequences, each sequence's in order and apart.
#[derive(Debug, Default)]
pub struct Segments {
    by_sequence: BTreeMap<usize, Vec<Segment>>,
}

#[derive(Debug)]
struct Segment {
    start: usize,
    rows: Vec<InputRow>,
}

impl Segments {
    /// Keeps the rows that are `wanted`, by sequence; `inputs` makes all rows of a sequence, one sequence at a time.
    pub fn gather(
        wanted: impl Iterator<Item = (usize, Range<usize>)>,
        inputs: &dyn Fn(usize) -> Vec<InputRow>,
    ) -> Self {
        let mut by_sequence: BTreeMap<usize, Vec<Range<usize>>> = BTreeMap::new();
        for (sequence, rows) in wanted {
            by_sequence.entry(sequence).or_default().push(rows);
        }
        let kept = |(sequence, ranges): (usize, Vec<Range<usize>>)| {
            let all = inputs(sequence);
            let segment = |rows: Range<usize>| Segment {
                start: rows.start,
                rows: all[rows].to_vec(),
            };
            (sequence, joined(ranges).into_iter().map(segment).collect())
        };
        Segments {
            by_sequence: by_sequence.into_iter().map(kept).collect(),
        }
    }

    /// Gives rows that were wanted.
    ///
    /// # Panics
    /// When they were not.
    pub fn rows(&self, sequence: usize, rows: Range<usize>) -> &[InputRow] {
        let segments = &self.by_sequence[&sequence];
        let place = segments.partition_point(|segment| segment.start <= rows.start) - 1;
        let segment = &segments[place];
        &segment.rows[rows.start - segment.start..rows.end - segment.start]
    }
}

/// Joins ranges that touch or overlap, and puts them in order.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match joined.last_mut().filter(|last| range.start <= last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::feature::FEATURES;

    fn inputs(sequence: usize) -> Vec<InputRow> {
        (0..100).map(|row| [(1000 * sequence + row) as f32; FEATURES]).collect()
    }

    #[test]
    fn wanted_rows_are_kept_and_no_others() {
        let wanted = [(3, 40..50), (3, 10..20), (3, 15..30), (7, 0..5), (3, 50..60)];
        let segments = Segments::gather(wanted.iter().cloned(), &inputs);
        for (sequence, rows) in wanted {
            assert_eq!(segments.rows(sequence, rows.clone()), &inputs(sequence)[rows]);
        }
        let kept: usize = segments
            .by_sequence
            .values()
            .flatten()
            .map(|segment| segment.rows.len())
            .sum();
        assert_eq!(kept, 20 + 20 + 5);
    }
}
