//! Runs: which ticks above a level belong together.
//!
//! An alert lasts as long as a run of its instrument's ticks, and calibration counts the runs of normal ticks to say what a
//! score means. Both use the rule in this module. With two rules, the budget would count other alerts than those that open.
//! (With a stride above 1 they differ: an alert takes the ticks between two scored ones for quiet ones, unless a guard finds
//! something.)

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunRule {
    /// After so many ticks in a row (> 0) …
    pub quiet_ticks: u32,
    /// … that are below its level by more than this: hysteresis (decades of probability, ≥ 0).
    pub hysteresis_decades: f32,
}

/// Quiet ticks after which a run is over by default: odd ticks nearer to each other than this are one alert, and what the
/// judge is taught counts them as one.
pub const QUIET_TICKS: u32 = 64;

impl Default for RunRule {
    /// As the configuration has it by default.
    fn default() -> Self {
        RunRule {
            quiet_ticks: QUIET_TICKS,
            hysteresis_decades: 0.5,
        }
    }
}

impl RunRule {
    /// Takes one more tick into a run whose last `quiet_ticks` were quiet; gives how many are now, nothing when it is over.
    pub fn go_on(self, quiet_ticks: u32, score: f32, level: f32) -> Option<u32> {
        let quiet_ticks = match score < level - self.hysteresis_decades {
            true => quiet_ticks + 1,
            false => 0,
        };
        (quiet_ticks < self.quiet_ticks).then_some(quiet_ticks)
    }

    /// Counts the runs of ticks, oldest first, at a level: the first of each pair of scores is that which begins a run, the
    /// second that which lets it go on.
    pub fn count(self, scores: &[(f32, f32)], level: f32) -> u32 {
        let (mut runs, mut open) = (0, None);
        for (beginning, lasting) in scores {
            open = match open {
                Some(quiet_ticks) => self.go_on(quiet_ticks, *lasting, level),
                None if *beginning >= level => {
                    runs += 1;
                    Some(0)
                }
                None => None,
            };
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: RunRule = RunRule {
        quiet_ticks: 3,
        hysteresis_decades: 1.0,
    };

    #[test]
    fn a_run_ends_after_quiet_ticks_in_a_row_alone() {
        assert_eq!(RULE.go_on(1, 2.9, 4.0), Some(2));
        assert_eq!(RULE.go_on(2, 3.0, 4.0), Some(0));
        assert_eq!(RULE.go_on(2, 2.9, 4.0), None);
    }

    #[test]
    fn ticks_that_are_near_each_other_are_one_run() {
        let scores = [0.0, 4.0, 0.0, 0.0, 5.0, 3.5, 0.0, 0.0, 3.5, 0.0, 0.0, 0.0, 3.9, 4.1];
        let alike = scores.map(|score| (score, score));
        assert_eq!(RULE.count(&alike, 4.0), 2);
        assert_eq!(RULE.count(&alike, 6.0), 0);
        assert_eq!(RULE.count(&[], 4.0), 0);
        // What begins no run can let one go on.
        let lasting = scores.map(|score| (if score == 5.0 { 0.0 } else { score }, score));
        assert_eq!(RULE.count(&lasting, 4.0), 2);
        assert_eq!(RULE.count(&scores.map(|score| (0.0, score)), 4.0), 0);
    }
}
