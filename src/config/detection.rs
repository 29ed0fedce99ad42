//! What makes sense of guards, alerts and the detector's bounds.

use super::{Checks, Config};

impl Config {
    pub(super) fn check_guards(&self, check: &mut Checks) {
        let guards = &self.guards;
        for (key, found, least) in [
            ("guards.price_ratio_max", guards.price_ratio_max, 1.0),
            ("guards.decimal_shift_tolerance", guards.decimal_shift_tolerance, 0.0),
            ("guards.time_jump_secs_max", guards.time_jump_secs_max, 0.0),
            ("guards.stale_secs_min", guards.stale_secs_min, 0.0),
            ("guards.stale_secs_max", guards.stale_secs_max, guards.stale_secs_min),
        ] {
            let text = format!("expected more than {least}, found {found}");
            check.that(key, found > least, &text);
        }
        for (key, found, least) in [
            ("guards.time_future_secs_max", guards.time_future_secs_max, 0.0),
            ("guards.stale_gap_multiple", guards.stale_gap_multiple, 1.0),
            ("guards.frozen_run_multiple", guards.frozen_run_multiple, 1.0),
        ] {
            let text = format!("expected {least} or more, found {found}");
            check.that(key, found >= least, &text);
        }
        check.that(
            "guards.decimal_shift_tolerance",
            guards.decimal_shift_tolerance < 1.0,
            "expected a share below 1",
        );
        check.above_zero("guards.sequence_run_min", u64::from(guards.sequence_run_min));
        check.above_zero("guards.sequence_hole_max", guards.sequence_hole_max);
        check.above_zero("guards.frozen_ticks_min", u64::from(guards.frozen_ticks_min));
    }

    pub(super) fn check_detection(&self, check: &mut Checks) {
        let alerts = &self.alerts;
        let budget = alerts.false_alarms_per_10k_ticks;
        check.that(
            "alerts.false_alarms_per_10k_ticks",
            budget > 0.0 && budget <= 1e3,
            &format!("expected more than 0 and at most 1000, found {budget}"),
        );
        for (key, found) in [
            (
                "alerts.false_alarms_per_instrument_day",
                alerts.false_alarms_per_instrument_day,
            ),
            ("alerts.false_alarms_per_hour", alerts.false_alarms_per_hour),
            ("alerts.hysteresis_decades", alerts.hysteresis_decades.into()),
        ] {
            check.that(key, found >= 0.0, &format!("expected 0 or more, found {found}"));
        }
        check.above_zero("alerts.quiet_ticks", u64::from(alerts.quiet_ticks));
        check.that(
            "alerts.critical_decades",
            alerts.critical_decades > 0.0,
            "expected more than 0",
        );
        check.that(
            "alerts.update_decades",
            alerts.update_decades > 0.0,
            "expected more than 0",
        );
        check.above_zero("alerts.silence_secs", alerts.silence_secs);
        check.that(
            "alerts.shock_instruments_min",
            alerts.shock_instruments_min != 1,
            "expected 0 (never) or at least 2, found 1",
        );
        let share = alerts.shock_share;
        check.that(
            "alerts.shock_share",
            share > 0.0 && share <= 1.0,
            &format!("expected a share above 0 and at most 1, found {share}"),
        );
        let window = alerts.shock_window_secs;
        check.that(
            "alerts.shock_window_secs",
            window > 0.0,
            &format!("expected more than 0, found {window}"),
        );
        check.that(
            "alerts.shock_active_secs",
            alerts.shock_active_secs >= window,
            &format!("expected at least alerts.shock_window_secs = {window}"),
        );
        check.above_zero("detector.stride", u64::from(self.detector.stride));
        check.above_zero("detector.instruments_max", self.detector.instruments_max as u64);
        check.that(
            "detector.rows_kept",
            self.detector.rows_kept >= self.model.lookback,
            &format!(
                "expected at least model.lookback = {}, found {}",
                self.model.lookback, self.detector.rows_kept
            ),
        );
    }
}
