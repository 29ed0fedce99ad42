//! Shocks: alerts that open in many instruments of one partition at once become one, which says whether it looks like the
//! feed or the market.
//!
//! *At once* is a question of two times. The partition's clock says when ticks were judged, and event time says when they
//! happened. A topic that is filled faster than it was recorded brings everything together by the clock, and feeds of
//! different years can share a minute by neither; so alerts belong together only if both times say so.
//!
//! Promises to decide in the order in which ticks are judged, so that a replay decides the same however batches were cut;
//! that an alert is published or counted in a group, and never lost; and that it remembers one opening per instrument and
//! one member per instrument of the shock that stands. Reads no stamp of a record as time, and knows no scores of ticks
//! that raise no alert.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, AlertConfig, AlertKind, AlertState, Observation};
use super::episode::Episode;
use super::feature::{CATALOGUE, Tells};
use super::group::{EVERY_INSTRUMENT, Group, LooksLike, NAMED_MAX};
use super::guard::Guard;
use super::market_time::{EventSpan, MarketTime};
use super::position::TopicPartition;
use super::time::{ArrivalTime, EventTime, NANOS_PER_SEC};

/// Says what one opened alert looks like. Stamps, sequence numbers, silence, standstill and prices that no market makes are
/// the feed's; crossed and locked quotes the market's. Of a model's alert, the features with more than half of the score
/// decide.
fn looks_like(alert: &Alert) -> LooksLike {
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
            let of_feed = alert
                .features
                .iter()
                .filter(|of| CATALOGUE[of.feature].tells == Tells::OfFeed);
            of_feed.map(|of| of.share).sum::<f32>() > 0.5
        }
    };
    if is_feed { LooksLike::Feed } else { LooksLike::Market }
}

/// What shocks remember of one instrument.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Membership {
    /// The stretch of the partition's time in which it was seen last.
    seen_in: Option<i64>,
    /// Its event time, as far as it is believed …
    market_time: MarketTime,
    /// … and the stamp of its last tick.
    last_event: Option<EventTime>,
    /// When its last alert opened.
    opened_at: Option<ArrivalTime>,
    /// The shock that its open alert was folded into.
    folded_into: Option<u64>,
}

impl Membership {
    /// Tells whether the open alert was folded into a shock's.
    pub fn is_folded(&self) -> bool {
        self.folded_into.is_some()
    }
}

/// One instrument with an alert in the shock.
#[derive(Debug, Serialize, Deserialize)]
struct Member {
    /// Its number in the order of joining.
    joined: usize,
    name: Arc<str>,
    /// Id of its alert, if that was published.
    published: Option<Arc<str>>,
    looks_like: LooksLike,
}

/// The shock that stands.
#[derive(Debug, Serialize, Deserialize)]
struct Standing {
    number: u64,
    /// When the last alert opened at which there was a shock …
    held_at: ArrivalTime,
    /// … and the latest event time that it can have had.
    held_event: EventTime,
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
    fn add(&mut self, number: usize, mut member: Member) {
        if !self.members.contains_key(&number) {
            member.joined = self.joined;
            self.joined += 1;
            self.members.insert(number, member);
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
            self.alert.finding = of.finding;
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
#[derive(Debug, Serialize, Deserialize)]
struct Opening {
    name: Arc<str>,
    /// Its id, if it was published.
    published: Option<Arc<str>>,
    looks_like: LooksLike,
    /// When it happened.
    span: EventSpan,
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

/// Decides what becomes of alerts in many instruments of one partition. An instrument is known by its number: the order in
/// which the partition's instruments came.
#[derive(Debug, Serialize, Deserialize)]
pub struct Shocks {
    #[serde(skip)]
    instruments_min: usize,
    #[serde(skip)]
    share: f64,
    #[serde(skip)]
    update_decades: f32,
    #[serde(skip)]
    window_nanos: i64,
    /// Instruments at work are counted by stretches of the partition's time, so many of which are the configured time.
    #[serde(skip)]
    stretch_nanos: i64,
    #[serde(skip)]
    active_nanos: i64,
    #[serde(skip)]
    silence_nanos: i64,
    /// Stretch → instruments seen last in it.
    seen: BTreeMap<i64, usize>,
    /// The last alert that each instrument opened, by time and number.
    last_opened: BTreeMap<(ArrivalTime, usize), Opening>,
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
            last_opened: BTreeMap::new(),
            standing: None,
            begun: 0,
        }
    }

    /// Goes on with the memory of others, of the partition `at`, under its own parameters.
    pub fn recall(&mut self, mut memory: Shocks, at: TopicPartition) {
        if let Some(standing) = &mut memory.standing {
            standing.alert.set_partition(at);
        }
        self.seen = memory.seen;
        self.last_opened = memory.last_opened;
        self.standing = memory.standing;
        self.begun = memory.begun;
    }

    /// Tells whether the shock that stands is over by the clock alone: no alert of it is open, and nothing has happened for long.
    pub fn would_end(&self, now: ArrivalTime) -> bool {
        let silence = self.silence_nanos.max(self.active_nanos);
        let is_over = |standing: &Standing| standing.open == 0 && now.nanos_since(standing.held_at) > silence;
        self.standing.as_ref().is_some_and(is_over)
    }

    /// Tells whether a shock stands.
    pub fn is_standing(&self) -> bool {
        self.standing.is_some()
    }

    /// Takes in one judged tick of an instrument and the revision that its alert made of it. Gives what is published: of the
    /// instrument's own alert, and of the grouped one.
    pub fn observe(
        &mut self,
        number: usize,
        membership: &mut Membership,
        episode: &mut Episode,
        seen: &Observation,
        revision: Option<Alert>,
    ) -> [Option<Alert>; 2] {
        if self.instruments_min == 0 {
            return [revision, None];
        }
        self.see(membership, seen.cause.clock_time);
        let event_time = seen.cause.event_time();
        let before = membership.last_event.replace(event_time);
        let span = EventSpan::of(before, membership.market_time.reached(), event_time);
        membership.market_time.observe(event_time);
        if let Some(standing) = &mut self.standing {
            standing.alert.ticks += 1;
        }
        if let Some(alert) = revision.as_ref().filter(|alert| alert.state == AlertState::Opened) {
            return self.open(number, membership, alert, span);
        }
        let own = match membership.folded_into {
            Some(shock) => self.fold_revision(shock, membership, episode, revision.as_ref()),
            None => revision,
        };
        [own, self.go_on(number, membership, seen)]
    }

    /// Takes in that an instrument's alert has ended in silence; gives its last revision if that is published.
    pub fn end(&mut self, membership: &mut Membership, episode: &mut Episode) -> Option<Alert> {
        let last = episode.resolve();
        match membership.folded_into {
            Some(shock) => self.fold_revision(shock, membership, episode, last.as_ref()),
            None => last,
        }
    }

    /// Ends the shock that stands if nothing has happened for long, whether or not records come.
    pub fn end_silent(&mut self, now: ArrivalTime) -> Option<Alert> {
        let is_over = self.would_end(now);
        let standing = self.standing.take_if(|_| is_over);
        standing.map(|mut standing| standing.revision(AlertState::Resolved, 0))
    }

    /// Counts the instrument as at work.
    fn see(&mut self, membership: &mut Membership, now: ArrivalTime) {
        let stretch = now.0.div_euclid(self.stretch_nanos);
        if let Some(before) = membership.seen_in.replace(stretch) {
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

    /// Counts the instruments at work: those whose last tick is not much older than this.
    fn active(&self, now: ArrivalTime) -> usize {
        let stretch = now.0.saturating_sub(self.active_nanos).div_euclid(self.stretch_nanos);
        self.seen.range(stretch..).map(|(_, count)| count).sum()
    }

    /// Gives the last openings of instruments that were at once with this one, itself included.
    fn at_once(&self, now: ArrivalTime, span: EventSpan) -> impl Iterator<Item = (usize, &Opening)> {
        let earliest = ArrivalTime(now.0.saturating_sub(self.window_nanos));
        self.last_opened
            .range((earliest, 0)..=(now, usize::MAX))
            .filter(move |(_, opening)| opening.span.is_near(&span, self.window_nanos))
            .map(|((_, number), opening)| (*number, opening))
    }

    /// Tells whether so many instruments have opened an alert at once with this one that it is a shock.
    fn is_shock(&self, now: ArrivalTime, span: EventSpan) -> bool {
        let instruments = self.at_once(now, span).count();
        instruments >= self.instruments_min && instruments as f64 >= self.share * self.active(now) as f64
    }

    /// Tells whether the shock that stands takes in an alert that opens now.
    fn gathers(&self, now: ArrivalTime, span: EventSpan) -> bool {
        self.standing.as_ref().is_some_and(|standing| {
            let held = EventSpan::at(standing.held_event);
            now.nanos_since(standing.held_at) <= self.active_nanos && span.is_near(&held, self.active_nanos)
        })
    }

    /// Decides about an alert that opens: it is published, folded into the shock that stands, or begins one.
    fn open(
        &mut self,
        number: usize,
        membership: &mut Membership,
        alert: &Alert,
        span: EventSpan,
    ) -> [Option<Alert>; 2] {
        let now = alert.latest.clock_time;
        if let Some(before) = membership.opened_at.replace(now) {
            self.last_opened.remove(&(before, number));
        }
        let opening = Opening {
            name: Arc::clone(&alert.instrument),
            published: None,
            looks_like: looks_like(alert),
            span,
        };
        self.last_opened.insert((now, number), opening);
        let (is_shock, gathers) = (self.is_shock(now, span), self.gathers(now, span));
        if !is_shock && !gathers {
            if let Some(opening) = self.last_opened.get_mut(&(now, number)) {
                opening.published = Some(Arc::clone(&alert.id));
            }
            return [Some(alert.clone()), None];
        }
        let active = self.active(now);
        // While it gathers, all others near have joined before.
        let joining: Vec<(usize, Member)> = self
            .at_once(now, span)
            .filter(|(other, _)| !gathers || *other == number)
            .map(|(number, opening)| (number, opening.member()))
            .collect();
        let begins = self.standing.is_none();
        let standing = self.standing.get_or_insert_with(|| {
            self.begun += 1;
            begin(self.begun, alert, span)
        });
        membership.folded_into = Some(standing.number);
        standing.folded += 1;
        standing.open += 1;
        if is_shock {
            standing.held_at = standing.held_at.max(now);
            standing.held_event = standing.held_event.max(span.end());
        }
        for (number, member) in joining {
            standing.add(number, member);
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
        shock: u64,
        membership: &mut Membership,
        episode: &mut Episode,
        revision: Option<&Alert>,
    ) -> Option<Alert> {
        let Some(standing) = self.standing.as_mut().filter(|standing| standing.number == shock) else {
            membership.folded_into = None;
            return episode.reopen();
        };
        if let Some(alert) = revision {
            standing.take_in(alert);
            if alert.state == AlertState::Resolved {
                standing.open -= 1;
                membership.folded_into = None;
            }
        }
        None
    }

    /// Makes the revision that any tick may bring: the shock has grown worse, or is over. A shock ends when its gathering
    /// time has passed and no folded alert is open, or when fewer than `instruments_min` are open and nothing has joined for
    /// `silence_secs`. Time has passed when the partition's clock says so, or the event time of a member does: in a recording
    /// that is replayed at full speed the clock hardly moves.
    fn go_on(&mut self, number: usize, membership: &Membership, seen: &Observation) -> Option<Alert> {
        let now = seen.cause.clock_time;
        let standing = self.standing.as_mut()?;
        let by_clock = now.nanos_since(standing.held_at);
        let by_events = match standing.members.contains_key(&number) {
            true => membership
                .market_time
                .reached()
                .map(|time| time.nanos_since(standing.held_event)),
            false => None,
        };
        let quiet = by_clock.max(by_events.unwrap_or(0));
        let few = standing.open == 0 || (standing.open < self.instruments_min && quiet > self.silence_nanos);
        let is_over = quiet > self.active_nanos && few;
        let is_worse = standing.alert.score_max >= standing.published_score + self.update_decades;
        if !is_over && !is_worse {
            return None;
        }
        let active = self.active(now);
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
fn begin(number: u64, completed_by: &Alert, span: EventSpan) -> Standing {
    Standing {
        number,
        held_at: completed_by.latest.clock_time,
        held_event: span.end(),
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

#[cfg(test)]
mod tests;
