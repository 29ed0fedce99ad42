//! Recent ticks: what those of late on one instrument say of how the next is to be taken.
//!
//! The judge's level drifts with quiet ticks. And what is odd again and again within minutes is one thing and not many: a
//! market's wild hour is rare, but within it wild ticks are not, and alerts of normal ticks come in bursts far longer than
//! one alert. So each run of odd ticks makes the next count for less, by an amount that fades; within a run nothing is taken
//! off for the run itself, and what is odd enough always opens an alert. Knows no model.

use super::arms::Drift;
use super::run::RunRule;

/// What recent ticks have done to the scores of one instrument.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recent {
    /// How far the judge's level has moved.
    pub drift: Drift,
    /// What is taken off what is odd.
    pub habituation: Habituation,
}

/// How much is taken off what is odd on one instrument, by what has been odd of late.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Habituation {
    /// Runs so far, each fading with every tick.
    runs: f32,
    /// Quiet ticks at the end of the open run, if one is.
    open: Option<u32>,
    /// What is taken off now (decades): what it was when the open run began, if one is.
    penalty: f32,
}

impl Habituation {
    /// From here on a tick is odd (decades).
    const LEVEL: f32 = 3.0;
    /// What is left of a run's weight after a tick: half after 300 ticks (2^(−1/300)).
    const FADING: f32 = 0.997_692_2;
    /// Runs that cost nothing: what is left of one after 520 ticks.
    const FREE: f32 = 0.3;
    /// Most that is taken off, at a decade for each run beyond (decades).
    const MAX: f32 = 3.0;

    /// Takes off the next tick's rarity what runs before it make it count less (decades).
    pub fn temper(&self, rarity: f32) -> f32 {
        (rarity - self.penalty).max(0.0)
    }

    /// Takes in how rarely a normal tick is as odd as this one (−log₁₀, nothing taken off).
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
