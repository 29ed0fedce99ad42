//! What the detector found out about one record.

use super::guard::Guard;
use super::position::Position;
use super::score::ModelVersion;

/// What became of a record: exactly one of these.
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
    /// Its feed sequence number was seen before, with the same stamp; a guard alone saw it.
    Duplicate,
    /// Its price is a multiple of the instrument's last ones, or a fraction; guards alone saw it, and nothing learns from it.
    Implausible,
    /// It is no tick; it became a dead letter.
    Rejected,
    /// Its instrument is one too many.
    OverCap,
}

impl Outcome {
    /// All outcomes, in a fixed order.
    pub const ALL: [Outcome; 9] = [
        Outcome::Scored,
        Outcome::BetweenStrides,
        Outcome::WarmUp,
        Outcome::NoModel,
        Outcome::AlreadyApplied,
        Outcome::Duplicate,
        Outcome::Implausible,
        Outcome::Rejected,
        Outcome::OverCap,
    ];

    /// Gives the name used in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Scored => "scored",
            Outcome::BetweenStrides => "between_strides",
            Outcome::WarmUp => "warm_up",
            Outcome::NoModel => "no_model",
            Outcome::AlreadyApplied => "already_applied",
            Outcome::Duplicate => "duplicate",
            Outcome::Implausible => "implausible",
            Outcome::Rejected => "rejected",
            Outcome::OverCap => "over_cap",
        }
    }
}

/// What was found out about one record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Where the record stands.
    pub position: Position,
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
    /// The model at work.
    pub model_version: Option<ModelVersion>,
}
