//! What the detector found out about one record, or about one tick of a record that holds several.

use super::decode::OddFields;
use super::guard::Guard;
use super::position::Position;
use super::score::ModelVersion;

/// What became of a tick, or of a record that holds none: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A model scored it.
    Scored,
    /// Guards and features saw it; its window was not due.
    BetweenStrides,
    /// Its instrument has not yet filled a window.
    WarmUp,
    /// There is no model yet; guards saw it.
    NoModel,
    /// Its offset was applied before.
    AlreadyApplied,
    /// It was applied once more after a restore; what it leads to was given out before.
    Redone,
    /// Its feed sequence number was seen before, with the same stamp; a guard alone saw it.
    Duplicate,
    /// Its price is a multiple of the instrument's last ones, or a fraction; guards alone saw it, and nothing learns from it.
    Implausible,
    /// It is no tick; its record became a dead letter.
    Rejected,
    /// Its instrument is one too many.
    OverCap,
    /// It is left out on purpose, as the layout says.
    Ignored,
    /// A quote that lacks a side, or a trade of nothing at a price of zero: there is nothing to look at.
    Incomplete,
}

impl Outcome {
    /// All outcomes, in a fixed order.
    pub const ALL: [Outcome; 12] = [
        Outcome::Scored,
        Outcome::BetweenStrides,
        Outcome::WarmUp,
        Outcome::NoModel,
        Outcome::AlreadyApplied,
        Outcome::Redone,
        Outcome::Duplicate,
        Outcome::Implausible,
        Outcome::Rejected,
        Outcome::OverCap,
        Outcome::Ignored,
        Outcome::Incomplete,
    ];

    /// Gives the name used in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Scored => "scored",
            Outcome::BetweenStrides => "between_strides",
            Outcome::WarmUp => "warm_up",
            Outcome::NoModel => "no_model",
            Outcome::AlreadyApplied => "already_applied",
            Outcome::Redone => "redone",
            Outcome::Duplicate => "duplicate",
            Outcome::Implausible => "implausible",
            Outcome::Rejected => "rejected",
            Outcome::OverCap => "over_cap",
            Outcome::Ignored => "ignored",
            Outcome::Incomplete => "incomplete",
        }
    }
}

/// What was found out about one tick, or about a record that holds none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Where the record stands.
    pub position: Position,
    /// Its place among the ticks of the record, from 0: a verdict with 0 begins a record.
    pub index: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// −log₁₀ of the tick's p-value, of the guards alone where no model scored it (≥ 0).
    pub score: f32,
    /// The most surprising guard that found something.
    pub guard: Option<Guard>,
    /// Share of such ticks that the budget allows to be called anomalous (0–1; 0 when no instrument's budget holds).
    pub allowed_share: f64,
    /// Whether the score reaches the threshold that follows from the share.
    pub is_above: bool,
    /// Whether the record's stamp lies too far ahead of the wall clock to be believed.
    pub is_stamp_ahead: bool,
    /// Whether it opened an alert that was folded into a shock's and not published.
    pub is_folded: bool,
    /// Optional fields of it that could not be read.
    pub odd: OddFields,
    /// The model at work.
    pub model_version: Option<ModelVersion>,
}

impl Verdict {
    /// Makes the verdict of a record of which nothing else is to be said.
    pub(super) fn of(position: Position, outcome: Outcome, model_version: Option<ModelVersion>) -> Self {
        Verdict {
            position,
            index: 0,
            outcome,
            score: 0.0,
            guard: None,
            allowed_share: 0.0,
            is_above: false,
            is_stamp_ahead: false,
            is_folded: false,
            odd: OddFields::default(),
            model_version,
        }
    }
}

/// What became of a record: its only tick's outcome, or what its ticks' outcomes come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordOutcome {
    /// It held one tick, or none.
    Single(Outcome),
    /// It held several ticks, each of which has an outcome of its own.
    Several,
    /// It held several ticks, of which some could not be read: it became a dead letter, and the others were taken.
    PartlyRejected,
}

impl RecordOutcome {
    /// All outcomes, in a fixed order.
    pub const ALL: [RecordOutcome; Outcome::ALL.len() + 2] = {
        let mut all = [RecordOutcome::Several; Outcome::ALL.len() + 2];
        let mut index = 0;
        while index < Outcome::ALL.len() {
            all[index] = RecordOutcome::Single(Outcome::ALL[index]);
            index += 1;
        }
        all[index + 1] = RecordOutcome::PartlyRejected;
        all
    };

    /// Gives what became of a record by the verdicts on its ticks.
    pub fn of(verdicts: &[Verdict]) -> Self {
        let rejected = verdicts
            .iter()
            .filter(|verdict| verdict.outcome == Outcome::Rejected)
            .count();
        match verdicts {
            [only] => RecordOutcome::Single(only.outcome),
            [] => RecordOutcome::Single(Outcome::Ignored),
            all if rejected == all.len() => RecordOutcome::Single(Outcome::Rejected),
            _ if rejected > 0 => RecordOutcome::PartlyRejected,
            _ => RecordOutcome::Several,
        }
    }

    /// Gives the name used in metrics.
    pub fn name(self) -> &'static str {
        match self {
            RecordOutcome::Single(outcome) => outcome.name(),
            RecordOutcome::Several => "several",
            RecordOutcome::PartlyRejected => "partly_rejected",
        }
    }
}

/// Parts verdicts, which are in order, into those of one record each.
pub fn by_record(verdicts: &[Verdict]) -> impl Iterator<Item = &[Verdict]> {
    verdicts.chunk_by(|_, next| next.index > 0)
}
