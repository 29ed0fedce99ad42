//! The files that tapewatch is deployed with: they agree with each other, with the configuration and with the docs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use tapewatch::config::Config;

use crate::process::expect;

/// Seconds that the daemon may take beyond `worker.drain_secs` for leaving the group.
const LEAVE_SECS: u64 = 10;
/// What the daemon takes beside a training (bytes): twice what `memory.rs` allows the program, its libraries and its model.
const DAEMON_BYTES: usize = 256 << 20;
/// Columns of a Grafana dashboard.
const COLUMNS: u64 = 24;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn text(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The documents of a file of YAML.
fn documents(file: &str) -> Vec<Value> {
    let text = text(file);
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{file}: {error}")))
        .collect()
}

/// All files of YAML of one folder.
fn manifests(folder: &str) -> Vec<Value> {
    let mut files: Vec<PathBuf> = fs::read_dir(path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let yaml = files
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    yaml.flat_map(|file| documents(file.to_str().unwrap())).collect()
}

fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = manifests.iter().filter(|manifest| manifest["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{} of kind {kind}", found.len());
    found[0]
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn defaults() -> Config {
    Config::from_toml("").unwrap()
}

/// What the image's own configuration sets.
fn image() -> Config {
    Config::from_toml(&text("config/docker.toml")).unwrap()
}

fn image_port() -> u64 {
    image().http.listen.rsplit(':').next().unwrap().parse().unwrap()
}

/// A word of the Dockerfile after an instruction.
fn instruction(name: &str) -> String {
    let dockerfile = text("deploy/Dockerfile");
    let found: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix(name)).collect();
    assert_eq!(found.len(), 1, "{name}");
    found[0].trim().to_owned()
}

/// "1Gi" and "512Mi" as bytes.
fn bytes(quantity: &Value) -> usize {
    let text = string(quantity);
    let of = |suffix: &str, shift: u32| Some(text.strip_suffix(suffix)?.parse::<usize>().unwrap() << shift);
    of("Gi", 30)
        .or_else(|| of("Mi", 20))
        .unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn manifests_speak_of_the_same_pods_ports_and_names() {
    let base = manifests("deploy/kubernetes/base");
    let set = of_kind(&base, "StatefulSet");
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert!(labels.is_object());
    for selector in [
        &set["spec"]["selector"]["matchLabels"],
        &of_kind(&base, "Service")["spec"]["selector"],
        &of_kind(&base, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &of_kind(&base, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let port = &container["ports"][0];
    assert_eq!(port["containerPort"], image_port());
    let service = of_kind(&base, "Service");
    assert_eq!(set["spec"]["serviceName"], service["metadata"]["name"]);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
    assert_eq!(service["spec"]["ports"][0]["port"], image_port());
    assert_eq!(
        of_kind(&base, "NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"],
        port["name"]
    );
    let annotations = &set["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"], image_port().to_string());
    assert_eq!(annotations["prometheus.io/path"], "/metrics");
    for (probe, asked) in [
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ] {
        let get = &container[probe]["httpGet"];
        assert_eq!((string(&get["path"]), &get["port"]), (asked, &port["name"]), "{probe}");
    }
    let environment = &container["envFrom"][0]["configMapRef"]["name"];
    assert_eq!(environment, &of_kind(&base, "ConfigMap")["metadata"]["name"]);

    let monitoring = manifests("deploy/kubernetes/monitoring");
    let monitor = of_kind(&monitoring, "ServiceMonitor");
    assert_eq!(
        monitor["spec"]["selector"]["matchLabels"],
        service["metadata"]["labels"]
    );
    assert_eq!(
        monitor["spec"]["endpoints"][0]["port"],
        service["spec"]["ports"][0]["name"]
    );
    // The rules look for this job.
    let job = string(&monitor["spec"]["jobLabel"]);
    assert_eq!(service["metadata"]["labels"][job], "tapewatch");
}

#[test]
fn every_manifest_is_in_its_kustomization() {
    for folder in ["base", "sasl", "monitoring"] {
        let folder = format!("deploy/kubernetes/{folder}");
        let all = manifests(&folder);
        let kustomization = of_kind(&all, "Kustomization");
        let resources = list(&kustomization["resources"]).iter().map(string);
        let patches = list(&kustomization["patches"])
            .iter()
            .map(|patch| string(&patch["path"]));
        let named: BTreeSet<String> = resources
            .chain(patches)
            .filter(|name| *name != "../base")
            .map(str::to_owned)
            .collect();
        let files = fs::read_dir(path(&folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let there: BTreeSet<String> = files
            .map(|name| name.into_string().unwrap())
            // The Secret is an example, and the file of the configuration is made a ConfigMap.
            .filter(|name| !["kustomization.yaml", "secret.yaml", "tapewatch.toml"].contains(&name.as_str()))
            .collect();
        assert_eq!(named, there, "{folder}");
    }
}

#[test]
fn container_may_stop_and_train_as_the_configuration_says() {
    let base = manifests("deploy/kubernetes/base");
    let pod = &of_kind(&base, "StatefulSet")["spec"]["template"]["spec"];
    let drain_secs = image().worker.drain_secs + LEAVE_SECS;
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > drain_secs);
    let user = format!(
        "{}:{}",
        pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]
    );
    assert_eq!(instruction("USER "), user);
    assert_eq!(pod["securityContext"]["fsGroup"], pod["securityContext"]["runAsGroup"]);
    let container = &pod["containers"][0];
    assert_eq!(container["image"], concat!("tapewatch:", env!("CARGO_PKG_VERSION")));
    let models = image().retrain.models_dir;
    assert_eq!(Path::new(string(&container["volumeMounts"][0]["mountPath"])), models);
    let needed = image().training.memory_bytes_max + DAEMON_BYTES;
    let resources = &container["resources"];
    assert!(bytes(&resources["limits"]["memory"]) >= needed, "{resources}");
    assert!(bytes(&resources["requests"]["memory"]) >= needed, "{resources}");
    assert_eq!(instruction("VOLUME "), models.to_str().unwrap());
    assert_eq!(instruction("EXPOSE "), image_port().to_string());
}

/// What takes the place of the image's configuration says the same, and its secret is where the pod has it.
#[test]
fn manifests_with_a_password_name_what_the_pod_has() {
    let sasl = manifests("deploy/kubernetes/sasl");
    let pod = &of_kind(&sasl, "StatefulSet")["spec"]["template"]["spec"];
    let secret = of_kind(&sasl, "Secret");
    let mounted = |name: &str| {
        let mounts = list(&pod["containers"][0]["volumeMounts"]);
        let mount = mounts.iter().find(|mount| mount["name"] == name).unwrap();
        string(&mount["mountPath"]).to_owned()
    };
    let volume = |name: &str| {
        list(&pod["volumes"])
            .iter()
            .find(|volume| volume["name"] == name)
            .unwrap()
    };
    assert_eq!(volume("kafka")["secret"]["secretName"], secret["metadata"]["name"]);
    let key = secret["stringData"].as_object().unwrap().keys().next().unwrap();
    let file = text("deploy/kubernetes/sasl/tapewatch.toml");
    let password = format!("{}/{key}", mounted("kafka"));
    assert!(
        file.contains(&format!("\"sasl.password\" = \"{password}\"")),
        "{password}"
    );
    let generated = &of_kind(&sasl, "Kustomization")["configMapGenerator"][0];
    assert_eq!(volume("config")["configMap"]["name"], generated["name"]);
    assert_eq!(generated["files"][0], "tapewatch.toml");
    let command = instruction("CMD [");
    let config = format!("{}/tapewatch.toml", mounted("config"));
    assert!(command.contains(&config), "{command}");

    let config = Config::from_toml(&file).unwrap();
    assert_eq!(
        (&config.http.listen, &config.retrain.models_dir),
        (&image().http.listen, &image().retrain.models_dir)
    );
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("password");
    fs::write(&here, "secret").unwrap();
    fs::write(
        folder.path().join("tapewatch.toml"),
        file.replace(&password, here.to_str().unwrap()),
    )
    .unwrap();
    expect(folder.path(), 0, &["check", "--config", "tapewatch.toml"]);
}

#[test]
fn rules_of_the_operator_are_those_of_prometheus() {
    let rules = documents("deploy/prometheus/alerts.yml");
    let monitoring = manifests("deploy/kubernetes/monitoring");
    let operator = &of_kind(&monitoring, "PrometheusRule")["spec"];
    assert!(
        operator == &rules[0],
        "deploy/kubernetes/monitoring/rules.yaml is not that of deploy/prometheus/alerts.yml; the command at its top makes it"
    );
}

#[test]
fn every_rule_tells_how_bad_it_is_and_leads_to_its_runbook() {
    let page = text("docs/operations.md");
    let runbook: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|heading| heading.starts_with("Tapewatch"))
        .collect();
    let mut named = BTreeSet::new();
    let rules = documents("deploy/prometheus/alerts.yml").remove(0);
    for rule in list(&rules["groups"]).iter().flat_map(|group| list(&group["rules"])) {
        let name = string(&rule["alert"]);
        let severity = string(&rule["labels"]["severity"]);
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
        let annotations = &rule["annotations"];
        assert!(
            string(&annotations["summary"]).contains("{{ $labels.instance }}"),
            "{name}"
        );
        assert!(string(&annotations["description"]).trim().ends_with('.'), "{name}");
        let link = format!("docs/operations.md#{}", name.to_lowercase());
        assert_eq!(annotations["runbook_url"], link.as_str(), "{name}");
        let (_, section) = page
            .split_once(&format!("\n### {name}\n"))
            .unwrap_or_else(|| panic!("docs/operations.md has no section {name}"));
        let section = section.split("\n#").next().unwrap();
        let grade = if severity == "critical" {
            "*Critical.*"
        } else {
            "*Warning.*"
        };
        for part in [grade, "**Look at**", "**Do**"] {
            assert!(section.contains(part), "{name}: the runbook lacks {part}");
        }
        named.insert(name.to_owned());
    }
    assert_eq!(
        runbook,
        named.iter().map(String::as_str).collect(),
        "sections without a rule"
    );
}

#[test]
fn every_panel_says_what_it_shows_and_none_covers_another() {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/dashboards/tapewatch.json")).unwrap();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        let title = string(&panel["title"]);
        assert!(!title.is_empty() && ids.insert(panel["id"].to_string()), "{title}");
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(at("x") + at("w") <= COLUMNS, "{title} is too wide");
        for cell in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} covers another panel at {cell:?}");
        }
        if panel["type"] == "row" {
            continue;
        }
        let description = string(&panel["description"]);
        assert!(
            description.ends_with('.') && description.contains(' '),
            "{title}: {description}"
        );
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(!string(&defaults["unit"]).is_empty(), "{title} has no unit");
        assert!(!list(&panel["targets"]).is_empty(), "{title} shows nothing");
    }
    assert!(ids.len() > 30, "{} panels", ids.len());
}

/// The `Key=value` lines of the unit.
fn unit(key: &str) -> Vec<String> {
    let unit = text("deploy/systemd/tapewatch.service");
    let values = unit
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

#[test]
fn service_may_stop_and_train_as_the_configuration_says() {
    let seconds: u64 = unit("TimeoutStopSec")[0].parse().unwrap();
    assert!(seconds > defaults().worker.drain_secs + LEAVE_SECS);
    assert_eq!(unit("MemoryMax"), ["1G"]);
    assert!(1 << 30 >= defaults().training.memory_bytes_max + DAEMON_BYTES);
    assert_eq!(unit("RestartPreventExitStatus"), ["2 78"]);
}

/// `systemd-analyze` on the unit, with the built program in place of the installed one; `None` after saying so where it
/// cannot be had.
fn analyse(arguments: &[&str]) -> Option<(bool, String)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tapewatch.service");
    let unit = text("deploy/systemd/tapewatch.service");
    assert!(unit.contains("/usr/local/bin/tapewatch "));
    fs::write(
        &file,
        unit.replace("/usr/local/bin/tapewatch", env!("CARGO_BIN_EXE_tapewatch")),
    )
    .unwrap();
    let Ok(output) = Command::new("systemd-analyze").args(arguments).arg(&file).output() else {
        eprintln!("skipped: systemd-analyze is missing (Debian: systemd)");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), said.into_owned()))
}

#[test]
fn service_is_well_formed_and_little_exposed() {
    let Some((is_sound, said)) = analyse(&["verify", "--man=no"]) else {
        return;
    };
    assert!(is_sound && !said.contains("tapewatch.service:"), "{said}");
    // In tenths: 1.5 of 10. A port, sockets and the machine's network make 1.2 of it.
    let (is_below, said) = analyse(&["security", "--offline=true", "--threshold=15", "--no-pager"]).unwrap();
    assert!(is_below, "{said}");
}

#[test]
fn image_is_built_with_what_the_readme_installs() {
    let readme = text("README.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, after) = readme.split_once("`apt install ").unwrap();
    let mut wanted: Vec<&str> = after.split('`').next().unwrap().split(' ').collect();
    let dockerfile = text("deploy/Dockerfile");
    let (build, run) = dockerfile.split_once("\nFROM debian").unwrap();
    let mut installed: Vec<&str> = build
        .split("--no-install-recommends ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .trim_end_matches(['\\', ' '])
        .split(' ')
        .collect();
    wanted.sort_unstable();
    installed.sort_unstable();
    assert_eq!(installed, wanted);
    // The library that belongs to libssl-dev, of the same Debian.
    assert!(run.contains(" libssl3 "));
    assert!(build.contains("-bookworm AS build") && run.starts_with(":bookworm"));
}

/// What `cargo package` packs is enough to build from: every file that is compiled in goes along.
#[test]
fn package_holds_every_file_that_is_compiled_in() {
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let packed: BTreeSet<PathBuf> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(PathBuf::from)
        .collect();
    let mut seen = 0;
    for source in packed
        .iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
    {
        let Ok(code) = fs::read_to_string(path(source.to_str().unwrap())) else {
            continue;
        };
        for macro_name in ["include_str!(\"", "include_bytes!(\""] {
            for rest in code.split(macro_name).skip(1) {
                let target = source.parent().unwrap().join(rest.split('"').next().unwrap());
                let mut plain = PathBuf::new();
                for part in target.components() {
                    match part {
                        std::path::Component::ParentDir => assert!(plain.pop()),
                        other => plain.push(other),
                    }
                }
                assert!(
                    packed.contains(&plain),
                    "{} includes {}, which is not packed",
                    source.display(),
                    plain.display()
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "{seen} files");
}
