//! Keys that have stood elsewhere, so that a file of an earlier version is told where they are now.

use config::{Value, ValueKind};

use super::Problem;

/// Old section, key, new section.
const MOVED: [(&str, &str, &str); 8] = [
    ("model", "context", "model.experimental"),
    ("model", "layers", "model.experimental"),
    ("model", "bias", "model.experimental"),
    ("model", "dropout", "model.experimental"),
    ("model", "bidirectional", "model.experimental"),
    ("model", "bottleneck", "model.experimental"),
    ("model", "horizon", "model.experimental"),
    ("model", "conditioned", "model.experimental"),
];

/// Takes keys out that stand at their old place, and lists them with the new one.
pub(super) fn check(found: &mut Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (section, key, now) in MOVED {
        let ValueKind::Table(root) = &mut found.kind else { break };
        let Some(ValueKind::Table(old)) = root.get_mut(section).map(|section| &mut section.kind) else {
            continue;
        };
        if old.remove(key).is_some() {
            problems.push(Problem::new(
                format!("{section}.{key}"),
                format!("this key has moved; write it under [{now}]"),
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn keys_at_their_old_place_are_told_the_new_one_all_at_once() {
        let text = Config::from_toml("[model]\nlayers = 2\nhorizon = 99999").unwrap_err();
        let expected = "model.layers: this key has moved; write it under [model.experimental]\n\
                        model.horizon: this key has moved; write it under [model.experimental]";
        assert_eq!(text.to_string(), expected);
    }

    #[test]
    fn parts_are_chosen_under_their_new_section() {
        let text = "[model]\nbase = \"none\"\n[model.experimental]\nlayers = 2\nhorizon = 3";
        let spec = Config::from_toml(text).unwrap().model.spec();
        assert_eq!((spec.layers, spec.horizon), (2, 3));
        // The new section's ranges hold as well.
        let text = Config::from_toml("[model.experimental]\nlayers = 5")
            .unwrap_err()
            .to_string();
        assert_eq!(text, "model.experimental.layers: expected 1 to 4 layers, found 5");
    }
}
