//! Shocks through the whole detector: what hits all instruments at once is one alert, and says what it looks like.

use serde_json::Value;
use tapewatch::config::Config;
use tapewatch::pipeline::tick::{Body, InstrumentTicks, Tick};

use crate::market::{self, Line, run};
use crate::schema;

/// Eight instruments on one partition; from the same moment on something happens to the ticks of some.
fn lines(hit: usize, change: impl Fn(&mut Tick, usize)) -> Vec<Line> {
    let mut market = market::ticks(8, 24_000, 41);
    let moment = market::OPEN.plus_nanos(120_000_000_000);
    for InstrumentTicks { ticks, .. } in market.iter_mut().take(hit) {
        let later = ticks.iter_mut().filter(|tick| tick.event_time >= moment);
        later.enumerate().for_each(|(after, tick)| change(tick, after));
    }
    let on_one = |(offset, line): (i64, Line)| Line {
        partition: 0,
        offset,
        ..line
    };
    (0..).zip(market::lines(&market)).map(on_one).collect()
}

/// A clock that is an hour slow for one tick.
fn wrong_stamp(tick: &mut Tick, after: usize) {
    if after == 0 {
        tick.event_time = tick.event_time.plus_nanos(-3_600_000_000_000);
    }
}

/// Prices that fall by two in a hundred and stay there.
fn fall(tick: &mut Tick, _: usize) {
    let fallen = |price: f64| 0.98 * price;
    match &mut tick.body {
        Body::Trade(trade) => trade.price = fallen(trade.price),
        Body::Quote(quote) => (quote.bid, quote.ask) = (fallen(quote.bid), fallen(quote.ask)),
    }
}

/// Alerts that opened, the same however records are cut into batches.
fn opened(lines: &[Line]) -> Vec<Value> {
    // Little but the shock is above the threshold.
    let text = market::SMALL.replace("[guards]", "[alerts]\nfalse_alarms_per_10k_ticks = 0.1\n\n[guards]");
    let config = Config::from_toml(&text).unwrap();
    let run = |batch| run(&config, Some(market::trained().model()), lines, batch);
    let [one, seven, many] = [1, 7, 500].map(run);
    assert!(one.alerts == seven.alerts && one.alerts == many.alerts);
    assert!(one.verdicts == seven.verdicts && one.verdicts == many.verdicts);
    let alerts = one.alerts.iter().map(|alert| schema::assert_valid(alert));
    alerts.filter(|alert| alert["state"] == "opened").collect()
}

fn assert_one_shock(opened: &[Value], looks_like: &str) {
    let told: Vec<_> = opened.iter().map(|alert| &alert["summary"]).collect();
    let shocks: Vec<&Value> = opened.iter().filter(|alert| alert["kind"] == "shock").collect();
    assert_eq!(shocks.len(), 1, "{told:#?}");
    assert_eq!(shocks[0]["group"]["looks_like"], looks_like, "{told:#?}");
    assert_eq!(shocks[0]["group"]["instruments"], 5);
    assert_eq!(shocks[0]["instrument"], "*");
}

#[test]
fn wrong_stamps_on_all_instruments_are_one_alert_that_looks_like_the_feed() {
    let opened = opened(&lines(8, wrong_stamp));
    assert_one_shock(&opened, "feed");
    let regressed = opened.iter().filter(|alert| alert["kind"] == "time_regress");
    assert_eq!(regressed.count(), 4, "those before it was a shock");
}

#[test]
fn fall_of_all_prices_is_one_alert_that_looks_like_the_market() {
    assert_one_shock(&opened(&lines(8, fall)), "market");
}

#[test]
fn wrong_stamps_on_few_instruments_are_an_alert_each() {
    let opened = opened(&lines(4, wrong_stamp));
    assert!(opened.iter().all(|alert| alert["kind"] != "shock"));
    let regressed = opened.iter().filter(|alert| alert["kind"] == "time_regress");
    assert_eq!(regressed.count(), 4);
}

#[test]
fn a_recording_that_is_loaded_at_full_speed_gives_the_alerts_of_a_backtest() {
    let (faulty, _) = market::with_faults(&market::ticks(8, 24_000, 43), 43);
    let config = Config::from_toml(market::SMALL).unwrap();
    let opened = |lines: &[Line]| -> Vec<String> {
        let alerts = run(&config, Some(market::trained().model()), lines, 64).alerts;
        let alerts = alerts.iter().map(|alert| schema::assert_valid(alert));
        let opened = alerts.filter(|alert| alert["state"] == "opened");
        opened
            .map(|alert| {
                format!(
                    "{} {} {}",
                    alert["instrument"], alert["kind"], alert["opened_by"]["event_time"]
                )
            })
            .collect()
    };
    // All on one partition, a thousand records a second whatever their pace was; a backtest sees each feed by itself.
    let on_one = |(offset, line): (i64, Line)| Line {
        partition: 0,
        offset,
        ..line
    };
    let all: Vec<Line> = (0..).zip(market::lines(&faulty)).map(on_one).collect();
    let mut together = opened(&all);
    let mut alone = Vec::new();
    for of in &faulty {
        alone.extend(opened(&market::lines(std::slice::from_ref(of))));
    }
    together.sort();
    alone.sort();
    assert!(alone.len() > 20, "{} alerts", alone.len());
    assert_eq!(together, alone);
}
