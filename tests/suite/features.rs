//! The features' reference: `config/features.md` is made of the catalogue and the inverses, and says what they say.
//!
//! `TAPEWATCH_REGENERATE=1 cargo test --release --test suite features` writes it anew.

use std::fmt::Write;
use std::path::Path;

use tapewatch::pipeline::feature::inverse::inverse_of;
use tapewatch::pipeline::feature::{CATALOGUE, FEATURES, Feature, GROUPS};

/// What stands above the tables: the signs that formulas use.
const SIGNS: &str = "\
# Features

Every tick becomes a row of these numbers, of its own instrument alone and from what came up to it. Each table stands in
the order of a row. *In the feed's units* is the inverse: the quantity that an alert tells beside the feature's own value,
and how it is found from the feature's value x. A feature without one is a share or a statistic, and its own unit. This
file is made by a test of what the code says (`tests/suite/features.rs`).

| sign | meaning |
|---|---|
| r, b, a, p | natural logarithms of the reference price, the bid, the ask and the last trade; the reference price is the mid where the feed has quotes, else the last trade |
| r′, b′, a′, p′, moving_share′ | the same before this tick |
| Δr | r − r′; so for the others |
| Δr⁻ | the last Δr before this one that was not 0 |
| back(r) | the smaller of Δr and Δr⁻ with the sign of Δr where the two are opposite, else 0 |
| n | updates of the price from the one move to the other: of r quotes on a feed with quotes, else trades; 1 where the next one goes back |
| σ | mean of the moves of r before this tick that were not 0, one counting for at most 5 means; half-life 200 moves; σ₁₀ … σ₁₀₀₀ with half-lives of so many moves |
| σₚ | the same of p |
| h | half of the last a − b above 0, before this tick |
| B, A | sizes at bid and ask, at least 10⁻⁹ |
| level | of sizes: mean of their logarithms before this quote or trade, one counting for at most 3 mean deviations; of spread and time: a mean as for σ. The horizon names its half-life. |
| g, G | time since the last tick, and the level of it |
| V₁₀, V₅₀₀ | means of trade sizes as for σ, this trade included; half-lives of 10 and 500 trades |
| mean | exponentially weighted, this tick included; the horizon names its half-life |
| sum(u, limit) | ln(1 + S), where S becomes S + u at each tick, at least 0 and at most the limit (Page's cumulative sum) |

A feature that a feed cannot fill, or whose scale is not known yet, is 0. None is beyond ±1,000,000: where a price is so far
off, an alert tells the price itself. Between two quotes the columns of quotes stand still, between two trades most of
those of trades. In inverses, *before* is before this tick; σ, levels and medians are those of the feature.
";

fn reference() -> String {
    let mut text = SIGNS.to_owned();
    let mut index = 0;
    for group in GROUPS {
        write!(text, "\n## {}\n\nThey find {}.\n\n", group.title, group.finds).unwrap();
        text.push_str(
            "| feature | unit | formula | horizon | for | in the feed's units |\n|---|---|---|---|---|---|\n",
        );
        for feature in group.features {
            text.push_str(&line(feature, index));
            index += 1;
        }
    }
    text
}

fn line(feature: &Feature, index: usize) -> String {
    let inverse = inverse_of(index).map_or_else(String::new, |inverse| {
        let (quantity, unit) = (inverse.quantity, inverse.unit.name());
        format!("{quantity} ({unit}): {}", inverse.formula)
    });
    let cells = [
        feature.unit,
        feature.formula,
        feature.horizon,
        feature.purpose,
        &inverse,
    ];
    // A bar would end the cell.
    let cells = cells.map(|cell| cell.replace('|', "\\|")).join(" | ");
    format!("| `{}` | {cells} |\n", feature.name)
}

#[test]
fn reference_of_the_features_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/features.md");
    let found = reference();
    if std::env::var("TAPEWATCH_REGENERATE").is_ok_and(|value| value == "1") {
        std::fs::write(&path, &found).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (number, (found, golden)) in found.lines().zip(golden.lines()).enumerate() {
        assert_eq!(found, golden, "line {} of {}", number + 1, path.display());
    }
    assert_eq!(found, golden);
}

#[test]
fn every_feature_is_documented() {
    let documented = GROUPS.iter().map(|group| group.features.len()).sum::<usize>();
    assert_eq!(documented, FEATURES);
    for feature in &CATALOGUE {
        for said in [
            feature.name,
            feature.unit,
            feature.formula,
            feature.horizon,
            feature.purpose,
        ] {
            assert!(!said.is_empty(), "{}", feature.name);
        }
    }
}
