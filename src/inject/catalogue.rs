//! The catalogue: which faults there are, what they are called, and how densely they are sown.
//!
//! Promises one word per fault, the same in code, files and reports. Does not know how a fault is done to ticks.

use serde::{Deserialize, Serialize};

/// A kind of fault that can be injected; strengths are what [`Label::magnitude`](super::Label::magnitude) then holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// One to three trades or quotes stand 3 to 40 σ away. Magnitude: σ.
    PriceSpike,
    /// One or two ticks have a price, or all of theirs, with the decimal point elsewhere. Magnitude: the factor.
    DecimalShift,
    /// Trades print 2 to 20 σ away from quotes that stay. Magnitude: σ.
    OffMarketTrades,
    /// The price leaves for a level 6 to 50 σ away and returns, at once or by and by. Magnitude: σ.
    LevelShift,
    /// Every move is 2 to 8 times as large, and the stretch ends at the true price. Magnitude: the factor.
    VolatilityBurst,
    /// Every tick is off by its own amount of 1 to 8 σ. Magnitude: σ.
    PriceNoise,
    /// Prices swing to and fro by 1.5 to 10 σ. Magnitude: σ.
    PriceOscillation,
    /// The spread is 2.5 to 12 times as wide around the same mid price. Magnitude: the factor.
    SpreadBlowout,
    /// The bid meets or exceeds the ask. Magnitude: price steps, 0 when locked.
    CrossedQuote,
    /// Trades are 4 to 40 times as large. Magnitude: the factor.
    VolumeBurst,
    /// A size or two are 8 to 1,000 times as large. Magnitude: the factor.
    SizeSpike,
    /// Displayed size swells on one side, then on the other (layering). Magnitude: multiple of the median size.
    SizeOscillation,
    /// Displayed size shrinks to a 4th to a 50th on one side or both. Magnitude: the divisor.
    DepthDrop,
    /// Prices, and sometimes sizes, stand still while ticks go on. Magnitude: ticks.
    StaleFeed,
    /// Extra quotes that say nothing new come 4 to 30 times as fast as usual. Magnitude: the multiple of the rate.
    QuoteStuffing,
    /// Ticks are held up and then hurried, or hurried and then silent. Magnitude: the multiple of the rate.
    RateSurge,
    /// A good part of the ticks of a stretch is lost. Magnitude: share lost.
    LostRows,
    /// All ticks of a long silence are lost; the label is on the ticks after it. Magnitude: silence in long gaps.
    SilentGap,
    /// Stamps are moved forward or back. Magnitude: seconds, signed.
    TimeJump,
    /// A block of ticks arrives after the block that should follow it. Magnitude: ticks in the late block.
    OutOfOrder,
    /// A block of ticks arrives twice. Magnitude: ticks in the block.
    RepeatedRows,
    /// Ticks carry another instrument's moves, scaled to this one's price level. Magnitude: ticks.
    ForeignRows,
}

/// What a fault breaks: the unit in which faults are left out to see how the unknown is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// A few rows stand apart.
    Displacement,
    /// The level leaves and returns.
    Excursion,
    /// Moves are too large.
    Volatility,
    /// The spread is too wide.
    Spread,
    /// Bid and ask contradict each other.
    Crossing,
    /// Traded or displayed sizes are off.
    Size,
    /// Fields stand still.
    Frozen,
    /// Ticks come too fast or too slowly.
    Rate,
    /// Ticks are missing.
    Gap,
    /// Stamps are wrong.
    Stamp,
    /// Ticks come in the wrong order.
    Order,
    /// Ticks belong to another instrument.
    ForeignRows,
}

impl Fault {
    /// All faults, in the order of the documentation.
    pub const ALL: [Fault; 22] = [
        Fault::PriceSpike,
        Fault::DecimalShift,
        Fault::OffMarketTrades,
        Fault::LevelShift,
        Fault::VolatilityBurst,
        Fault::PriceNoise,
        Fault::PriceOscillation,
        Fault::SpreadBlowout,
        Fault::CrossedQuote,
        Fault::VolumeBurst,
        Fault::SizeSpike,
        Fault::SizeOscillation,
        Fault::DepthDrop,
        Fault::StaleFeed,
        Fault::QuoteStuffing,
        Fault::RateSurge,
        Fault::LostRows,
        Fault::SilentGap,
        Fault::TimeJump,
        Fault::OutOfOrder,
        Fault::RepeatedRows,
        Fault::ForeignRows,
    ];

    /// Gives the name that files, flags and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Fault::PriceSpike => "price_spike",
            Fault::DecimalShift => "decimal_shift",
            Fault::OffMarketTrades => "off_market_trades",
            Fault::LevelShift => "level_shift",
            Fault::VolatilityBurst => "volatility_burst",
            Fault::PriceNoise => "price_noise",
            Fault::PriceOscillation => "price_oscillation",
            Fault::SpreadBlowout => "spread_blowout",
            Fault::CrossedQuote => "crossed_quote",
            Fault::VolumeBurst => "volume_burst",
            Fault::SizeSpike => "size_spike",
            Fault::SizeOscillation => "size_oscillation",
            Fault::DepthDrop => "depth_drop",
            Fault::StaleFeed => "stale_feed",
            Fault::QuoteStuffing => "quote_stuffing",
            Fault::RateSurge => "rate_surge",
            Fault::LostRows => "lost_rows",
            Fault::SilentGap => "silent_gap",
            Fault::TimeJump => "time_jump",
            Fault::OutOfOrder => "out_of_order",
            Fault::RepeatedRows => "repeated_rows",
            Fault::ForeignRows => "foreign_rows",
        }
    }

    /// Finds the fault of this name.
    pub fn from_name(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }

    /// Gives the family that this fault belongs to.
    pub fn family(self) -> Family {
        match self {
            Fault::PriceSpike | Fault::DecimalShift | Fault::OffMarketTrades => Family::Displacement,
            Fault::LevelShift => Family::Excursion,
            Fault::VolatilityBurst | Fault::PriceNoise | Fault::PriceOscillation => Family::Volatility,
            Fault::SpreadBlowout => Family::Spread,
            Fault::CrossedQuote => Family::Crossing,
            Fault::VolumeBurst | Fault::SizeSpike | Fault::SizeOscillation | Fault::DepthDrop => Family::Size,
            Fault::StaleFeed => Family::Frozen,
            Fault::QuoteStuffing | Fault::RateSurge => Family::Rate,
            Fault::LostRows | Fault::SilentGap => Family::Gap,
            Fault::TimeJump => Family::Stamp,
            Fault::OutOfOrder | Fault::RepeatedRows => Family::Order,
            Fault::ForeignRows => Family::ForeignRows,
        }
    }
}

/// Which faults are injected, and how densely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// The faults to draw from, each as likely as the others.
    pub faults: Vec<Fault>,
    /// Mean distance between the starts of two faults; long faults stretch it (ticks, ≥ 1).
    pub ticks_per_fault: usize,
    /// Clean ticks before the first fault and between two (ticks, ≥ 0; one is kept before the first in any case).
    pub margin_ticks: usize,
}

impl Catalogue {
    /// Makes the default catalogue without some families.
    pub fn without(families: &[Family]) -> Self {
        let mut catalogue = Self::default();
        catalogue.faults.retain(|fault| !families.contains(&fault.family()));
        catalogue
    }

    /// Makes a catalogue of these faults alone, sown as densely as by default.
    pub fn only(faults: &[Fault]) -> Self {
        Self {
            faults: faults.to_vec(),
            ..Self::default()
        }
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        // One fault per 400 ticks is what the judge's prototypes were trained on; after 96 clean ticks the features
        // with a memory of up to 64 ticks have forgotten the fault before.
        Self {
            faults: Fault::ALL.to_vec(),
            ticks_per_fault: 400,
            margin_ticks: 96,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_are_unique() {
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(Fault::from_name(fault.name()), Some(fault));
            assert!(
                fault
                    .name()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
            assert!(Fault::ALL[..index].iter().all(|other| other.name() != fault.name()));
        }
        assert_eq!(Fault::from_name("no_such_fault"), None);
    }

    #[test]
    fn default_catalogue_holds_every_fault() {
        assert_eq!(Catalogue::default().faults, Fault::ALL);
        let without = Catalogue::without(&[Family::Spread, Family::Order]);
        assert_eq!(without.faults.len(), Fault::ALL.len() - 3);
        assert_eq!(Catalogue::only(&[Fault::LevelShift]).faults, [Fault::LevelShift]);
    }
}
