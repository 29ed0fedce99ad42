//! The fields of one tick: what stands in the slots of a record → ticks.

use std::collections::BTreeMap;

use super::condition::Condition;
use super::error::TickError;
use super::item::{Item, OddFields, Sides, What};
use super::name::Name;
use super::number::{Number, NumberReader};
use super::numbering::{SequenceMode, of_place};
use super::scalar::Scalar;
use super::stamp::{Stamps, Unread};
use super::walk::Slot;
use crate::pipeline::input::Record;
use crate::pipeline::tick::{Body, Quote, Sequence, Tick, Trade};
use crate::pipeline::time::EventTime;

/// Where something stands: in the record, or in the element that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Record(Slot),
    Element(Slot),
}

/// What stands in the slots of a record and of the element that is being read.
#[derive(Clone, Copy)]
pub(super) struct Values<'v> {
    pub record: &'v [Scalar<'v>],
    pub element: &'v [Scalar<'v>],
}

impl<'v> Values<'v> {
    pub fn at(&self, place: Place) -> &'v Scalar<'v> {
        match place {
            Place::Record(slot) => &self.record[usize::from(slot)],
            Place::Element(slot) => &self.element[usize::from(slot)],
        }
    }
}

/// Why a record is no tick, and which place is to blame.
#[derive(Debug)]
pub(super) struct Refusal {
    pub error: TickError,
    pub place: Option<Place>,
}

impl From<TickError> for Refusal {
    fn from(error: TickError) -> Self {
        Refusal { error, place: None }
    }
}

/// Where a stamp is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeSource {
    At(Place),
    /// The record's own stamp.
    Arrival,
}

/// What says whether it is a trade or a quote.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Trade,
    Quote,
    Both,
    /// A price makes a trade; else it is a quote.
    ByPrice,
    /// A value.
    At {
        place: Place,
        trade: Vec<String>,
        quote: Vec<String>,
    },
}

/// Where a number stands: one place, or two for its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct NumberPlace {
    pub first: Option<Place>,
    pub second: Option<Place>,
}

/// Where the numbers of a tick stand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct NumberPlaces {
    pub price: NumberPlace,
    pub size: NumberPlace,
    pub bid: NumberPlace,
    pub ask: NumberPlace,
    pub bid_size: NumberPlace,
    pub ask_size: NumberPlace,
}

/// How a rule reads ticks.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub name: Name<Place>,
    pub time: Vec<TimeSource>,
    pub time_nanos: Option<Place>,
    pub stamps: Stamps,
    pub kind: Kind,
    pub numbers: NumberPlaces,
    pub prices: NumberReader,
    pub sizes: NumberReader,
    pub size_is_signed: bool,
    pub sequence: Option<Place>,
    /// Where its second part stands.
    pub sequence_second: Option<Place>,
    pub sequence_mode: SequenceMode,
    /// What says that the record is left out on purpose.
    pub excluded: Vec<Condition<Place>>,
    /// Pointers by place, for errors.
    pub pointers: BTreeMap<(bool, Slot), String>,
}

/// What one body of a record became.
enum Made {
    Body(Body),
    Incomplete(Option<Sides>),
}

impl Fields {
    /// Reads what stands here as one tick, or two, or says why not; `place` is that of the element in its record.
    pub fn read(
        &self,
        rule: Option<u16>,
        values: Values<'_>,
        place: usize,
        record: &Record<'_>,
        take: &mut dyn FnMut(Item<'_>),
    ) -> Result<(), Refusal> {
        if self
            .excluded
            .iter()
            .any(|condition| condition.holds(|place| values.at(*place)))
        {
            take(Item {
                rule,
                what: What::Ignored,
            });
            return Ok(());
        }
        let mut odd = OddFields::default();
        let event_time = self.time(values, record, &mut odd)?;
        let (trade, quote) = self.bodies(values, &mut odd)?;
        let sequence = self.sequence(values, place, &mut odd);
        let named = self.name.with(
            record.key,
            |place| values.at(place),
            |instrument| {
                let has_trade = trade.is_some();
                for (made, is_second) in [(trade, false), (quote, has_trade)] {
                    let Some(made) = made else { continue };
                    let what = match made {
                        Ok(Made::Body(body)) => What::Tick {
                            instrument,
                            tick: Tick {
                                event_time,
                                // The number is the trade's where a record is both.
                                sequence: sequence.map(|of_trade| match is_second {
                                    true => of_place(of_trade, u64::MAX),
                                    false => of_trade,
                                }),
                                body,
                            },
                            odd,
                        },
                        Ok(Made::Incomplete(sides)) => What::Incomplete {
                            instrument,
                            event_time,
                            sides,
                            odd,
                        },
                        Err(error) => What::Bad(error),
                    };
                    take(Item { rule, what });
                    odd = OddFields::default();
                }
            },
        );
        named.map_err(|error| self.with_place(error))
    }

    /// Names the place in the error of a name that is missing.
    fn with_place(&self, error: TickError) -> Refusal {
        let place = self.name.parts.iter().find_map(|part| match part {
            super::name::Part::At(place) => Some(*place),
            _ => None,
        });
        match error {
            TickError::MissingField { field, .. } => self.missing(field, place).into(),
            error => error.into(),
        }
    }

    fn missing(&self, field: &'static str, place: Option<Place>) -> TickError {
        let place = match place {
            Some(place) => format!("nothing stands at {}", self.pointer(place)),
            None => "the layout gives no place for it".into(),
        };
        TickError::MissingField { field, place }
    }

    fn pointer(&self, place: Place) -> &str {
        let key = match place {
            Place::Record(slot) => (false, slot),
            Place::Element(slot) => (true, slot),
        };
        self.pointers.get(&key).map_or("", String::as_str)
    }

    fn time(&self, values: Values<'_>, record: &Record<'_>, odd: &mut OddFields) -> Result<EventTime, Refusal> {
        let is_there = |source: &&TimeSource| match source {
            TimeSource::Arrival => true,
            TimeSource::At(place) => match values.at(*place) {
                Scalar::Text(text) => !text.is_empty(),
                scalar => scalar.is_there(),
            },
        };
        let source = match &self.time[..] {
            [only] => *only,
            several => match several.iter().find(is_there) {
                Some(source) => *source,
                None => several[0],
            },
        };
        let place = match source {
            TimeSource::At(place) => place,
            TimeSource::Arrival => return self.arrival(record),
        };
        let scalar = values.at(place);
        if !scalar.is_there() {
            return Err(self.missing("time", Some(place)).into());
        }
        let nanos = match self.time_nanos.map(|place| values.at(place)) {
            None | Some(Scalar::Missing | Scalar::Null) => 0,
            Some(Scalar::Integer(nanos)) => *nanos,
            Some(_) => {
                odd.add(OddFields::TIME_NANOS);
                0
            }
        };
        self.stamps.read(scalar, nanos).map_err(|unread| Refusal {
            error: self.time_error(scalar.shown(), unread),
            place: Some(place),
        })
    }

    fn arrival(&self, record: &Record<'_>) -> Result<EventTime, Refusal> {
        let stamp = EventTime(record.arrival_time.0);
        self.stamps
            .checked(stamp)
            .map_err(|unread| self.time_error("the record's own stamp".into(), unread).into())
    }

    fn time_error(&self, found: String, unread: Unread) -> TickError {
        match unread {
            Unread::Bad => TickError::BadTime {
                found,
                expected: self.stamps.expected(),
            },
            Unread::Absurd(stamp) => TickError::AbsurdTime {
                found,
                stamp: stamp.to_string(),
            },
        }
    }

    /// Makes the trade and the quote of what stands here, as far as it says that it is one.
    #[expect(clippy::type_complexity, reason = "two bodies, each of which can be bad alone")]
    fn bodies(
        &self,
        values: Values<'_>,
        odd: &mut OddFields,
    ) -> Result<(Option<Result<Made, TickError>>, Option<Result<Made, TickError>>), Refusal> {
        match self.kind_of(values)? {
            Shape::Trade => Ok((Some(Ok(self.trade(values, odd)?)), None)),
            Shape::Quote => Ok((None, Some(Ok(self.quote(values, odd)?)))),
            Shape::Both => {
                let price = self.number(self.numbers.price, &self.prices, values);
                let has_price = matches!(price, Number::Value(_) | Number::Odd);
                let sides = [self.numbers.bid, self.numbers.ask];
                let mut sides = sides.map(|side| self.number(side, &self.prices, values)).into_iter();
                let has_sides = sides.any(|side| side != Number::Absent);
                if !has_price && !has_sides {
                    return Err(self.no_price(price));
                }
                let trade = has_price.then(|| self.trade(values, odd).map_err(|refusal| refusal.error));
                let quote = has_sides.then(|| self.quote(values, odd).map_err(|refusal| refusal.error));
                Ok((trade, quote))
            }
        }
    }

    fn kind_of(&self, values: Values<'_>) -> Result<Shape, Refusal> {
        let (place, trade, quote) = match &self.kind {
            Kind::Trade => return Ok(Shape::Trade),
            Kind::Quote => return Ok(Shape::Quote),
            Kind::Both => return Ok(Shape::Both),
            Kind::ByPrice => return self.kind_by_price(values),
            Kind::At { place, trade, quote } => (*place, trade, quote),
        };
        let scalar = values.at(place);
        let number;
        let text = match scalar {
            Scalar::Text(text) => &**text,
            Scalar::Integer(integer) => {
                number = integer.to_string();
                &number
            }
            Scalar::Missing | Scalar::Null => return Err(self.missing("kind", Some(place)).into()),
            _ => "",
        };
        if trade.iter().any(|value| value == text) {
            Ok(Shape::Trade)
        } else if quote.iter().any(|value| value == text) {
            Ok(Shape::Quote)
        } else {
            Err(Refusal {
                error: TickError::BadKind(scalar.shown()),
                place: Some(place),
            })
        }
    }

    /// A price makes a trade, be it a good one or not; without one, sides make a quote.
    fn kind_by_price(&self, values: Values<'_>) -> Result<Shape, Refusal> {
        let price = self.number(self.numbers.price, &self.prices, values);
        if matches!(price, Number::Value(_) | Number::Odd) {
            return Ok(Shape::Trade);
        }
        let is_there = |side| self.number(side, &self.prices, values) != Number::Absent;
        match is_there(self.numbers.bid) || is_there(self.numbers.ask) {
            true => Ok(Shape::Quote),
            false => Err(self.no_price(price)),
        }
    }

    /// Says that there is neither a price nor a side of a quote.
    fn no_price(&self, price: Number) -> Refusal {
        let places = [self.numbers.price, self.numbers.bid, self.numbers.ask];
        let pointers = places
            .iter()
            .filter_map(|place| place.first)
            .map(|place| self.pointer(place));
        let pointers: Vec<&str> = pointers.collect();
        let nothing = if price == Number::Empty { "no price" } else { "nothing" };
        TickError::MissingField {
            field: "price",
            place: format!("{nothing} stands at {}", pointers.join(", ")),
        }
        .into()
    }

    fn number(&self, place: NumberPlace, reader: &NumberReader, values: Values<'_>) -> Number {
        match place.first {
            None => Number::Absent,
            Some(first) => reader.read(values.at(first), place.second.map(|second| values.at(second))),
        }
    }

    /// Reads a size, which a tick can do without.
    fn size(&self, place: NumberPlace, field: u8, values: Values<'_>, odd: &mut OddFields) -> Option<f64> {
        match self.number(place, &self.sizes, values) {
            Number::Value(size) if size >= 0.0 => Some(size),
            Number::Value(size) if self.size_is_signed => Some(size.abs()),
            Number::Value(_) | Number::Odd => {
                odd.add(field);
                None
            }
            Number::Absent | Number::Empty => None,
        }
    }

    fn trade(&self, values: Values<'_>, odd: &mut OddFields) -> Result<Made, Refusal> {
        let place = self.numbers.price;
        let price = match self.number(place, &self.prices, values) {
            Number::Value(price) => price,
            Number::Absent => return Err(self.missing("price", place.first).into()),
            Number::Empty | Number::Odd => return Err(self.bad_number("price", place, values)),
        };
        let size = self.size(self.numbers.size, OddFields::SIZE, values, odd);
        Ok(match of_nothing(price, size) {
            true => Made::Incomplete(None),
            false => Made::Body(Body::Trade(Trade { price, size })),
        })
    }

    fn quote(&self, values: Values<'_>, odd: &mut OddFields) -> Result<Made, Refusal> {
        let numbers = &self.numbers;
        let bid = self.number(numbers.bid, &self.prices, values);
        let ask = self.number(numbers.ask, &self.prices, values);
        for (field, place, number) in [("bid", numbers.bid, bid), ("ask", numbers.ask, ask)] {
            if number == Number::Odd {
                return Err(self.bad_number(field, place, values));
            }
        }
        if bid == Number::Absent && ask == Number::Absent {
            return Err(self.missing("bid", numbers.bid.first).into());
        }
        let bid_size = self.size(numbers.bid_size, OddFields::BID_SIZE, values, odd);
        let ask_size = self.size(numbers.ask_size, OddFields::ASK_SIZE, values, odd);
        Ok(match quote_of(bid.value(), ask.value(), bid_size, ask_size) {
            Ok(quote) => Made::Body(Body::Quote(quote)),
            Err(sides) => Made::Incomplete(Some(sides)),
        })
    }

    fn bad_number(&self, field: &'static str, place: NumberPlace, values: Values<'_>) -> Refusal {
        let found = place.first.map_or_else(String::new, |place| values.at(place).shown());
        Refusal {
            error: TickError::BadNumber {
                field,
                found,
                expected: self.prices.expected(),
            },
            place: place.first,
        }
    }

    /// Reads the sequence number, which a tick can do without. `place` is that of the element in its record.
    fn sequence(&self, values: Values<'_>, place: usize, odd: &mut OddFields) -> Option<Sequence> {
        let at = self.sequence?;
        let second = self.sequence_second.map(|second| values.at(second));
        match self.sequence_mode.read(values.at(at), second) {
            Ok(Some(sequence)) => Some(match at {
                Place::Record(_) if place > 0 => of_place(sequence, place as u64),
                Place::Record(_) | Place::Element(_) => sequence,
            }),
            Ok(None) => None,
            Err(()) => {
                odd.add(OddFields::SEQUENCE);
                None
            }
        }
    }
}

/// What stands here says that it is.
#[derive(Clone, Copy)]
enum Shape {
    Trade,
    Quote,
    Both,
}

/// Tells whether a price says that there is none: feeds write zero for both where there is nothing.
fn of_nothing(price: f64, size: Option<f64>) -> bool {
    price == 0.0 && size == Some(0.0)
}

/// Makes a quote of two sides, or tells which sides there are.
pub(super) fn quote_of(
    bid: Option<f64>,
    ask: Option<f64>,
    bid_size: Option<f64>,
    ask_size: Option<f64>,
) -> Result<Quote, Sides> {
    let bid = bid.filter(|bid| !of_nothing(*bid, bid_size));
    let ask = ask.filter(|ask| !of_nothing(*ask, ask_size));
    match (bid, ask) {
        (Some(bid), Some(ask)) => Ok(Quote {
            bid,
            ask,
            bid_size,
            ask_size,
        }),
        _ => Err(Sides {
            bid,
            ask,
            bid_size,
            ask_size,
        }),
    }
}
