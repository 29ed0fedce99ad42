//! Everything the detector remembers of one instrument.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::adaptation::Adaptation;
use super::alert::Mode;
use super::arms::RunningErrors;
use super::budget::Pace;
use super::calibration::Calibration;
use super::episode::Episode;
use super::feature::FeatureState;
use super::guard::GuardState;
use super::position::TopicPartition;
use super::score::{Context, Evidence, Item, Model, ModelVersion, Scorer, Workspace};
use super::shock::Membership;
use super::tick::Tick;
use super::window::Window;

/// One instrument.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Instrument {
    pub name: Arc<str>,
    /// Its number among the partition's instruments, in the order in which they came.
    pub number: usize,
    pub features: FeatureState,
    pub guards: GuardState,
    pub window: Window,
    /// The encoder's state after the newest row, `(S,)`; empty unless the model carries one.
    pub state: Vec<f32>,
    /// The decoder's errors of late.
    pub errors: RunningErrors,
    /// What its ticks of late do to its scores under this model.
    pub adaptation: Adaptation,
    pub episode: Episode,
    /// How fast its ticks come.
    pub pace: Pace,
    /// Its part in shocks.
    pub membership: Membership,
    /// Rows so far.
    pub rows_seen: u32,
    /// Rows since one was scored.
    pub rows_since_scored: u32,
    /// The model that the encoder's state, the errors and the adaptation are of.
    pub under: Option<ModelVersion>,
    /// The model's calibration for it; `None` before a model.
    #[serde(skip)]
    pub calibration: Option<Arc<Calibration>>,
    pub mode: Mode,
    #[serde(skip)]
    pub mark: Mark,
}

/// What checkpoints remember of an instrument.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// Whether it has changed since it was last put into a checkpoint.
    pub is_changed: bool,
    /// Whether the checkpoint under way waits for its snapshot.
    pub is_due: bool,
    /// The side on which its last snapshot of a whole checkpoint stands (0 or 1).
    pub side: u8,
}

impl Instrument {
    pub fn new(name: &str, number: usize, rows_kept: usize, model: Option<&Model>) -> Self {
        let mut instrument = Instrument {
            name: name.into(),
            number,
            features: FeatureState::default(),
            guards: GuardState::default(),
            window: Window::new(rows_kept),
            state: Vec::new(),
            errors: RunningErrors::default(),
            adaptation: Adaptation::default(),
            episode: Episode::default(),
            pace: Pace::default(),
            membership: Membership::default(),
            rows_seen: 0,
            rows_since_scored: 0,
            under: None,
            calibration: None,
            mode: Mode::Learning,
            mark: Mark::default(),
        };
        instrument.take_over(model, false);
        instrument
    }

    /// Takes over what a model knows of this instrument: transform, tails and mode change together. What was remembered
    /// under the model before goes, unless weights (`same_scorer`) and calibration are the very same.
    pub fn take_over(&mut self, model: Option<&Model>, same_scorer: bool) {
        let calibration = model.map(|model| Arc::clone(model.calibrations.of(&self.name)));
        self.mode = match model.is_some_and(|model| model.calibrations.knows(&self.name)) {
            true => Mode::Scoring,
            false => Mode::Learning,
        };
        let is_same = |(old, new): (&Arc<Calibration>, &Arc<Calibration>)| Arc::ptr_eq(old, new);
        if same_scorer && self.calibration.as_ref().zip(calibration.as_ref()).is_some_and(is_same) {
            self.under = model.map(|model| model.version);
            return;
        }
        let was_restored = self.calibration.is_none() && self.under.is_some();
        let is_own = |model: &Model| self.under == Some(model.version) && self.state.len() == model.scorer.state_len();
        let goes_on = was_restored && model.is_some_and(is_own);
        self.under = model.map(|model| model.version);
        self.calibration = calibration;
        if let Some(calibration) = &self.calibration {
            self.window.retransform(&calibration.transform);
        }
        if goes_on {
            return;
        }
        self.state.clear();
        self.errors = RunningErrors::default();
        self.adaptation = Adaptation::default();
        if let Some(model) = model {
            self.encode_anew(&*model.scorer);
        }
    }

    /// Goes on after a restore on the partition `at`, whose last snapshot stands on this side. Under the model of its
    /// snapshot nothing is lost; another takes over.
    pub fn recall(&mut self, at: TopicPartition, side: u8, rows_kept: usize, model: Option<&Model>) {
        self.mark.side = side;
        self.window = self.window.with_lookback(rows_kept);
        self.episode.set_partition(at);
        if model.is_some() {
            self.take_over(model, false);
        }
    }

    /// Makes the state that a model would carry here: its own, after the rows that are kept. (One of other weights means
    /// nothing.)
    fn encode_anew(&mut self, scorer: &dyn Scorer) {
        self.state.resize(scorer.state_len(), 0.0);
        if self.state.is_empty() || self.rows_seen == 0 {
            return;
        }
        let mut rows = Vec::new();
        self.window.append_inputs(self.window.len(), &mut rows);
        let mut item = Item {
            context: Context::Carried(&mut self.state),
            rows: &rows,
        };
        let (mut workspace, mut evidence) = (Workspace::default(), Evidence::default());
        scorer.score(std::slice::from_mut(&mut item), &mut workspace, &mut evidence);
    }

    /// Computes the row of a tick and keeps it, as model input too where there is a model; false when the tick has none,
    /// because its prices are implausible.
    pub fn take_row(&mut self, tick: &Tick) -> bool {
        let Some(raw) = self.features.observe(tick) else {
            return false;
        };
        if self.calibration.is_none() {
            self.under = None;
        }
        let input = self
            .calibration
            .as_ref()
            .map_or(raw, |calibration| calibration.transform.apply(&raw));
        self.window.push(raw, input);
        self.rows_seen = self.rows_seen.saturating_add(1);
        true
    }
}
