//! Shocks: alerts that open in many instruments at once become one, which says whether it looks like the feed or the
//! market.
//!
//! Promises to decide by the stamps of records in the order in which their ticks are judged, so that a replay decides the
//! same however batches were cut; that an alert is published or counted in a group, and never lost; and that it remembers
//! one opening per instrument and one member per instrument of the shock that stands. Knows neither clocks nor scores of
//! ticks that raise no alert.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::alert::{Alert, AlertConfig, AlertKind, AlertState, Episode, Observation};
use super::guard::Guard;
use super::time::{ArrivalTime, NANOS_PER_SEC};

/// The instrument that a grouped alert names: all of them.
pub const EVERY_INSTRUMENT: &str = "*";
/// Most names, and most ids, in a grouped alert: what a person reads, and what fits a message whatever the names.
pub const NAMED_MAX: usize = 32;

/// Features that speak of how ticks come, not of what they say: gaps, stamps, rates, standstill and repeats. (A burst of
/// ticks comes with every shock of the market too; there the prices speak louder.)
const FEED_FEATURES: [&str; 13] = [
    "gap",
    "time_back",
    "rate_8",
    "rate_32",
    "rate_128",
    "rate_512",
    "tied_share",
    "price_age",
    "price_age_time",
    "stale_density",
    "bid_age",
    "ask_age",
    "repeated_quotes",
];

/// What a shock looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LooksLike {
    /// The feed, or what brings it here.
    Feed,
    /// The market.
    Market,
}

impl LooksLike {
    /// Gives the name used in alerts and logs.
    pub fn name(self) -> &'static str {
        match self {
            LooksLike::Feed => "feed",
            LooksLike::Market => "market",
        }
    }

    /// Says what one opened alert looks like. Stamps, sequence numbers, silence, standstill and prices that no market
    /// makes are the feed's; crossed and locked quotes the market's. Of a model's alert, the features with more than half
    /// of the score decide.
    fn of(alert: &Alert) -> Self {
        let is_feed = match alert.kind {
            AlertKind::Guard(guard) => match guard {
                Guard::CrossedQuote | Guard::LockedQuote => false,
                Guard::AbsurdPrice
                | Guard::DecimalShift
                | Guard::TimeRegress
                | Guard::TimeJump
                | Guard::TimeFuture
                | Guard::Duplicate
                | Guard::SequenceGap
                | Guard::Stale
                | Guard::Frozen => true,
            },
            AlertKind::Anomaly | AlertKind::Shock => {
                let of_feed = alert.features.iter().filter(|of| FEED_FEATURES.contains(&of.name()));
                of_feed.map(|of| of.share).sum::<f32>() > 0.5
            }
        };
        if is_feed { LooksLike::Feed } else { LooksLike::Market }
    }
}

/// What a grouped alert says beside what every alert says.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// What more than half of the members look like; the market where none is more.
    pub looks_like: LooksLike,
    /// Members: instruments with an alert in the shock (> 0).
    pub instruments: usize,
    /// Instruments that were at work, most so far (≥ `instruments`).
    pub active: usize,
    /// Alerts that were folded in (> 0).
    pub alerts_folded: usize,
    /// Alerts folded in that are open.
    pub alerts_open: usize,
    /// Names of the first members, at most [`NAMED_MAX`].
    pub names: Vec<Arc<str>>,
    /// Ids of members' alerts that had been published when the shock began, at most [`NAMED_MAX`].
    pub published: Vec<Arc<str>>,
}

/// What shocks remember of one instrument.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The stretch of arrival time in which it was seen last.
    seen_in: Option<i64>,
    /// When its last alert opened.
    opened_at: Option<ArrivalTime>,
    /// The shock that its open alert was folded into.
    folded_into: Option<u64>,
}

impl Part {
    /// Tells whether the open alert was folded into a shock's.
    pub fn is_folded(&self) -> bool {
        self.folded_into.is_some()
    }
}

/// One instrument with an alert in the shock.
struct Member {
    /// Its number in the order of joining.
    joined: usize,
    name: Arc<str>,
    /// Id of its alert, if that was published.
    published: Option<Arc<str>>,
    looks_like: LooksLike,
}

/// The shock that stands.
struct Standing {
    number: u64,
    /// Arrival of the last opening at which there was a shock.
    held_at: ArrivalTime,
    members: BTreeMap<usize, Member>,
    /// Members that ever joined.
    joined: usize,
    active: usize,
    folded: usize,
    open: usize,
    /// Members and score of the last revision.
    published_members: usize,
    published_score: f32,
    alert: Alert,
}

impl Standing {
    fn add(&mut self, slot: usize, mut member: Member) {
        if !self.members.contains_key(&slot) {
            member.joined = self.joined;
            self.joined += 1;
            self.members.insert(slot, member);
        }
    }

    /// Takes over from an alert that was folded in what it said last, and its worst if that is the shock's worst.
    fn take_in(&mut self, of: &Alert) {
        self.alert.latest = of.latest;
        self.alert.score = of.score;
        self.alert.threshold = of.threshold;
        self.alert.severity = self.alert.severity.max(of.severity);
        if of.score_max > self.alert.score_max {
            self.alert.score_max = of.score_max;
            self.alert.mode = of.mode;
            self.alert.arm = of.arm;
            self.alert.features.clone_from(&of.features);
            self.alert.model_version = of.model_version;
        }
    }

    /// Makes a revision of the grouped alert.
    fn revision(&mut self, state: AlertState, active: usize) -> Alert {
        let instruments = self.members.len();
        self.active = self.active.max(active).max(instruments);
        self.published_members = instruments;
        self.published_score = self.alert.score_max;
        self.alert.revision += u32::from(state != AlertState::Opened);
        self.alert.state = state;
        let mut members: Vec<&Member> = self.members.values().collect();
        members.sort_unstable_by_key(|member| member.joined);
        let of_feed = members.iter().filter(|member| member.looks_like == LooksLike::Feed);
        let looks_like = if 2 * of_feed.count() > instruments {
            LooksLike::Feed
        } else {
            LooksLike::Market
        };
        let names = members.iter().map(|member| Arc::clone(&member.name));
        let published = members.iter().filter_map(|member| member.published.clone());
        self.alert.group = Some(Box::new(Group {
            looks_like,
            instruments,
            active: self.active,
            alerts_folded: self.folded,
            alerts_open: self.open,
            names: names.take(NAMED_MAX).collect(),
            published: published.take(NAMED_MAX).collect(),
        }));
        self.alert.clone()
    }
}

/// The last alert that an instrument opened.
struct Opening {
    name: Arc<str>,
    /// Its id, if it was published.
    published: Option<Arc<str>>,
    looks_like: LooksLike,
}

impl Opening {
    fn member(&self) -> Member {
        Member {
            joined: 0,
            name: Arc::clone(&self.name),
            published: self.published.clone(),
            looks_like: self.looks_like,
        }
    }
}

/// Decides what becomes of alerts in many instruments.
pub struct Shocks {
    instruments_min: usize,
    share: f64,
    update_decades: f32,
    window_nanos: i64,
    /// Instruments at work are counted by stretches of arrival time, so many of which are the configured time.
    stretch_nanos: i64,
    active_nanos: i64,
    silence_nanos: i64,
    /// Stretch → instruments seen last in it.
    seen: BTreeMap<i64, usize>,
    /// The last opening of each instrument, by arrival and slot.
    openings: BTreeMap<(ArrivalTime, usize), Opening>,
    standing: Option<Standing>,
    begun: u64,
}

impl Shocks {
    /// Stretches in the time for which an instrument counts as at work: an eighth of it is near enough.
    const STRETCHES: i64 = 8;

    /// Makes shocks of no instrument.
    pub fn new(config: &AlertConfig) -> Self {
        let nanos = |secs: f64| ((secs * NANOS_PER_SEC as f64) as i64).max(1);
        let active_nanos = nanos(config.shock_active_secs);
        Shocks {
            instruments_min: config.shock_instruments_min,
            share: config.shock_share,
            update_decades: config.update_decades,
            window_nanos: nanos(config.shock_window_secs),
            stretch_nanos: (active_nanos / Self::STRETCHES).max(1),
            active_nanos,
            silence_nanos: nanos(config.silence_secs as f64),
            seen: BTreeMap::new(),
            openings: BTreeMap::new(),
            standing: None,
            begun: 0,
        }
    }

    /// Tells whether a shock stands.
    pub fn is_standing(&self) -> bool {
        self.standing.is_some()
    }

    /// Takes in one judged tick of the instrument in `slot` and the revision that its alert made of it. Gives what is
    /// published: of the instrument's own alert, and of the grouped one.
    pub fn observe(
        &mut self,
        slot: usize,
        part: &mut Part,
        episode: &mut Episode,
        seen: &Observation,
        revision: Option<Alert>,
    ) -> [Option<Alert>; 2] {
        if self.instruments_min == 0 {
            return [revision, None];
        }
        let arrival = seen.cause.arrival_time;
        self.see(part, arrival);
        if let Some(standing) = &mut self.standing {
            standing.alert.ticks += 1;
        }
        if let Some(alert) = revision.as_ref().filter(|alert| alert.state == AlertState::Opened) {
            return self.open(slot, part, alert);
        }
        let own = match part.folded_into {
            Some(number) => self.fold_revision(number, part, episode, revision.as_ref()),
            None => revision,
        };
        [own, self.follow(seen)]
    }

    /// Takes in that an instrument's alert has ended in silence; gives its last revision if that is published.
    pub fn end(&mut self, part: &mut Part, episode: &mut Episode) -> Option<Alert> {
        let last = episode.resolve();
        match part.folded_into {
            Some(number) => self.fold_revision(number, part, episode, last.as_ref()),
            None => last,
        }
    }

    /// Ends the shock that stands if nothing has happened for long, whether or not records come.
    pub fn end_silent(&mut self, now: ArrivalTime) -> Option<Alert> {
        let silence = self.silence_nanos.max(self.active_nanos);
        self.standing
            .take_if(|standing| standing.open == 0 && nanos_between(now, standing.held_at) > silence)
            .map(|mut standing| standing.revision(AlertState::Resolved, 0))
    }

    /// Forgets an instrument, as a member too.
    pub fn forget(&mut self, slot: usize, part: &Part) {
        if let Some(stretch) = part.seen_in {
            self.leave(stretch);
        }
        if let Some(opened_at) = part.opened_at {
            self.openings.remove(&(opened_at, slot));
        }
        if let Some(standing) = &mut self.standing {
            standing.members.remove(&slot);
            standing.open -= usize::from(part.folded_into == Some(standing.number));
        }
        // Like any alert whose instrument has gone, a shock without members is forgotten and never resolved.
        self.standing.take_if(|standing| standing.members.is_empty());
    }

    /// Counts the instrument as at work.
    fn see(&mut self, part: &mut Part, arrival: ArrivalTime) {
        let stretch = arrival.0.div_euclid(self.stretch_nanos);
        if let Some(before) = part.seen_in.replace(stretch) {
            if before == stretch {
                return;
            }
            self.leave(before);
        }
        *self.seen.entry(stretch).or_default() += 1;
    }

    fn leave(&mut self, stretch: i64) {
        if let Some(count) = self.seen.get_mut(&stretch) {
            *count -= 1;
            if *count == 0 {
                self.seen.remove(&stretch);
            }
        }
    }

    /// Counts the instruments at work: those whose last tick is not much older than this arrival.
    fn active(&self, arrival: ArrivalTime) -> usize {
        let stretch = arrival
            .0
            .saturating_sub(self.active_nanos)
            .div_euclid(self.stretch_nanos);
        self.seen.range(stretch..).map(|(_, count)| count).sum()
    }

    /// Gives the last openings of instruments, from the window before an arrival to the one after it: records of several
    /// partitions come in no order.
    fn openings_near(&self, arrival: ArrivalTime) -> impl Iterator<Item = (usize, &Opening)> {
        let edge = |nanos: i64| ArrivalTime(arrival.0.saturating_add(nanos));
        self.openings
            .range((edge(-self.window_nanos), 0)..=(edge(self.window_nanos), usize::MAX))
            .map(|((_, slot), opening)| (*slot, opening))
    }

    /// Tells whether so many instruments have opened an alert around this arrival that it is a shock.
    fn is_shock(&self, arrival: ArrivalTime) -> bool {
        let instruments = self.openings_near(arrival).count();
        instruments >= self.instruments_min && instruments as f64 >= self.share * self.active(arrival) as f64
    }

    /// Decides about an alert that opens: it is published, folded into the shock that stands, or begins one.
    fn open(&mut self, slot: usize, part: &mut Part, alert: &Alert) -> [Option<Alert>; 2] {
        let arrival = alert.latest.arrival_time;
        if let Some(before) = part.opened_at.replace(arrival) {
            self.openings.remove(&(before, slot));
        }
        let opening = Opening {
            name: Arc::clone(&alert.instrument),
            published: None,
            looks_like: LooksLike::of(alert),
        };
        self.openings.insert((arrival, slot), opening);
        let is_shock = self.is_shock(arrival);
        let gathers = self
            .standing
            .as_ref()
            .is_some_and(|standing| nanos_between(arrival, standing.held_at) <= self.active_nanos);
        if !is_shock && !gathers {
            if let Some(opening) = self.openings.get_mut(&(arrival, slot)) {
                opening.published = Some(Arc::clone(&alert.id));
            }
            return [Some(alert.clone()), None];
        }
        let active = self.active(arrival);
        // While it gathers, all others near have joined before.
        let joining: Vec<(usize, Member)> = self
            .openings_near(arrival)
            .filter(|(other, _)| !gathers || *other == slot)
            .map(|(slot, opening)| (slot, opening.member()))
            .collect();
        let begins = self.standing.is_none();
        let standing = self.standing.get_or_insert_with(|| {
            self.begun += 1;
            begin(self.begun, alert)
        });
        part.folded_into = Some(standing.number);
        standing.folded += 1;
        standing.open += 1;
        if is_shock {
            standing.held_at = standing.held_at.max(arrival);
        }
        for (slot, member) in joining {
            standing.add(slot, member);
        }
        standing.take_in(alert);
        let group = if begins {
            Some(standing.revision(AlertState::Opened, active))
        } else {
            let has_doubled = standing.members.len() >= 2 * standing.published_members;
            has_doubled.then(|| standing.revision(AlertState::Updated, active))
        };
        [None, group]
    }

    /// Takes in a tick of an instrument whose alert was folded in, and the revision that it made. Once the shock is over,
    /// the alert is one of its own, and opens then for those who read.
    fn fold_revision(
        &mut self,
        number: u64,
        part: &mut Part,
        episode: &mut Episode,
        revision: Option<&Alert>,
    ) -> Option<Alert> {
        let Some(standing) = self.standing.as_mut().filter(|standing| standing.number == number) else {
            part.folded_into = None;
            return episode.reopen();
        };
        if let Some(alert) = revision {
            standing.take_in(alert);
            if alert.state == AlertState::Resolved {
                standing.open -= 1;
                part.folded_into = None;
            }
        }
        None
    }

    /// Makes the revision that any tick may bring: the shock has grown worse, or is over. It is over when no more gather
    /// and no alert that was folded in is open, or but a few are after a silence.
    fn follow(&mut self, seen: &Observation) -> Option<Alert> {
        let arrival = seen.cause.arrival_time;
        let standing = self.standing.as_mut()?;
        let quiet = nanos_between(arrival, standing.held_at);
        let few = standing.open == 0 || (standing.open < self.instruments_min && quiet > self.silence_nanos);
        let is_over = quiet > self.active_nanos && few;
        let is_worse = standing.alert.score_max >= standing.published_score + self.update_decades;
        if !is_over && !is_worse {
            return None;
        }
        let active = self.active(arrival);
        if !is_over {
            return self
                .standing
                .as_mut()
                .map(|standing| standing.revision(AlertState::Updated, active));
        }
        let mut standing = self.standing.take()?;
        standing.alert.latest = seen.cause;
        standing.alert.score = seen.score;
        standing.alert.score_max = standing.alert.score_max.max(seen.score);
        standing.alert.threshold = seen.threshold;
        Some(standing.revision(AlertState::Resolved, active))
    }
}

/// Makes the shock that an opening alert completes; its own id tells that it is one.
fn begin(number: u64, completed_by: &Alert) -> Standing {
    Standing {
        number,
        held_at: completed_by.latest.arrival_time,
        members: BTreeMap::new(),
        joined: 0,
        active: 0,
        folded: 0,
        open: 0,
        published_members: 0,
        published_score: 0.0,
        alert: Alert {
            id: format!("{}-shock", completed_by.id).into(),
            instrument: EVERY_INSTRUMENT.into(),
            kind: AlertKind::Shock,
            ..completed_by.clone()
        },
    }
}

fn nanos_between(later: ArrivalTime, earlier: ArrivalTime) -> i64 {
    later.0.saturating_sub(earlier.0)
}

#[cfg(test)]
mod tests;
