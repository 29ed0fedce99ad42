//! The window: the last T rows of one instrument, raw and as model input.
//!
//! Raw rows are kept beside the inputs, so that a new model's transform can be applied to them when it takes over. Knows
//! nothing of time or scores.

use serde::{Deserialize, Serialize};

use super::feature::{FEATURES, FeatureRow};
use super::scaler::{InputRow, InputTransform};

/// The last `lookback` rows of one instrument.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Vec<f32>", try_from = "Vec<f32>")]
pub struct Window {
    raw: Vec<FeatureRow>,
    inputs: Vec<InputRow>,
    /// Where the next row goes.
    next: usize,
    count: usize,
}

impl Window {
    /// Makes an empty window of `lookback` rows (> 0).
    pub fn new(lookback: usize) -> Self {
        Window {
            raw: vec![[0.0; FEATURES]; lookback],
            inputs: vec![[0.0; FEATURES]; lookback],
            next: 0,
            count: 0,
        }
    }

    /// Gives the newest rows of this one in a window of `lookback` rows (> 0).
    pub fn with_lookback(&self, lookback: usize) -> Self {
        let mut window = Window::new(lookback);
        for ago in (1..=self.count.min(lookback)).rev() {
            let place = (self.next + self.raw.len() - ago) % self.raw.len();
            window.push(self.raw[place], self.inputs[place]);
        }
        window
    }

    /// Takes a row in; the oldest one leaves once the window is full.
    pub fn push(&mut self, raw: FeatureRow, input: InputRow) {
        self.raw[self.next] = raw;
        self.inputs[self.next] = input;
        self.next = (self.next + 1) % self.raw.len();
        self.count = (self.count + 1).min(self.raw.len());
    }

    /// Tells whether `rows` rows (≤ lookback) are there.
    pub fn holds(&self, rows: usize) -> bool {
        self.count >= rows
    }

    /// Gives the rows that are there (≤ lookback).
    pub fn len(&self) -> usize {
        self.count
    }

    /// Tells whether no row is there yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Gives the newest row, raw and as model input.
    pub fn newest(&self) -> (&FeatureRow, &InputRow) {
        let newest = (self.next + self.raw.len() - 1) % self.raw.len();
        (&self.raw[newest], &self.inputs[newest])
    }

    /// Computes all inputs anew with another transform.
    pub fn retransform(&mut self, transform: &InputTransform) {
        for (raw, input) in self.raw.iter().zip(&mut self.inputs) {
            *input = transform.apply(raw);
        }
    }

    /// Appends the newest `rows` inputs, oldest first, as `(rows, F)`.
    pub fn append_inputs(&self, rows: usize, out: &mut Vec<f32>) {
        debug_assert!(self.holds(rows));
        let capacity = self.inputs.len();
        let start = (self.next + capacity - rows) % capacity;
        let until_wrap = rows.min(capacity - start);
        out.extend_from_slice(self.inputs[start..start + until_wrap].as_flattened());
        out.extend_from_slice(self.inputs[..rows - until_wrap].as_flattened());
    }
}

impl From<Window> for Vec<f32> {
    /// Gives the raw rows that are there, oldest first: with a transform, the inputs follow from them.
    fn from(window: Window) -> Self {
        let Window {
            mut raw, next, count, ..
        } = window;
        raw.rotate_left(next);
        raw[raw.len() - count..].as_flattened().to_vec()
    }
}

impl TryFrom<Vec<f32>> for Window {
    type Error = String;

    /// Makes a full window of raw rows; their inputs wait for [`Window::retransform`].
    fn try_from(numbers: Vec<f32>) -> Result<Self, String> {
        let (rows, rest) = numbers.as_chunks::<FEATURES>();
        if !rest.is_empty() {
            return Err(format!("{} numbers are no whole rows of {FEATURES}", numbers.len()));
        }
        Ok(Window {
            raw: rows.to_vec(),
            inputs: rows.to_vec(),
            next: 0,
            count: rows.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_rows_come_oldest_first_whatever_the_wrap() {
        let mut window = Window::new(5);
        for i in 0..13_u8 {
            assert_eq!(window.holds(5), i >= 5);
            window.push([f32::from(i); FEATURES], [f32::from(i); FEATURES]);
            if window.holds(3) {
                let mut out = Vec::new();
                window.append_inputs(3, &mut out);
                let firsts: Vec<f32> = out.chunks(FEATURES).map(|row| row[0]).collect();
                assert_eq!(firsts, [i - 2, i - 1, i].map(f32::from));
            }
        }
        assert_eq!(window.newest().0[0], 12.0);
    }
}
