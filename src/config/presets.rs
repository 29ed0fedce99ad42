//! Layouts of known feeds, as files that are built in.
//!
//! Promises that every preset is a file that a user could have written: `tapewatch check --preset` prints it.

use serde::Deserialize;

use super::TomlText;
use crate::pipeline::decode::Rule;

/// Name and text of every preset, by name.
pub const PRESETS: [(&str, &str); 20] = [
    ("alpaca", include_str!("../../config/presets/alpaca.toml")),
    ("binance", include_str!("../../config/presets/binance.toml")),
    ("bitfinex", include_str!("../../config/presets/bitfinex.toml")),
    ("bybit", include_str!("../../config/presets/bybit.toml")),
    ("coinbase", include_str!("../../config/presets/coinbase.toml")),
    ("connect", include_str!("../../config/presets/connect.toml")),
    ("cryptofeed", include_str!("../../config/presets/cryptofeed.toml")),
    ("databento", include_str!("../../config/presets/databento.toml")),
    (
        "databento_pretty",
        include_str!("../../config/presets/databento_pretty.toml"),
    ),
    ("debezium", include_str!("../../config/presets/debezium.toml")),
    ("deribit", include_str!("../../config/presets/deribit.toml")),
    ("dxfeed", include_str!("../../config/presets/dxfeed.toml")),
    ("finnhub", include_str!("../../config/presets/finnhub.toml")),
    ("fix_json", include_str!("../../config/presets/fix_json.toml")),
    ("gate", include_str!("../../config/presets/gate.toml")),
    ("iex", include_str!("../../config/presets/iex.toml")),
    ("kraken", include_str!("../../config/presets/kraken.toml")),
    ("kraken_v1", include_str!("../../config/presets/kraken_v1.toml")),
    ("okx", include_str!("../../config/presets/okx.toml")),
    ("polygon", include_str!("../../config/presets/polygon.toml")),
];

/// What a preset's file holds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    decode: Layout,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    rules: Vec<Rule>,
}

/// Gives the text of a preset.
///
/// # Errors
/// A text that lists the presets that there are.
pub fn text(name: &str) -> Result<&'static str, String> {
    let found = PRESETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text).ok_or_else(|| {
        let names: Vec<&str> = PRESETS.iter().map(|(name, _)| *name).collect();
        format!("expected one of {}, found {name:?}", names.join(", "))
    })
}

/// Gives the rules of a preset.
///
/// # Errors
/// A text that lists the presets that there are.
pub(super) fn rules(name: &str) -> Result<Vec<Rule>, String> {
    let source = config::Config::builder()
        .add_source(TomlText::source(text(name)?))
        .build();
    let preset: Preset = source
        .and_then(config::Config::try_deserialize)
        .map_err(|error| error.to_string())?;
    Ok(preset.decode.rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_preset_is_a_layout_and_its_rules_have_names() {
        for (name, _) in PRESETS {
            let text = format!("[decode]\npreset = \"{name}\"");
            let config = Config::from_toml(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let rules = &config.decode.preset_rules;
            assert!(
                !rules.is_empty() && rules.iter().all(|rule| !rule.name.is_empty()),
                "{name}"
            );
            assert!(
                rules.iter().all(|rule| rule.ignore || !rule.time.0.is_empty()),
                "{name}"
            );
        }
        assert!(PRESETS.is_sorted());
    }

    #[test]
    fn rules_of_ones_own_come_before_those_of_a_preset() {
        let text = "[decode]\npreset = [\"okx\", \"kraken\"]\n[[decode.rules]]\nwhen = { \"/x\" = 1 }\nignore = true";
        let names = Config::from_toml(text).unwrap().decode.rule_names();
        assert_eq!((names[0].as_str(), names[1].as_str()), ("rule 1", "answers"));
        assert!(names.len() > 8);
        let error = Config::from_toml("[decode]\npreset = \"bnance\"")
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("decode.preset: expected one of alpaca, binance"),
            "{error}"
        );
    }
}
