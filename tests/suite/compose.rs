//! `docker-compose.yml`: what holds for every service. Whether the file is valid as a whole is checked by docker-compose, in
//! `tests/run.sh`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::process::run;

/// The lines of each service.
fn services() -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker-compose.yml");
    let text = fs::read_to_string(path).unwrap();
    let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = None;
    let lines = text.lines().skip_while(|line| *line != "services:").skip(1);
    for line in lines.take_while(|line| line.is_empty() || line.starts_with([' ', '#'])) {
        match line.strip_prefix("  ").and_then(|line| line.strip_suffix(':')) {
            Some(service) if !service.starts_with([' ', '#']) => name = Some(service.to_owned()),
            _ => services
                .entry(name.clone().unwrap_or_default())
                .or_default()
                .push(line.trim().to_owned()),
        }
    }
    services.remove("");
    services
}

#[test]
fn every_service_has_limits_and_every_lasting_one_a_health_check() {
    let services = services();
    let expected = [
        "alertmanager",
        "generate",
        "grafana",
        "kafka",
        "prometheus",
        "replay",
        "tapewatch",
        "topics",
    ];
    assert!(
        services.keys().map(String::as_str).eq(expected),
        "{:?}",
        services.keys()
    );
    for (name, lines) in &services {
        let has = |key: &str| lines.iter().any(|line| line.starts_with(key));
        for limit in ["mem_limit:", "cpus:", "pids_limit:"] {
            assert!(has(limit), "{name} has no {limit}");
        }
        let lasts = !lines.iter().any(|line| line == "restart: \"no\"");
        assert!(!lasts || has("healthcheck:"), "{name} has no healthcheck");
    }
}

#[test]
fn market_of_the_compose_file_is_a_command_of_the_program() {
    let services = services();
    let command = services["generate"]
        .iter()
        .find_map(|line| line.strip_prefix("command: "))
        .unwrap();
    let mut arguments: Vec<String> = serde_json::from_str(command).unwrap();
    arguments.push("--help".to_owned());
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &arguments).code, Some(0));
}
