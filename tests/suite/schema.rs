//! The published schema: what is sent validates, and what is damaged does not.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};
use tapewatch::kafka::alert_record::SCHEMA_JSON;
use tapewatch::pipeline::guard::Guard;

use crate::golden;

fn validator() -> &'static Validator {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    VALIDATOR.get_or_init(|| {
        let schema: Value = serde_json::from_str(SCHEMA_JSON).unwrap();
        jsonschema::draft202012::meta::validate(&schema).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    })
}

/// Reads an alert and makes sure that it is as published, and that its shares sum to 1.
///
/// # Panics
/// When it is not.
pub fn assert_valid(alert: &[u8]) -> Value {
    let alert: Value = serde_json::from_slice(alert).unwrap();
    if let Err(error) = validator().validate(&alert) {
        panic!("{error} at {}: {alert}", error.instance_path());
    }
    let shares: Vec<f64> = alert["features"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|of| of["share"].as_f64())
        .collect();
    assert!(
        shares.is_empty() || (shares.iter().sum::<f64>() - 1.0).abs() < 1e-4,
        "{shares:?}"
    );
    assert!(alert["score_max"].as_f64() >= alert["score"].as_f64(), "{alert}");
    alert
}

#[test]
fn every_alert_of_a_run_validates() {
    for alerts in golden::alerts() {
        assert!(!alerts.is_empty());
        let name = |alert: Value| (alert["id"].to_string(), alert["revision"].as_u64());
        let names: BTreeSet<_> = alerts.iter().map(|alert| name(assert_valid(alert))).collect();
        assert_eq!(names.len(), alerts.len(), "id and revision name a message");
    }
}

#[test]
fn published_examples_validate() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/schema/examples");
    let mut examples = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        assert_valid(&std::fs::read(entry.unwrap().path()).unwrap());
        examples += 1;
    }
    assert!(examples >= 5);
}

#[test]
fn group_stands_in_grouped_alerts_and_in_no_other() {
    let example = |name: &str| -> Value {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/schema/examples");
        serde_json::from_slice(&std::fs::read(format!("{folder}/{name}")).unwrap()).unwrap()
    };
    let (shock, single) = (example("shock.json"), example("updated.json"));
    let invalid = |mut alert: Value, member: &str, value: Value| {
        alert[member] = value;
        assert!(!validator().is_valid(&alert), "{member}: {alert}");
    };
    invalid(shock.clone(), "kind", json!("anomaly"));
    invalid(shock.clone(), "instrument", json!("ACME"));
    invalid(shock.clone(), "id", json!("ticks-1-806"));
    invalid(single.clone(), "group", shock["group"].clone());
    invalid(single.clone(), "kind", json!("shock"));
    invalid(single, "id", json!("ticks-1-806-shock"));
    for member in shock["group"].as_object().unwrap().keys() {
        let mut missing = shock["group"].clone();
        missing.as_object_mut().unwrap().remove(member);
        invalid(shock.clone(), "group", missing);
    }
    let mut group = shock["group"].clone();
    group["looks_like"] = json!("weather");
    invalid(shock, "group", group);
}

#[test]
fn alerts_without_feed_units_are_as_valid_as_before() {
    for mut alert in golden::alerts().concat().iter().map(|alert| assert_valid(alert)) {
        for feature in alert["features"].as_array_mut().unwrap() {
            feature.as_object_mut().unwrap().remove("feed");
        }
        assert!(validator().is_valid(&alert), "{alert}");
    }
}

#[test]
fn every_guard_is_named_in_the_schema() {
    for guard in Guard::ALL {
        let name = guard.name();
        assert!(
            SCHEMA_JSON.contains(&format!("\"{name}\"")),
            "{name} is not in the schema"
        );
    }
}

#[test]
fn damaged_alerts_do_not_validate() {
    let whole = golden::alerts()
        .concat()
        .iter()
        .map(|alert| assert_valid(alert))
        .find(|alert| alert["features"][0]["feed"].is_object())
        .expect("an alert with features in the feed's units");
    let members: Vec<String> = whole.as_object().unwrap().keys().cloned().collect();
    for member in &members {
        let mut missing = whole.clone();
        missing.as_object_mut().unwrap().remove(member);
        assert!(!validator().is_valid(&missing), "without {member}");
        let mut wrong = whole.clone();
        wrong[member] = json!([[true]]);
        assert!(!validator().is_valid(&wrong), "{member} of another type");
    }
    let changed: [(&str, Value); 13] = [
        ("/score", json!(-1.0)),
        ("/score", Value::Null),
        ("/p_value", json!(1.5)),
        ("/threshold", json!(0)),
        ("/ticks", json!(0)),
        ("/state", json!("ongoing")),
        ("/schema", json!("tapewatch.alert.v2")),
        ("/features/0/share", json!(1.01)),
        ("/features/0/observed", Value::Null),
        ("/features/0/feed", Value::Null),
        ("/features/0/feed/observed", Value::Null),
        ("/features/0/feed/unit", json!("")),
        ("/latest/offset", json!(-1)),
    ];
    for (pointer, value) in changed {
        let mut alert = whole.clone();
        *alert.pointer_mut(pointer).unwrap() = value.clone();
        assert!(!validator().is_valid(&alert), "{pointer} = {value}");
    }
    for pointer in ["", "/latest", "/features/0", "/features/0/feed"] {
        let mut alert = whole.clone();
        let part = alert.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        part.insert("unknown".into(), json!(1));
        assert!(!validator().is_valid(&alert), "an unknown member in {pointer:?}");
    }
}
