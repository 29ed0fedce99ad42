//! The panel: what a person sees of a running demo, as lines of text of a fixed number.
//!
//! Promises the same number of lines, whatever happens, each less than 80 columns wide but for the alerts' own texts, which
//! the terminal cuts. It knows no terminal and no clock: the same news give the same lines.

use std::collections::VecDeque;

use super::listener::Heard;
use super::scenario::Feed;
use super::scoreboard::{Raised, is_false_alarm};
use crate::pipeline::tick::{Body, Tick};

/// Market time of one column of a price's line (nanoseconds): 15 seconds.
const COLUMN_NANOS: i64 = 15_000_000_000;
/// Columns of a price's line: with 15 seconds each, the last ten minutes.
const COLUMNS: usize = 40;
/// A stamp that lies further ahead is a fault of its own, unless as many ticks in a row agree (columns, ticks).
const AHEAD_COLUMNS_MAX: i64 = 4;
const AHEAD_TICKS_MAX: usize = 32;
/// Instruments shown: with the other lines they fit a terminal of 24 lines.
const INSTRUMENTS_SHOWN: usize = 8;
/// Alerts shown.
const ALERTS_SHOWN: usize = 5;
/// Heights of a price.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One instrument's line.
struct Row {
    instrument: String,
    price: f64,
    /// Last price of each column, the newest last.
    columns: VecDeque<f64>,
    /// Number of the newest column since 1970.
    newest: i64,
    ticks_ahead: usize,
    alerts: usize,
    /// Severity and score of the open alert.
    open: Option<(String, f64)>,
}

/// Everything that is shown.
pub struct Panel {
    rows: Vec<Row>,
    alerts: VecDeque<String>,
    budget_per_10k_ticks: f64,
    ticks: usize,
    hits: usize,
    false_alarms: usize,
}

impl Panel {
    /// Shows these feeds. `budget_per_10k_ticks`: alerts that may open in 10,000 ticks of a normal feed.
    pub fn new(feeds: &[Feed], budget_per_10k_ticks: f64) -> Self {
        let row = |feed: &Feed| Row {
            instrument: feed.instrument.clone(),
            price: f64::NAN,
            columns: VecDeque::with_capacity(COLUMNS),
            newest: 0,
            ticks_ahead: 0,
            alerts: 0,
            open: None,
        };
        Panel {
            rows: feeds.iter().map(row).collect(),
            alerts: VecDeque::with_capacity(ALERTS_SHOWN),
            budget_per_10k_ticks,
            ticks: 0,
            hits: 0,
            false_alarms: 0,
        }
    }

    /// Gives the number of lines.
    pub fn height(&self) -> usize {
        self.rows.len().min(INSTRUMENTS_SHOWN + 1) + ALERTS_SHOWN + 3
    }

    /// Takes note of a tick.
    pub fn tick(&mut self, feed: usize, tick: &Tick) {
        self.ticks += 1;
        if let Some(row) = self.rows.get_mut(feed) {
            row.tick(tick);
        }
    }

    /// Takes note of an alert. `feeds`: those of the scenario.
    pub fn alert(&mut self, feeds: &[Feed], heard: &Heard, raised: Option<Raised>) {
        let row = self.rows.iter_mut().find(|row| row.instrument == heard.instrument);
        let is_open = heard.state != "resolved";
        if let Some(row) = row {
            row.open = is_open.then(|| (heard.severity.clone(), heard.score));
            row.alerts += usize::from(heard.state == "opened");
        }
        if let Some(raised) = raised.filter(|raised| raised.opened) {
            match is_false_alarm(&feeds[raised.feed], raised.tick) {
                true => self.false_alarms += 1,
                false => self.hits += 1,
            }
        }
        if heard.state == "opened" {
            if self.alerts.len() == ALERTS_SHOWN {
                self.alerts.pop_front();
            }
            self.alerts.push_back(line_of(heard));
        }
    }

    /// Gives the lines, as many as [`height`](Self::height) says.
    pub fn lines(&self) -> Vec<String> {
        let prices = "the last ten minutes of the market";
        let mut lines = vec![format!(
            "{:<8} {:>9} {prices:<COLUMNS$} {:<12} alerts",
            "", "price", "state"
        )];
        lines.extend(self.rows.iter().take(INSTRUMENTS_SHOWN).map(Row::line));
        if let Some(more @ 1..) = self.rows.len().checked_sub(INSTRUMENTS_SHOWN) {
            lines.push(format!("and {more} more instruments"));
        }
        lines.push("The last alerts, by the time of the market:".to_owned());
        let blank = ALERTS_SHOWN - self.alerts.len();
        lines.extend(self.alerts.iter().cloned());
        lines.extend(std::iter::repeat_n(String::new(), blank));
        let allowed = self.budget_per_10k_ticks * self.ticks as f64 / 1e4;
        lines.push(format!(
            "{} alerts: {} on faults, {} false (the budget so far: {allowed:.1})",
            self.hits + self.false_alarms,
            self.hits,
            self.false_alarms
        ));
        lines
    }
}

impl Row {
    fn tick(&mut self, tick: &Tick) {
        self.price = match tick.body {
            Body::Trade(trade) => trade.price,
            Body::Quote(quote) => quote.mid(),
        };
        let column = tick.event_time.0.div_euclid(COLUMN_NANOS);
        let ahead = column - self.newest;
        self.ticks_ahead = if ahead > AHEAD_COLUMNS_MAX {
            self.ticks_ahead + 1
        } else {
            0
        };
        let is_believed = self.columns.is_empty() || ahead <= AHEAD_COLUMNS_MAX || self.ticks_ahead >= AHEAD_TICKS_MAX;
        if let (Some(latest), true) = (self.columns.back_mut(), ahead <= 0 || !is_believed) {
            *latest = self.price;
            return;
        }
        // A silence shows as a level line.
        let before = self.columns.back().copied().unwrap_or(self.price);
        let missing = if self.columns.is_empty() {
            0
        } else {
            (ahead - 1).min(COLUMNS as i64)
        };
        for price in std::iter::repeat_n(before, missing as usize).chain([self.price]) {
            if self.columns.len() == COLUMNS {
                self.columns.pop_front();
            }
            self.columns.push_back(price);
        }
        self.newest = column;
    }

    fn line(&self) -> String {
        let state = match &self.open {
            Some((severity, score)) => format!("{severity} {score:.1}"),
            None if self.columns.is_empty() => "no tick yet".to_owned(),
            None => "quiet".to_owned(),
        };
        let name: String = self.instrument.chars().take(8).collect();
        let price = if self.price.is_nan() {
            String::new()
        } else {
            digits(self.price)
        };
        let (prices, alerts) = (self.drawn(), self.alerts);
        format!("{name:<8} {price:>9} {prices:<COLUMNS$} {state:<13.13} {alerts:>5}")
    }

    /// Draws the prices of the columns; a single wild price does not flatten the others.
    fn drawn(&self) -> String {
        let mut sorted: Vec<f64> = self.columns.iter().copied().collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let Some(median) = sorted.get(sorted.len() / 2).copied() else {
            return String::new();
        };
        let usual = sorted.iter().filter(|price| (*price / median - 1.0).abs() < 0.3);
        let (low, high) = usual.fold((median, median), |(low, high), price| (price.min(low), price.max(high)));
        let height = |price: f64| match high > low {
            true => (((price - low) / (high - low)).clamp(0.0, 1.0) * (BARS.len() - 1) as f64).round() as usize,
            false => BARS.len() / 2,
        };
        self.columns.iter().map(|price| BARS[height(*price)]).collect()
    }
}

/// Writes a price with seven digits.
fn digits(price: f64) -> String {
    let whole = price.abs().max(1.0).log10().floor() as usize + 1;
    format!("{price:.*}", 7_usize.saturating_sub(whole))
}

/// Says in one line what an alert said when it opened: the time and the name stand before its sentence, not within.
fn line_of(heard: &Heard) -> String {
    let time = heard.opened_by.event_time.get(11..19).unwrap_or("");
    let severity = &heard.severity;
    let name: String = heard.instrument.chars().take(8).collect();
    let sentence = heard.summary.strip_prefix(&format!("{}: ", heard.instrument));
    let sentence = sentence.unwrap_or(&heard.summary);
    let sentence = sentence.replacen(&format!(" at {}", heard.opened_by.event_time), "", 1);
    format!("{time} {severity:<8} {name:<8} {sentence}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::listener::{HeardOpening, HeardPosition};
    use crate::demo::scenario::{CLEAN_SHARE, Scenario};
    use crate::offline::market::{MarketConfig, generate};

    fn heard(state: &str, instrument: &str) -> Heard {
        let time = "2024-01-02T16:06:23.346118364Z";
        Heard {
            state: state.into(),
            instrument: instrument.into(),
            severity: "critical".into(),
            score: 7.25,
            summary: format!("{instrument}: crossed quote at {time}; the bid 9 stands above the ask 8"),
            opened_by: HeardOpening {
                event_time: time.into(),
            },
            latest: HeardPosition {
                partition: 0,
                offset: 0,
            },
            model_version: None,
        }
    }

    fn scenario() -> Scenario {
        Scenario::new(generate(&MarketConfig::unseen(50_000, 3)), CLEAN_SHARE, 12_000, 3)
    }

    #[test]
    fn panel_has_a_fixed_height_and_fits_80_columns() {
        let scenario = scenario();
        let mut panel = Panel::new(&scenario.feeds, 1.0);
        assert_eq!((panel.height(), panel.lines().len()), (12, 12));
        for (count, (feed, index)) in scenario.merged(|feed| 0..feed.ticks.len()).into_iter().enumerate() {
            panel.tick(feed, &scenario.feeds[feed].ticks[index]);
            if count % 500 == 0 {
                panel.alert(&scenario.feeds, &heard("opened", "GLOBEX"), None);
                let lines = panel.lines();
                assert_eq!(lines.len(), panel.height());
                assert!(lines.iter().all(|line| line.chars().count() < 80), "{lines:#?}");
            }
        }
        let lines = panel.lines();
        println!("{}", lines.join("\n"));
        // Ten minutes of market, whatever the stamps of the faults say, and prices that move.
        assert!(
            lines[1..5]
                .iter()
                .all(|line| line.chars().filter(|char| BARS.contains(char)).count() == COLUMNS)
        );
        assert!(lines[1].contains('▁') && lines[1].contains('█'));
        assert_eq!(
            lines[6],
            "16:06:23 critical GLOBEX   crossed quote; the bid 9 stands above the ask 8"
        );
    }

    #[test]
    fn alerts_are_counted_as_hits_and_false_alarms_and_shown_until_resolved() {
        let scenario = scenario();
        let feeds = &scenario.feeds;
        let mut panel = Panel::new(feeds, 1.0);
        let raised = |tick| {
            Some(Raised {
                feed: 1,
                tick,
                opened: true,
            })
        };
        let tick = feeds[1].labels[0].start;
        panel.tick(1, &feeds[1].ticks[tick]);
        panel.alert(feeds, &heard("opened", "GLOBEX"), raised(tick));
        panel.alert(feeds, &heard("opened", "GLOBEX"), raised(0));
        let lines = panel.lines();
        assert!(
            lines[2].contains("critical 7.2") && lines[2].ends_with("    2"),
            "{lines:#?}"
        );
        assert!(lines[11].starts_with("2 alerts: 1 on faults, 1 false"), "{lines:#?}");
        panel.alert(feeds, &heard("resolved", "GLOBEX"), None);
        assert!(panel.lines()[2].contains("quiet"));
    }

    #[test]
    fn prices_have_seven_digits() {
        assert_eq!(
            [1.376_005, 58_432.05, 0.012, 1e9].map(digits),
            ["1.376005", "58432.05", "0.012000", "1000000000"]
        );
    }
}
