//! Adaptation ticks: how the last ticks of one instrument change the score of the next one.
//!
//! Two things change it. The judge's level follows quiet ticks ([`Drift`]). And when odd ticks keep coming, later ones score
//! lower ([`Habituation`]): a market's wild hour is rare, but within it wild ticks are not, so alerts on normal ticks come in
//! bursts that are far longer than one alert. The reduction grows with every run of odd ticks, fades, and has a limit, so a
//! tick that is odd enough always opens an alert. The run that is open does not lower its own ticks. Knows no model.

use serde::{Deserialize, Serialize};

use super::arms::Drift;
use super::run::RunRule;

/// What the last ticks of one instrument have done to the scores of the next ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Adaptation {
    /// How far the judge's level has moved.
    pub drift: Drift,
    /// How much lower odd ticks score.
    pub habituation: Habituation,
}

/// How much lower odd ticks score on one instrument, after the runs of odd ticks before them.
///
/// After one run of odd ticks the next scores up to 0.7 lower; each further run lowers it by up to 1 more, at most 3 in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Habituation {
    /// Runs so far, each with a weight that begins at 1 and fades with every tick.
    runs: f32,
    /// Quiet ticks at the end of the open run; `None` when no run is open.
    open: Option<u32>,
    /// The reduction at this tick (decades). It stands still while a run is open.
    penalty: f32,
}

impl Habituation {
    /// A tick is odd from this rarity on (decades).
    const LEVEL: f32 = 3.0;
    /// A run's weight is multiplied by this at every tick, so that half is left after 300 ticks (2^(−1/300)).
    const FADING: f32 = 0.997_692_2;
    /// This much weight costs nothing. A single run's weight has faded to it after 520 ticks.
    const FREE: f32 = 0.3;
    /// The largest reduction (decades). Each run beyond [`Self::FREE`] costs one decade.
    const MAX: f32 = 3.0;

    /// Gives the next tick's rarity, less the reduction for the runs before it (decades).
    pub fn temper(&self, rarity: f32) -> f32 {
        (rarity - self.penalty).max(0.0)
    }

    /// Takes in a tick's rarity: −log₁₀ of how rarely a normal tick is as odd, before any reduction.
    pub fn take(&mut self, rarity: f32, rule: RunRule) {
        self.runs *= Self::FADING;
        self.open = match self.open {
            Some(quiet_ticks) => {
                let open = rule.go_on(quiet_ticks, rarity, Self::LEVEL);
                if open.is_none() {
                    self.runs = (self.runs + 1.0).min(Self::FREE + Self::MAX);
                }
                open
            }
            None => (rarity >= Self::LEVEL).then_some(0),
        };
        if self.open.is_none() {
            self.penalty = (self.runs - Self::FREE).clamp(0.0, Self::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets so many runs pass, each of one odd tick and `apart` ticks long.
    fn after(runs: usize, apart: usize) -> Habituation {
        let mut habituation = Habituation::default();
        for tick in 0..runs * apart {
            let rarity = if tick % apart == 0 { 5.0 } else { 0.3 };
            habituation.take(rarity, RunRule::default());
        }
        habituation
    }

    #[test]
    fn runs_far_apart_cost_nothing_and_a_burst_of_them_counts_for_less_and_less() {
        assert_eq!(after(20, 700).temper(4.0), 4.0);
        let once = after(1, 65).temper(4.0);
        assert!((3.2..3.4).contains(&once), "{once}");
        let often = after(4, 100).temper(4.0);
        assert!(often < once - 1.0, "{often}");
        let ever = after(50, 70);
        assert!((1.0..1.1).contains(&ever.temper(4.0)), "{ever:?}");
        assert_eq!(ever.temper(0.5), 0.0);
    }

    #[test]
    fn nothing_is_taken_off_within_a_first_run_and_the_rest_fades() {
        let mut habituation = Habituation::default();
        for _ in 0..1000 {
            habituation.take(6.0, RunRule::default());
            assert_eq!(habituation.temper(6.0), 6.0);
        }
        for _ in 0..64 {
            habituation.take(0.1, RunRule::default());
        }
        assert!(habituation.temper(4.0) < 3.4);
        for _ in 0..600 {
            habituation.take(0.1, RunRule::default());
        }
        assert_eq!(habituation.temper(4.0), 4.0);
    }
}
