//! The learning loop of the real daemon on the embedded broker: what it makes of instruments that come late, and what it
//! tells of its model.

use std::collections::BTreeSet;

use tapewatch::config::Config;
use tapewatch::daemon::Daemon;
use tapewatch::pipeline::alert::Mode;
use tapewatch::pipeline::score::ModelVersion;
use tapewatch::status::ModelState;
use tapewatch::store::ModelStore;

use crate::broker::{DEADLINE, Scene, wait_for_records};
use crate::market::{self, Line};
use crate::wait;

/// A scene's configuration that calibrates the base model; the next training is a day away.
fn calibrating(scene: &Scene) -> Config {
    let mut config = scene.config("");
    config.model = Config::from_toml("").unwrap().model;
    config.retrain.enabled = true;
    config.retrain.interval_secs = 86_400;
    config.retrain.watch_interval_secs = 1;
    // A worker reports once a second: long enough that it has told of the last swap.
    config.retrain.calibration_interval_secs = 3;
    config.http.enabled = true;
    config.http.listen = "127.0.0.1:0".into();
    config
}

/// The first ticks of each instrument, as many as `counts` says, instrument by instrument.
fn lines(counts: &[usize]) -> Vec<Vec<Line>> {
    // Ticks of the whole market; the slowest instrument has a seventh of them.
    let market = market::ticks(counts.len(), 40_000, 47);
    let of = |(own, count): (&tapewatch::pipeline::tick::InstrumentTicks, &usize)| {
        let mut lines = market::lines(std::slice::from_ref(own));
        assert!(lines.len() >= *count, "{} has {} ticks", own.instrument, lines.len());
        lines.truncate(*count);
        lines.iter_mut().for_each(|line| line.partition = 0);
        lines
    };
    market.iter().zip(counts).map(of).collect()
}

fn wait_for_model(daemon: &Daemon, version: i64) {
    wait::until("the model is at work", DEADLINE, || {
        daemon.check().unwrap();
        daemon.metrics.model_version.get() == version
    });
}

fn states(daemon: &Daemon) -> Vec<(&'static str, i64)> {
    let value = |state: ModelState| daemon.metrics.model_state.with_label_values(&[state.name()]).get();
    ModelState::ALL
        .into_iter()
        .map(|state| (state.name(), value(state)))
        .collect()
}

fn trainings(daemon: &Daemon, outcome: &str) -> u64 {
    daemon.metrics.trainings.with_label_values(&[outcome]).get()
}

const CALIBRATED: [(&str, i64); 4] = [("none", 0), ("base", 0), ("calibrated", 1), ("trained", 0)];

#[test]
fn instrument_that_comes_late_gets_its_calibration_without_waiting_for_the_next_training() {
    let scene = Scene::new(1);
    let lines = lines(&[2000, 2000, 1500, 100]);
    let sent = |instruments: usize| lines[..instruments].iter().map(Vec::len).sum::<usize>();
    lines[..2].iter().for_each(|lines| scene.produce(lines));
    let daemon = scene.start_without_model(calibrating(&scene));
    wait_for_model(&daemon, 1);
    wait_for_records(&daemon, sent(2));
    assert_eq!(states(&daemon), CALIBRATED);
    let made = daemon.metrics.model_made_timestamp_seconds.get();
    let newest_tick = daemon.metrics.model_newest_tick_timestamp_seconds.get();
    assert!(
        made > newest_tick && newest_tick >= 1_704_205_800.0,
        "{made} {newest_tick}"
    );

    // One has enough ticks for a calibration, one has not.
    lines[2..].iter().for_each(|lines| scene.produce(lines));
    wait_for_model(&daemon, 2);
    wait_for_records(&daemon, sent(4));
    let count = |mode: Mode| daemon.metrics.instruments.with_label_values(&[mode.name()]).get();
    wait::until("three instruments are scored, one is learnt", DEADLINE, || {
        (count(Mode::Scoring), count(Mode::Learning)) == (3, 1)
    });
    assert_eq!(states(&daemon), CALIBRATED);
    assert_eq!(
        (trainings(&daemon, "calibrated"), trainings(&daemon, "accepted")),
        (2, 0)
    );
    // The model is as old as before: its weights, and what it says of the others, are.
    assert_eq!(daemon.metrics.model_made_timestamp_seconds.get(), made);
    let store = ModelStore::open(&scene.folder.path().join("models"), 10).unwrap();
    let [first, second] = [1, 2].map(|version| store.load(ModelVersion(version)).unwrap());
    assert_eq!(first.weights, second.weights);
    assert_eq!(first.calibrations.pooled, second.calibrations.pooled);
    assert_eq!(first.calibrations.instruments.len(), 2);
    assert_eq!(second.calibrations.instruments.len(), 3);
    for (name, calibration) in &first.calibrations.instruments {
        assert_eq!(second.calibrations.instruments.get(name), Some(calibration), "{name}");
    }
    let added = second.calibrations.instruments.iter();
    for (_, own) in added.filter(|(name, _)| !first.calibrations.knows(name)) {
        // Its level is its own, the group's tail is the group's.
        let group = &second.calibrations.pooled;
        assert_eq!(
            (&own.newest_scale.tail, &own.opening_rates),
            (&group.newest_scale.tail, &group.opening_rates)
        );
        assert_ne!(own.transform, group.transform);
    }
    assert_status(&daemon);
    daemon.stop().unwrap();

    // What kind of model it is stands in the artifact.
    let daemon = scene.start_without_model(calibrating(&scene));
    wait_for_model(&daemon, 2);
    assert_eq!(states(&daemon), CALIBRATED);
    assert_eq!(daemon.metrics.model_made_timestamp_seconds.get(), made);
    daemon.stop().unwrap();
}

/// The endpoint tells of the model and names the instruments.
fn assert_status(daemon: &Daemon) {
    let address = daemon.address.unwrap().to_string();
    let ask = |path: &str| {
        let (status, body) = wait::get(&address, path).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    let body = ask("/status");
    assert_eq!(body["model"]["state"], "calibrated");
    assert!(body["model"]["made"].is_string() && body["model"]["newest_tick"].is_string());
    assert_eq!(body["training"]["last_outcome"], "calibrated");
    let names = |mode: &str| {
        let page = ask(&format!("/status?instruments={mode}&page=0"));
        assert_eq!(page["mode"], mode);
        let names = page["names"].as_array().unwrap().iter();
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect::<BTreeSet<_>>()
    };
    wait::until("the names are there", DEADLINE, || {
        names("scoring").len() == 3 && names("learning").len() == 1
    });
    assert_eq!(wait::get(&address, "/status?instruments=all").unwrap().0, 400);
}

#[test]
fn without_ticks_the_base_model_is_at_work_and_has_no_age() {
    let scene = Scene::new(1);
    let mut config = calibrating(&scene);
    config.retrain.first_model_wait_secs = 0;
    let daemon = scene.start_without_model(config);
    wait::until("the base model is at work", DEADLINE, || {
        daemon.check().unwrap();
        states(&daemon) == [("none", 0), ("base", 1), ("calibrated", 0), ("trained", 0)]
    });
    let ages = [
        &daemon.metrics.model_made_timestamp_seconds,
        &daemon.metrics.model_newest_tick_timestamp_seconds,
    ];
    assert!(ages.iter().all(|age| age.get() == 0.0));
    assert_eq!(trainings(&daemon, "failed"), 0);
    daemon.stop().unwrap();
}
