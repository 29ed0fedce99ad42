//! Prices that have been elsewhere and are back: what a wrong print or quote leaves behind when the next ones are right.
//!
//! A move back is the smaller of a move and the opposite one before it. Natural prices come back too, but seldom at the very
//! next update, so the quick ones are divided by the updates between the two moves.

use serde::{Deserialize, Serialize};

use super::price::{Moves, Step};
use super::scales::{Scales, positive};
use super::{Columns, Group, feature};
use crate::pipeline::robust::{Scale, relative};
use crate::pipeline::tick::Tick;

/// The columns that are written here.
pub(super) const GROUP: Group = Group {
    title: "Moves back",
    finds: "a wrong print or quote, once the next ones are right again",
    features: &[
        feature(
            "reversal",
            "σ of the smaller of two opposite moves",
            "back(r) / σ",
            "2 moves; σ 200 moves",
            "a wrong print or quote that is taken back",
        ),
        feature(
            "bid_reversal",
            "σ of the smaller of two opposite moves of the bid",
            "back(b) / σ",
            "2 moves of the bid; σ 200 moves",
            "a wrong bid that is taken back",
        ),
        feature(
            "ask_reversal",
            "σ of the smaller of two opposite moves of the ask",
            "back(a) / σ",
            "2 moves of the ask; σ 200 moves",
            "a wrong ask that is taken back",
        ),
        feature(
            "trade_reversal",
            "σ of trades of the smaller of two opposite moves",
            "back(p) / σₚ",
            "2 moves of trades; σ 200 moves",
            "a wrong print that is taken back",
        ),
        feature(
            "quote_reversal",
            "σ of the smaller reversal of bid and ask together",
            "the smaller of back(b) and back(a) / σ where both have one sign, else 0",
            "2 moves; σ 200 moves",
            "a wrong quote on both sides that is taken back",
        ),
        feature(
            "round_trip",
            "σ by which two opposite moves cancel beyond what is left of them",
            "sign(Δr) · max(|back(r)| − |Δr + Δr⁻|, 0) / σ",
            "2 moves; σ 200 moves",
            "a price that has been elsewhere and is back",
        ),
        feature(
            "trade_round_trip",
            "σ of trades by which two opposite moves cancel beyond what is left of them",
            "sign(Δp) · max(|back(p)| − |Δp + Δp⁻|, 0) / σₚ",
            "2 moves of trades; σ 200 moves",
            "a print that has been elsewhere and is back",
        ),
        feature(
            "quick_reversal",
            "σ (half-life 15 moves) of the smaller of two opposite moves, per update between them",
            "back(r) / (σ₁₅ n)",
            "2 moves; σ 15 moves",
            "a wrong print or quote that the next one takes back",
        ),
        feature(
            "quick_quote_reversal",
            "σ (half-life 15 moves) of the smaller reversal of bid and ask together, per quote between",
            "the smaller of back(b) and back(a) / (σ₁₅ n) where both have one sign, else 0; n the larger of both sides'",
            "2 moves; σ 15 moves",
            "a wrong quote on both sides that the next one takes back",
        ),
        feature(
            "quick_trade_reversal",
            "σ of trades (half-life 15 moves) of the smaller of two opposite moves, per trade between them",
            "back(p) / (σₚ₁₅ n)",
            "2 moves of trades; σ 15 moves",
            "a wrong print that the next one takes back",
        ),
        feature(
            "outside_and_back",
            "σ (half-life 15 moves) that a trade stood beyond bid or ask and the next one came back",
            "sign(Δp) · min(|Δp|, |the last trade's distance beyond bid or ask|) / σ₁₅ of a trade that moves back, else 0",
            "2 trades; σ 15 moves",
            "a print that the quotes before and the trade after contradict",
        ),
    ],
};

/// Gives the smaller of a move and one before it with the sign of the newer where they are opposite; 0 where they agree.
fn smaller_opposite(now: f64, before: f64) -> f64 {
    if now * before < 0.0 {
        now.signum() * now.abs().min(before.abs())
    } else {
        0.0
    }
}

/// The last move of one price that was not zero, and the updates of the price since.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Track {
    last: f64,
    updates: u32,
}

/// A move back (difference of logarithms, signed as the newer move; 0 where there is none) and the updates that it took.
#[derive(Clone, Copy)]
struct Back {
    size: f64,
    updates: u32,
}

impl Track {
    /// Gives how far `now`, the move of the newest update, goes back.
    fn back(&self, now: f64) -> Back {
        Back {
            size: smaller_opposite(now, self.last),
            updates: self.updates.saturating_add(1),
        }
    }

    /// Gives how much of `now` and the opposite move before it cancels beyond what is left of them, with the sign of `now`:
    /// the price has been elsewhere and is back; 0 where more is left than cancels.
    fn round_trip(&self, now: f64) -> f64 {
        let back = smaller_opposite(now, self.last);
        back.signum() * (back.abs() - (now + self.last).abs()).max(0.0)
    }

    /// Takes in the move that an update of the price made.
    fn observe(&mut self, moved: f64) {
        if moved == 0.0 {
            self.updates = self.updates.saturating_add(1);
        } else {
            *self = Track {
                last: moved,
                updates: 0,
            };
        }
    }
}

impl Back {
    /// Gives the move back of bid and ask together: the smaller one where both go the same way.
    fn of_both(bid: Back, ask: Back) -> Back {
        Back {
            size: smaller_opposite(bid.size, -ask.size),
            updates: bid.updates.max(ask.updates),
        }
    }

    /// Gives the share of the size that counts for each update.
    fn per_update(&self) -> f64 {
        self.size / f64::from(self.updates)
    }
}

/// What moves are held against.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReversalState {
    reference: Track,
    bid: Track,
    ask: Track,
    trade: Track,
    /// How far the last trade stood beyond bid or ask (difference of logarithms, signed).
    outside: f64,
    volatility: Scale,
    trade_volatility: Scale,
}

impl ReversalState {
    /// Half-life of the short volatility (moves).
    const HALF_LIFE: f64 = 15.0;

    pub(super) fn new() -> Self {
        ReversalState {
            reference: Track::default(),
            bid: Track::default(),
            ask: Track::default(),
            trade: Track::default(),
            outside: 0.0,
            volatility: Scale::new(Self::HALF_LIFE),
            trade_volatility: Scale::new(Self::HALF_LIFE),
        }
    }

    /// Writes the columns of moves back.
    pub(super) fn observe(&mut self, tick: &Tick, step: &Step, columns: &mut Columns<'_>) {
        let moves = &step.moves;
        let (bid, ask) = (self.bid.back(moves.bid), self.ask.back(moves.ask));
        let both = Back::of_both(bid, ask);
        let (reference, trade) = (self.reference.back(moves.reference), self.trade.back(moves.trade));
        columns.push(relative(reference.size, step.volatility));
        columns.push(relative(bid.size, step.volatility));
        columns.push(relative(ask.size, step.volatility));
        columns.push(relative(trade.size, step.trade_volatility));
        columns.push(relative(both.size, step.volatility));
        columns.push(relative(self.reference.round_trip(moves.reference), step.volatility));
        columns.push(relative(self.trade.round_trip(moves.trade), step.trade_volatility));
        columns.push(self.volatility.relative(reference.per_update()));
        columns.push(self.volatility.relative(both.per_update()));
        columns.push(self.trade_volatility.relative(trade.per_update()));
        columns.push(self.volatility.relative(smaller_opposite(moves.trade, self.outside)));
        self.write_scales(&mut *columns.scales, [reference, both, trade].map(|back| back.updates));
        self.remember(tick, step);
    }

    fn write_scales(&self, scales: &mut Scales, updates: [u32; 3]) {
        let [reference, both, trade] = updates.map(f64::from);
        let (volatility, trade_volatility) = (self.volatility.value(), self.trade_volatility.value());
        scales.sigma_15 = positive(volatility);
        scales.quick_sigma = positive(volatility * reference);
        scales.quick_quote_sigma = positive(volatility * both);
        scales.quick_trade_sigma = positive(trade_volatility * trade);
    }

    fn remember(&mut self, tick: &Tick, step: &Step) {
        let Moves {
            reference,
            bid,
            ask,
            trade,
        } = step.moves;
        self.volatility.observe(reference.abs());
        self.trade_volatility.observe(trade.abs());
        if step.sets_reference {
            self.reference.observe(reference);
        }
        if tick.is_trade() {
            self.trade.observe(trade);
            self.outside = step.outside.unwrap_or(0.0);
        } else {
            self.bid.observe(bid);
            self.ask.observe(ask);
        }
    }
}
