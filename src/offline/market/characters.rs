//! The characters: what makes the instruments of the synthetic market differ.

/// What makes one kind of instrument unlike another.
pub(super) struct Character {
    pub name: &'static str,
    /// First price (price steps, ≫ 1).
    pub price_steps: f64,
    /// Price steps in one unit of price (count, ≥ 1).
    pub steps_per_unit: f64,
    /// Standard deviation of the latent price's move per tick (price steps, > 0).
    pub volatility_steps: f64,
    /// Mean rate (ticks per second, > 0).
    pub ticks_per_sec: f64,
    /// How much busier the ends of a session are than its middle (relative, 0–1).
    pub session_depth: f64,
    /// Share of trades among ticks (0–1).
    pub trade_share: f64,
    /// Share of quotes that move a price without need (0–1).
    pub restless_share: f64,
    /// How often a new spread is a step wider than the least, and again (probability, 0–1).
    pub wide_share: f64,
    /// Least spread (price steps, ≥ 1).
    pub spread_steps_min: f64,
    /// Sizes, where the feed has them.
    pub sizes: Option<Sizes>,
    /// Whether the feed numbers its ticks.
    pub numbered: bool,
    /// Resolution of the feed's stamps (nanoseconds, ≥ 1).
    pub stamp_nanos: i64,
}

/// The sizes of one kind of instrument.
pub(super) struct Sizes {
    /// Lots in one unit of size (count, > 0).
    pub lots_per_unit: f64,
    /// Median size displayed on one side (lots, ≥ 1).
    pub queue_lots: f64,
    /// Median size of a trade (lots, ≥ 1).
    pub trade_lots: f64,
}

/// A share, a very fast crypto pair, a currency pair without sizes, a future whose feed has trades alone.
pub(super) const CHARACTERS: [Character; 4] = [
    Character {
        name: "ACME",
        price_steps: 8_725.0,
        steps_per_unit: 100.0,
        volatility_steps: 0.32,
        ticks_per_sec: 6.0,
        session_depth: 0.7,
        trade_share: 0.15,
        restless_share: 0.06,
        wide_share: 0.35,
        spread_steps_min: 1.0,
        sizes: Some(Sizes {
            lots_per_unit: 0.01,
            queue_lots: 4.0,
            trade_lots: 1.5,
        }),
        numbered: true,
        stamp_nanos: 1_000,
    },
    Character {
        name: "GLOBEX",
        price_steps: 618_000.0,
        steps_per_unit: 10.0,
        volatility_steps: 0.9,
        ticks_per_sec: 24.0,
        session_depth: 0.2,
        trade_share: 0.35,
        restless_share: 0.03,
        wide_share: 0.15,
        spread_steps_min: 1.0,
        sizes: Some(Sizes {
            lots_per_unit: 1_000.0,
            queue_lots: 3_000.0,
            trade_lots: 25.0,
        }),
        numbered: true,
        stamp_nanos: 1,
    },
    Character {
        name: "EURFIC",
        price_steps: 137_600.0,
        steps_per_unit: 100_000.0,
        volatility_steps: 0.8,
        ticks_per_sec: 4.0,
        session_depth: 0.5,
        trade_share: 0.0,
        restless_share: 0.75,
        wide_share: 0.45,
        spread_steps_min: 1.0,
        sizes: None,
        numbered: false,
        stamp_nanos: 1_000_000,
    },
    Character {
        name: "GOLDF",
        price_steps: 13_130.0,
        steps_per_unit: 10.0,
        volatility_steps: 0.3,
        ticks_per_sec: 5.0,
        session_depth: 0.6,
        trade_share: 1.0,
        restless_share: 0.05,
        wide_share: 0.2,
        spread_steps_min: 1.0,
        sizes: Some(Sizes {
            lots_per_unit: 1.0,
            queue_lots: 12.0,
            trade_lots: 1.2,
        }),
        numbered: false,
        stamp_nanos: 1_000_000,
    },
];
