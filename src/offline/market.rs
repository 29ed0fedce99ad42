//! The synthetic market: seeded ticks of several instruments with a believable microstructure, for demo and tests.
//!
//! Promises clean ticks: stamps that never go back, prices on the grid, bids below asks, and the same bits for the same
//! configuration on every machine. The latent price, in price steps, moves with GARCH volatility (Bollerslev 1986)
//! under a slow common activity; ticks arrive in self-exciting bursts (Hawkes 1971); the quote follows the latent price
//! lazily; trades come in runs of one sign, as large orders are worked (Lillo, Mike & Farmer 2005). Knows no faults:
//! see [`crate::inject`].

mod characters;

use self::characters::{CHARACTERS, Character, Sizes};
use crate::inject::Draws;
use crate::pipeline::tick::{Body, InstrumentTicks, Quote, Tick, Trade};
use crate::pipeline::time::{EventTime, NANOS_PER_SEC};

/// What market to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketConfig {
    /// How many instruments; they differ in character, which repeats after four (count, ≥ 0).
    pub instruments: usize,
    /// Ticks of all instruments together, shared out by rate so that all end at about the same time (count, ≥ 0).
    pub ticks: usize,
    /// Seed of all that is random.
    pub seed: u64,
    /// When trading begins.
    pub start: EventTime,
}

/// When the synthetic market opens: 2024-01-02 14:30:00 UTC.
pub const OPEN: EventTime = EventTime(1_704_205_800_000_000_000);

/// Instruments of the markets that the program makes: one of each character.
const INSTRUMENTS: usize = 4;

/// Set in the seed of every market that is shown or sent, and in none that a model has been trained on.
const UNSEEN: u64 = 1 << 63;

impl MarketConfig {
    /// The market that the base model has learnt from, beside recorded ticks.
    pub fn of_base_model() -> Self {
        MarketConfig {
            instruments: INSTRUMENTS,
            ticks: 60_000,
            seed: 1,
            start: OPEN,
        }
    }

    /// A market that the base model has not learnt from, whatever the seed (0 to 2⁶³ − 1).
    pub fn unseen(ticks: usize, seed: u64) -> Self {
        MarketConfig {
            instruments: INSTRUMENTS,
            ticks,
            seed: seed | UNSEEN,
            start: OPEN,
        }
    }
}

/// Makes the market: one list of ticks per instrument.
pub fn generate(config: &MarketConfig) -> Vec<InstrumentTicks> {
    let characters = || (0..config.instruments).map(|index| &CHARACTERS[index % CHARACTERS.len()]);
    let rate_total: f64 = characters().map(|character| character.ticks_per_sec).sum();
    let mut rate_before = 0.0;
    let mut made = 0;
    let mut market = Vec::with_capacity(config.instruments);
    for (index, character) in characters().enumerate() {
        rate_before += character.ticks_per_sec;
        // Cumulative shares, so that rounding neither loses nor adds a tick over all instruments.
        let due = (config.ticks as f64 * rate_before / rate_total).round() as usize;
        let mut instrument = Instrument::new(character, Draws::new(config.seed, index as u64 + 1), config.start);
        let ticks = (made..due).map(|_| instrument.next_tick()).collect();
        market.push(InstrumentTicks {
            instrument: name(index),
            ticks,
        });
        made = due;
    }
    market
}

/// A market that goes on for as long as it is asked for ticks.
pub struct Market {
    instruments: Vec<Instrument>,
}

impl Market {
    /// Opens a market; `config.ticks` is of no account.
    pub fn open(config: &MarketConfig) -> Self {
        let character = |index: usize| &CHARACTERS[index % CHARACTERS.len()];
        let open = |index| {
            Instrument::new(
                character(index),
                Draws::new(config.seed, index as u64 + 1),
                config.start,
            )
        };
        Market {
            instruments: (0..config.instruments).map(open).collect(),
        }
    }

    /// Gives the names of the instruments.
    pub fn names(&self) -> Vec<String> {
        (0..self.instruments.len()).map(name).collect()
    }

    /// Gives the mean rate of all instruments together (ticks per second of market time, > 0).
    pub fn ticks_per_sec(&self) -> f64 {
        let rates = self
            .instruments
            .iter()
            .map(|instrument| instrument.character.ticks_per_sec);
        rates.sum()
    }

    /// Makes the next ticks of one instrument.
    pub fn next_ticks(&mut self, instrument: usize, count: usize) -> Vec<Tick> {
        let instrument = &mut self.instruments[instrument];
        (0..count).map(|_| instrument.next_tick()).collect()
    }
}

/// Names an instrument: ACME, …, and ACME2 when the characters come round again.
fn name(index: usize) -> String {
    let character = &CHARACTERS[index % CHARACTERS.len()];
    match index / CHARACTERS.len() {
        0 => character.name.to_owned(),
        round => format!("{}{}", character.name, round + 1),
    }
}

/// One instrument under way.
struct Instrument {
    character: &'static Character,
    draws: Draws,
    clock: Clock,
    activity: Activity,
    price: LatentPrice,
    book: Book,
    flow: OrderFlow,
    sequence: u64,
}

impl Instrument {
    fn new(character: &'static Character, mut draws: Draws, start: EventTime) -> Self {
        // Two instruments of one character start at different prices.
        let value = (character.price_steps * draws.between(0.9, 1.1)).round();
        Self {
            character,
            clock: Clock {
                start,
                elapsed_secs: 0.0,
                excited_rate: 0.0,
            },
            activity: Activity { log_level: 0.0 },
            price: LatentPrice {
                value,
                variance_ratio: 1.0,
            },
            book: Book::around(value, character),
            flow: OrderFlow {
                sign: draws.sign(),
                run_left: 0,
            },
            sequence: 0,
            draws,
        }
    }

    fn next_tick(&mut self) -> Tick {
        let activity = self.activity.next(&mut self.draws);
        self.clock.advance(self.character, activity, &mut self.draws);
        self.price
            .advance(self.character.volatility_steps * activity, &mut self.draws);
        let body = if self.draws.chance(self.character.trade_share) {
            self.trade()
        } else {
            self.quote()
        };
        self.sequence += 1;
        let sequence = self.character.numbered.then_some(self.sequence.into());
        Tick {
            event_time: self.clock.stamp(self.character.stamp_nanos),
            sequence,
            body,
        }
    }

    fn quote(&mut self) -> Body {
        self.book.revise(self.price.value, self.character, &mut self.draws);
        let [bid_size, ask_size] = self.book.sizes(self.character);
        let per_unit = self.character.steps_per_unit;
        Body::Quote(Quote {
            bid: self.book.bid / per_unit,
            ask: self.book.ask / per_unit,
            bid_size,
            ask_size,
        })
    }

    fn trade(&mut self) -> Body {
        if self.character.trade_share >= 1.0 {
            // The quotes of a feed that shows trades alone move unseen.
            self.book.revise(self.price.value, self.character, &mut self.draws);
        }
        let sign = self.flow.next(&mut self.draws);
        let price = if sign > 0.0 { self.book.ask } else { self.book.bid };
        let log_size = TRADE_SIZE_SPREAD * self.draws.normal();
        self.price.value +=
            sign * IMPACT_SPREADS * (self.book.ask - self.book.bid) * libm::exp(0.5 * log_size).min(4.0);
        self.book.consume(sign, log_size);
        let size = self
            .character
            .sizes
            .as_ref()
            .map(|sizes| in_units(sizes.trade_lots * libm::exp(log_size), sizes));
        Body::Trade(Trade {
            price: price / self.character.steps_per_unit,
            size,
        })
    }
}

/// Length of a session (seconds): New York's six and a half hours. Sessions follow each other without a night.
const SESSION_SECS: f64 = 23_400.0;

/// Share of ticks that are set off by earlier ones (0–1): markets run close to one (Hardiman, Bercot & Bouchaud 2013).
const BRANCHING: f64 = 0.75;

/// How fast excitement fades, in multiples of the mean rate (> 0): over a third of the usual time between ticks.
const FADING: f64 = 3.0;

/// When ticks come: a Hawkes process with an exponential kernel over a base rate that is U-shaped through the session.
struct Clock {
    start: EventTime,
    elapsed_secs: f64,
    /// What earlier ticks add to the rate just after the last one (ticks per second, ≥ 0).
    excited_rate: f64,
}

impl Clock {
    /// Goes to the next tick, in constant time and exactly (Dassios & Zhao 2013, algorithm 3.1).
    fn advance(&mut self, character: &Character, activity: f64, draws: &mut Draws) {
        let fading = FADING * character.ticks_per_sec;
        let base_rate = (1.0 - BRANCHING) * character.ticks_per_sec * activity * self.session_factor(character);
        let base_wait = draws.exponential() / base_rate;
        // The excited part is a fading rate, which may well set off no tick at all.
        let left = 1.0 - fading * draws.exponential() / self.excited_rate;
        let excited_wait = if left > 0.0 {
            -libm::log(left) / fading
        } else {
            f64::INFINITY
        };
        let wait = base_wait.min(excited_wait);
        self.excited_rate = self.excited_rate * libm::exp(-fading * wait) + BRANCHING * fading;
        self.elapsed_secs += wait;
    }

    /// Gives how busy this time of the session is; its mean over a session is one.
    fn session_factor(&self, character: &Character) -> f64 {
        let from_noon = 2.0 * (self.elapsed_secs / SESSION_SECS).fract() - 1.0;
        1.0 + character.session_depth * (1.5 * from_noon * from_noon - 0.5)
    }

    fn stamp(&self, resolution_nanos: i64) -> EventTime {
        let elapsed_nanos = (self.elapsed_secs * NANOS_PER_SEC as f64) as i64;
        self.start
            .plus_nanos(elapsed_nanos / resolution_nanos * resolution_nanos)
    }
}

/// Memory of the activity (per tick, 0–1): half of it is forgotten after 1,400 ticks.
const ACTIVITY_MEMORY: f64 = 0.9995;

/// Standard deviation of the activity's logarithm (> 0).
const ACTIVITY_SPREAD: f64 = 0.5;

/// How busy the market is, by slow turns; rate and volatility rise and fall with it (Tauchen & Pitts 1983).
struct Activity {
    log_level: f64,
}

impl Activity {
    /// Gives the activity at the next tick (relative, > 0, mean about one).
    fn next(&mut self, draws: &mut Draws) -> f64 {
        let shock = ACTIVITY_SPREAD * (1.0 - ACTIVITY_MEMORY * ACTIVITY_MEMORY).sqrt();
        self.log_level = ACTIVITY_MEMORY * self.log_level + shock * draws.normal();
        libm::exp(self.log_level - 0.5 * ACTIVITY_SPREAD * ACTIVITY_SPREAD)
    }
}

/// Weights of the last squared move and the last variance in GARCH(1,1): shocks to volatility halve in 70 ticks.
const GARCH: [f64; 2] = [0.08, 0.91];

/// Lowest latent price (price steps): far above zero, so that prices stay positive.
const VALUE_MIN: f64 = 100.0;

/// The price that quotes and trades surround.
struct LatentPrice {
    /// Value (price steps, ≥ [`VALUE_MIN`]).
    value: f64,
    /// Variance over its long-run mean (relative, > 0).
    variance_ratio: f64,
}

impl LatentPrice {
    fn advance(&mut self, volatility_steps: f64, draws: &mut Draws) {
        let shock = self.variance_ratio.sqrt() * draws.normal();
        self.value = (self.value + volatility_steps * shock).max(VALUE_MIN);
        let [shock_weight, memory] = GARCH;
        self.variance_ratio =
            (1.0 - shock_weight - memory) + shock_weight * shock * shock + memory * self.variance_ratio;
    }
}

/// Memory of a displayed size from quote to quote (0–1), and the standard deviation of its logarithm (> 0).
const QUEUE_MEMORY: f64 = 0.92;
const QUEUE_SPREAD: f64 = 0.7;

/// How much of a displayed size a median trade takes away (natural logarithm, ≥ 0).
const QUEUE_CONSUMED: f64 = 0.15;

/// Widest spread (price steps, ≥ 1).
const SPREAD_STEPS_MAX: f64 = 8.0;

/// Share of restless moves that narrow a spread with room for it (0–1): above a half, or spreads would drift apart.
const NARROWING_SHARE: f64 = 0.75;

/// The best bid and ask, in price steps, and what is displayed at them.
struct Book {
    bid: f64,
    ask: f64,
    /// Displayed sizes at bid and ask over their median (natural logarithm).
    log_queues: [f64; 2],
}

impl Book {
    fn around(value: f64, character: &Character) -> Self {
        Self {
            bid: value,
            ask: value + character.spread_steps_min,
            log_queues: [0.0; 2],
        }
    }

    /// Follows the latent price: anew when it has left the quote, by a step now and then, else in sizes alone.
    fn revise(&mut self, value: f64, character: &Character, draws: &mut Draws) {
        let [bid, ask] = [self.bid, self.ask];
        // Half a step of patience, or a price on the edge would flip the quote for ever.
        if value < self.bid - 0.5 || value > self.ask + 0.5 {
            self.recentre(value, character, draws);
        } else if draws.chance(character.restless_share) {
            self.nudge(character, draws);
        }
        for (log_queue, moved) in self.log_queues.iter_mut().zip([bid != self.bid, ask != self.ask]) {
            // A new price level comes with a queue of its own.
            let memory = if moved { 0.0 } else { QUEUE_MEMORY };
            *log_queue = memory * *log_queue + QUEUE_SPREAD * (1.0 - memory * memory).sqrt() * draws.normal();
        }
    }

    fn recentre(&mut self, value: f64, character: &Character, draws: &mut Draws) {
        let mut spread = character.spread_steps_min;
        while spread < SPREAD_STEPS_MAX && draws.chance(character.wide_share) {
            spread += 1.0;
        }
        self.bid = (value - 0.5 * spread).round();
        self.ask = self.bid + spread;
    }

    /// Moves one side by a step, inwards where there is room for it, else outwards.
    fn nudge(&mut self, character: &Character, draws: &mut Draws) {
        let spread = self.ask - self.bid;
        let inwards =
            spread > character.spread_steps_min && (spread >= SPREAD_STEPS_MAX || draws.chance(NARROWING_SHARE));
        let change = if inwards { 1.0 } else { -1.0 };
        if draws.chance(0.5) {
            self.bid += change;
        } else {
            self.ask -= change;
        }
    }

    /// Takes a trade's size off the side that it hit.
    fn consume(&mut self, sign: f64, log_size: f64) {
        let side = usize::from(sign > 0.0);
        self.log_queues[side] -= QUEUE_CONSUMED * libm::exp(log_size).min(8.0);
    }

    fn sizes(&self, character: &Character) -> [Option<f64>; 2] {
        self.log_queues.map(|log_queue| {
            character
                .sizes
                .as_ref()
                .map(|sizes| in_units(sizes.queue_lots * libm::exp(log_queue), sizes))
        })
    }
}

/// Standard deviation of the logarithm of trade sizes (> 0).
const TRADE_SIZE_SPREAD: f64 = 1.1;

/// How far a median trade pushes the latent price (spreads, ≥ 0); larger ones by the square root of their size.
const IMPACT_SPREADS: f64 = 0.05;

/// Tail exponent of the length of an order's run of trades (> 1), and its limit (trades, ≥ 1).
const RUN_TAIL: f64 = 1.5;
const RUN_TRADES_MAX: f64 = 200.0;

/// Share of trades by others while an order is being worked (0–1).
const BYSTANDER_SHARE: f64 = 0.3;

/// Who takes: buyers (+1) or sellers (−1), in runs.
struct OrderFlow {
    sign: f64,
    run_left: u32,
}

impl OrderFlow {
    fn next(&mut self, draws: &mut Draws) -> f64 {
        if self.run_left == 0 {
            self.sign = draws.sign();
            // Pareto lengths make signs remember each other for long.
            self.run_left = libm::exp(draws.exponential() / RUN_TAIL).min(RUN_TRADES_MAX) as u32;
        }
        self.run_left -= 1;
        if draws.chance(BYSTANDER_SHARE) {
            draws.sign()
        } else {
            self.sign
        }
    }
}

/// Gives a size in the feed's unit, whole lots and at least one.
fn in_units(lots: f64, sizes: &Sizes) -> f64 {
    lots.round().max(1.0) / sizes.lots_per_unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inject::price_step;

    fn market(ticks: usize, seed: u64) -> Vec<InstrumentTicks> {
        let start = EventTime(1_700_000_000 * NANOS_PER_SEC);
        generate(&MarketConfig {
            instruments: 6,
            ticks,
            seed,
            start,
        })
    }

    fn quotes(ticks: &[Tick]) -> Vec<Quote> {
        let quote = |tick: &Tick| {
            if let Body::Quote(quote) = tick.body {
                Some(quote)
            } else {
                None
            }
        };
        ticks.iter().filter_map(quote).collect()
    }

    fn trades(ticks: &[Tick]) -> Vec<Trade> {
        let trade = |tick: &Tick| {
            if let Body::Trade(trade) = tick.body {
                Some(trade)
            } else {
                None
            }
        };
        ticks.iter().filter_map(trade).collect()
    }

    fn autocorrelation(series: &[f64], lag: usize) -> f64 {
        let mean = series.iter().sum::<f64>() / series.len() as f64;
        let product = |pair: &[f64]| (pair[0] - mean) * (pair[lag] - mean);
        let variance: f64 = series.iter().map(|x| (x - mean) * (x - mean)).sum();
        series.windows(lag + 1).map(product).sum::<f64>() / variance
    }

    #[test]
    fn same_seed_gives_the_same_bits_and_another_seed_does_not() {
        assert_eq!(market(5_000, 3), market(5_000, 3));
        assert_ne!(market(5_000, 3), market(5_000, 4));
    }

    #[test]
    fn no_seed_gives_the_market_that_the_base_model_has_learnt_from() {
        let learnt = generate(&MarketConfig::of_base_model());
        for seed in [0, 1, 2, i64::MAX as u64] {
            let unseen = generate(&MarketConfig::unseen(60_000, seed));
            for (unseen, learnt) in unseen.iter().zip(&learnt) {
                assert_eq!(unseen.instrument, learnt.instrument);
                assert_ne!(unseen.ticks[..100], learnt.ticks[..100], "seed {seed}");
            }
        }
    }

    #[test]
    fn ticks_are_shared_out_without_loss_and_names_are_unique() {
        let market = market(10_001, 1);
        assert_eq!(
            market.iter().map(|instrument| instrument.ticks.len()).sum::<usize>(),
            10_001
        );
        let names: Vec<&str> = market.iter().map(|instrument| instrument.instrument.as_str()).collect();
        assert_eq!(names, ["ACME", "GLOBEX", "EURFIC", "GOLDF", "ACME2", "GLOBEX2"]);
        let nothing = MarketConfig {
            instruments: 0,
            ticks: 9,
            seed: 0,
            start: EventTime(0),
        };
        assert_eq!(generate(&nothing), []);
    }

    #[test]
    fn clean_ticks_are_never_crossed_nor_late_nor_off_the_grid() {
        for InstrumentTicks { instrument, ticks } in market(120_000, 5) {
            assert!(ticks.is_sorted_by_key(|tick| tick.event_time), "{instrument}");
            let step = price_step(&ticks).expect("prices move");
            let on_grid = |price: f64| (price / step - (price / step).round()).abs() < 1e-4 && price > 0.0;
            for quote in quotes(&ticks) {
                assert!(
                    quote.bid < quote.ask && on_grid(quote.bid) && on_grid(quote.ask),
                    "{instrument} {quote:?}"
                );
                assert!(quote.bid_size.is_none_or(|size| size > 0.0));
            }
            assert!(trades(&ticks).iter().all(|trade| on_grid(trade.price)), "{instrument}");
        }
    }

    #[test]
    fn characters_differ_as_described() {
        let market = market(100_000, 6);
        let [share, crypto, currency, future] = &market[..4] else {
            panic!("four characters")
        };
        for mixed in [share, crypto] {
            assert!(!quotes(&mixed.ticks).is_empty() && !trades(&mixed.ticks).is_empty());
            assert!(
                quotes(&mixed.ticks)
                    .iter()
                    .all(|quote| quote.bid_size.is_some() && quote.ask_size.is_some())
            );
        }
        assert!(trades(&currency.ticks).is_empty());
        assert!(quotes(&currency.ticks).iter().all(|quote| quote.bid_size.is_none()));
        assert!(quotes(&future.ticks).is_empty());
        assert!(trades(&future.ticks).iter().all(|trade| trade.size.is_some()));
    }

    #[test]
    fn spreads_are_mostly_narrow() {
        for instrument in &market(100_000, 7)[..3] {
            let step = price_step(&instrument.ticks).expect("prices move");
            let quotes = quotes(&instrument.ticks);
            let narrow = quotes.iter().filter(|quote| quote.ask - quote.bid < 3.5 * step).count();
            assert!(narrow as f64 > 0.8 * quotes.len() as f64, "{}", instrument.instrument);
        }
    }

    #[test]
    fn volatility_clusters() {
        for instrument in &market(400_000, 8)[..3] {
            // Moves over blocks of quotes, so that the bounce of single quotes does not hide their size.
            let mids: Vec<f64> = quotes(&instrument.ticks).iter().step_by(20).map(Quote::mid).collect();
            let moves: Vec<f64> = mids.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
            let [near, far] = [1, 5].map(|lag| autocorrelation(&moves, lag));
            assert!(near > 0.05 && far > 0.02, "{} {near} {far}", instrument.instrument);
        }
    }

    #[test]
    fn ticks_come_in_bursts_at_the_named_rates() {
        for (instrument, character) in market(2_000_000, 9).iter().zip(CHARACTERS.iter()) {
            let ticks = &instrument.ticks;
            let gaps: Vec<f64> = ticks
                .windows(2)
                .map(|pair| pair[1].event_time.nanos_since(pair[0].event_time) as f64 * 1e-9)
                .collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let deviation =
                (gaps.iter().map(|gap| (gap - mean) * (gap - mean)).sum::<f64>() / gaps.len() as f64).sqrt();
            assert!(
                (0.5..2.0).contains(&(1.0 / mean / character.ticks_per_sec)),
                "{} {mean}",
                instrument.instrument
            );
            // A Poisson process would have a ratio of one.
            assert!(deviation / mean > 1.3, "{} {}", instrument.instrument, deviation / mean);
        }
    }

    #[test]
    fn sessions_are_busier_at_their_ends() {
        let clock = |share: f64| Clock {
            start: EventTime(0),
            elapsed_secs: share * SESSION_SECS,
            excited_rate: 0.0,
        };
        let factor = |share| clock(share).session_factor(&CHARACTERS[0]);
        assert!(factor(0.01) > 2.0 * factor(0.5) && factor(0.99) > 2.0 * factor(0.5));
        let mean = (0..1_000).map(|i| factor((f64::from(i) + 0.5) / 1_000.0)).sum::<f64>() / 1_000.0;
        assert!((mean - 1.0).abs() < 1e-3, "{mean}");
    }

    #[test]
    fn trades_remember_the_sign_of_earlier_ones() {
        let mut draws = Draws::new(10, 0);
        let mut flow = OrderFlow { sign: 1.0, run_left: 0 };
        let signs: Vec<f64> = (0..50_000).map(|_| flow.next(&mut draws)).collect();
        assert!(autocorrelation(&signs, 1) > 0.15 && autocorrelation(&signs, 10) > 0.02);
    }
}
