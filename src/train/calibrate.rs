//! Calibrating: what a model's errors are on rows it was not fitted to, per instrument and pooled.

use std::ops::Range;
use std::sync::Arc;

use super::memory::Memory;
use crate::pipeline::adaptation::Habituation;
use crate::pipeline::arms::{ArmScale, Arms, Drift, RowErrors, RunningErrors, Statistics};
use crate::pipeline::calibration::Calibration;
use crate::pipeline::feature::FeatureRow;
use crate::pipeline::opening_rates::OpeningRates;
use crate::pipeline::run::RunRule;
use crate::pipeline::scaler::{InputRow, InputTransform};
use crate::pipeline::score::{Context, Evidence, Item, Scorer, Workspace};
use crate::pipeline::tail::{Tail, TailBounds};

/// Windows scored at once: enough to hide the cost of a call, few enough to stay in cache.
const BATCH: usize = 256;

/// What a model makes of consecutive rows.
#[derive(Default)]
pub struct Scored {
    /// Each row and the errors on it.
    pub rows: Vec<RowErrors>,
    /// `(N, F)` each row as it was rebuilt, in model input units.
    pub expected: Vec<InputRow>,
    running: RunningErrors,
}

impl Scored {
    /// Begins with room for so many rows and no more.
    fn of(rows: usize) -> Self {
        Scored {
            rows: Vec::with_capacity(rows),
            expected: Vec::with_capacity(rows),
            running: RunningErrors::default(),
        }
    }

    fn take(&mut self, seen: &InputRow, evidence: &Evidence, index: usize) {
        if let Some(rebuilt) = evidence.reconstruction_of(index) {
            let forecast = evidence.forecast_of(index);
            let judge = evidence.judge.get(index).copied();
            let errors = RowErrors::new(seen, rebuilt, forecast, judge, Some(&mut self.running));
            self.rows.push(errors);
            self.expected.push(*rebuilt);
        }
    }
}

/// Scores rows `range` of a chunk, each with the rows before it; rows whose window is not full are left out. A carried
/// state begins at zero with the chunk's first row, as a detector's does.
pub fn score_rows(scorer: &dyn Scorer, transform: &InputTransform, rows: &[FeatureRow], range: Range<usize>) -> Scored {
    let lookback = scorer.lookback();
    if scorer.state_len() > 0 {
        return score_carried(scorer, transform, rows, range);
    }
    let first = range.start.max(lookback - 1);
    if first >= range.end {
        return Scored::default();
    }
    let mut scored = Scored::of(range.end - first);
    let base = first + 1 - lookback;
    let inputs: Vec<InputRow> = rows[base..range.end].iter().map(|row| transform.apply(row)).collect();
    let (mut workspace, mut evidence) = (Workspace::default(), Evidence::default());
    let windows: Vec<&[InputRow]> = inputs.windows(lookback).collect();
    for windows in windows.chunks(BATCH) {
        let mut items: Vec<Item<'_>> = windows
            .iter()
            .map(|window| {
                let (context, newest) = window.split_at(lookback - 1);
                Item {
                    context: Context::Window(context.as_flattened()),
                    rows: newest.as_flattened(),
                }
            })
            .collect();
        scorer.score(&mut items, &mut workspace, &mut evidence);
        for (index, window) in windows.iter().enumerate() {
            scored.take(&window[lookback - 1], &evidence, index);
        }
    }
    scored
}

fn score_carried(scorer: &dyn Scorer, transform: &InputTransform, rows: &[FeatureRow], range: Range<usize>) -> Scored {
    let mut scored = Scored::of(range.len());
    let mut state = vec![0.0; scorer.state_len()];
    let (mut workspace, mut evidence) = (Workspace::default(), Evidence::default());
    for start in (0..range.end).step_by(BATCH) {
        let rows = &rows[start..range.end.min(start + BATCH)];
        let inputs: Vec<InputRow> = rows.iter().map(|row| transform.apply(row)).collect();
        let mut item = Item {
            context: Context::Carried(&mut state),
            rows: inputs.as_flattened(),
        };
        scorer.score(std::slice::from_mut(&mut item), &mut workspace, &mut evidence);
        for (index, seen) in inputs.iter().enumerate().skip(range.start.saturating_sub(start)) {
            scored.take(seen, &evidence, index);
        }
    }
    scored
}

/// Rows of one instrument that go into what is pooled: no instrument outweighs the others. Memory may allow fewer.
const POOLED_ROWS: usize = 4000;

/// What scores are made of, and what they are counted in.
#[derive(Clone, Copy, Debug)]
pub struct ScoreTerms {
    /// The arms that speak.
    pub arms: Arms,
    /// Which ticks are one alert.
    pub runs: RunRule,
}

/// Makes calibrations of instruments that come one after the other: of their rows, only what is pooled is kept.
pub struct Calibrator<'a> {
    scorer: &'a dyn Scorer,
    terms: ScoreTerms,
    pooled_rows_each: usize,
    own: Vec<Calibration>,
    pooled_rows: Vec<RowErrors>,
    statistics: Vec<Vec<Statistics>>,
}

impl<'a> Calibrator<'a> {
    /// Begins with none of so many instruments.
    pub fn new(scorer: &'a dyn Scorer, terms: ScoreTerms, memory: Memory, instruments: usize) -> Self {
        Calibrator {
            scorer,
            terms,
            pooled_rows_each: memory.pooled_max_each(POOLED_ROWS, size_of::<RowErrors>(), instruments),
            own: Vec::with_capacity(instruments),
            pooled_rows: Vec::new(),
            statistics: Vec::with_capacity(instruments),
        }
    }

    /// Fits the tails of the next instrument to rows `range`, which the weights were not fitted to.
    pub fn take(&mut self, transform: InputTransform, rows: &[FeatureRow], range: Range<usize>) {
        let rows = score_rows(self.scorer, &transform, rows, range).rows;
        self.pooled_rows.extend(thinned(&rows, self.pooled_rows_each));
        let calibration = Calibration::unscaled(transform, &rows, self.terms.arms);
        self.statistics.push(calibration.statistics(&rows));
        self.own.push(calibration);
    }

    /// Gives the calibrations of all instruments, in the order in which they came, and a pooled one.
    pub fn finish(self, pooled_transform: InputTransform) -> (Vec<Arc<Calibration>>, Arc<Calibration>) {
        let (mut own, terms) = (self.own, self.terms);
        let mut pooled = Calibration::unscaled(pooled_transform, &self.pooled_rows, terms.arms);
        drop(self.pooled_rows);
        scale(&mut own, &mut pooled, &self.statistics);
        let rarities = |(own, statistics): (&Calibration, &Vec<Statistics>)| -> Vec<(f32, f32)> {
            let mut habituation = Habituation::default();
            let mut tempered = |statistics| {
                let rarity = own.rarity(statistics, Drift::default()).0;
                let tempered = habituation.temper(rarity);
                habituation.take(rarity, terms.runs);
                (tempered, rarity)
            };
            statistics.iter().map(&mut tempered).collect()
        };
        let rarities: Vec<Vec<(f32, f32)>> = own.iter().zip(&self.statistics).map(rarities).collect();
        pooled.opening_rates = OpeningRates::fit(&rarities, terms.runs);
        own.iter_mut()
            .for_each(|own| own.opening_rates = pooled.opening_rates.clone());
        (own.into_iter().map(Arc::new).collect(), Arc::new(pooled))
    }
}

/// The rows of all instruments from which the input transform of an unknown one is fitted, each instrument with the same
/// weight.
pub struct PooledRows {
    rows: Vec<FeatureRow>,
    rows_each: usize,
}

impl PooledRows {
    /// Begins with none of so many instruments.
    pub fn new(memory: Memory, instruments: usize) -> Self {
        PooledRows {
            rows: Vec::new(),
            rows_each: memory.pooled_max_each(POOLED_ROWS, size_of::<FeatureRow>(), instruments),
        }
    }

    /// Takes some of the usable rows of the next instrument.
    pub fn take(&mut self, rows: &[FeatureRow]) {
        self.rows.extend(thinned(rows, self.rows_each));
    }

    /// Fits the transform.
    pub fn transform(self) -> InputTransform {
        InputTransform::fit(&self.rows)
    }
}

/// Gives every arm its scale on every instrument.
fn scale(own: &mut [Calibration], pooled: &mut Calibration, statistics: &[Vec<Statistics>]) {
    type Of = fn(&Statistics) -> Option<f32>;
    let mut give = |of: Of, bounds: TailBounds, put: fn(&mut Calibration, ArmScale)| {
        let column = |own: &Vec<Statistics>| own.iter().filter_map(of).collect();
        let mut columns: Vec<Vec<f32>> = statistics.iter().map(column).collect();
        if let Some((scales, of_unknown)) = arm_scales(&mut columns, bounds) {
            own.iter_mut().zip(scales).for_each(|(own, scale)| put(own, scale));
            put(pooled, of_unknown);
        }
    };
    give(
        |row| Some(row.newest),
        TailBounds::ARM,
        |of, scale| of.newest_scale = scale,
    );
    give(
        |row| row.window,
        TailBounds::ARM,
        |of, scale| of.window_scale = Some(scale),
    );
    give(|row| row.judge, TailBounds::JUDGE, |of, scale| of.judge = Some(scale));
}

/// Gives the scale of every instrument, its own level and the tail of the group, and that of an instrument nobody knows, from
/// an arm's statistics on normal ticks, which it sorts; nothing where the arm has said nothing.
fn arm_scales(statistics: &mut [Vec<f32>], bounds: TailBounds) -> Option<(Vec<ArmScale>, ArmScale)> {
    let levels: Vec<f32> = statistics.iter_mut().map(|own| ArmScale::level(own)).collect();
    let above = statistics.iter().zip(&levels).flat_map(|(own, level)| {
        let above = own.iter().map(move |statistic| statistic - level);
        above.step_by(own.len().div_ceil(POOLED_STATISTICS).max(1))
    });
    let mut above: Vec<f32> = above.collect();
    if above.is_empty() {
        return None;
    }
    let tail = Tail::fit(&mut above, bounds);
    let mut sorted = levels.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    // An instrument that nobody knows is taken for one of the noisier ones: fewer false alarms rather than more.
    let of_unknown = sorted[(sorted.len() * 3 / 4).min(sorted.len() - 1)];
    let scale = |level: f32| ArmScale {
        level,
        tail: tail.clone(),
    };
    Some((levels.into_iter().map(scale).collect(), scale(of_unknown)))
}

/// Ticks of one instrument that go into the group's tail.
const POOLED_STATISTICS: usize = 20_000;

/// Takes every so manieth row, so that about `wanted` are left.
fn thinned<T: Copy>(rows: &[T], wanted: usize) -> impl Iterator<Item = T> {
    rows.iter().step_by(rows.len().div_ceil(wanted).max(1)).copied()
}
