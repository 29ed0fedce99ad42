//! One line of CSV → a tick.

use std::borrow::Cow;

use super::error::{TickError, shortened};
use super::fields::quote_of;
use super::item::{Item, OddFields, Sides, What};
use super::name::Name;
use super::number::{Number, NumberReader};
use super::scalar::Scalar;
use super::stamp::{Stamps, Unread};
use crate::pipeline::tick::{Body, Tick, Trade};

/// Column names of the CSV form, in order.
pub const CSV_COLUMNS: [&str; 9] = [
    "ts_ns",
    "instrument",
    "kind",
    "price",
    "size",
    "bid",
    "ask",
    "bid_size",
    "ask_size",
];

/// Reads lines with the columns [`CSV_COLUMNS`]; names of instruments hold neither commas nor quotes.
#[derive(Clone, Debug)]
pub(super) struct LineReader {
    pub numbers: NumberReader,
    pub stamps: Stamps,
    /// Has no parts: it checks names.
    pub name: Name<()>,
}

impl LineReader {
    /// Reads one line.
    pub fn read(&self, payload: &[u8], take: &mut dyn FnMut(Item<'_>)) {
        if let Err(error) = self.line(payload, take) {
            take(Item {
                rule: None,
                what: What::Bad(error),
            });
        }
    }

    fn line(&self, payload: &[u8], take: &mut dyn FnMut(Item<'_>)) -> Result<(), TickError> {
        let line = std::str::from_utf8(payload).map_err(|error| TickError::NotCsv(error.to_string()))?;
        let mut cells = [""; CSV_COLUMNS.len()];
        let mut count = 0;
        for cell in line.trim_end_matches(['\r', '\n']).split(',') {
            if let Some(place) = cells.get_mut(count) {
                *place = cell;
            }
            count += 1;
        }
        if count != cells.len() {
            return Err(TickError::NotCsv(format!(
                "expected {} columns, found {count}",
                cells.len()
            )));
        }
        let [time, instrument, kind, price, size, bid, ask, bid_size, ask_size] = cells;
        let mut odd = OddFields::default();
        let made = match kind {
            "trade" => self.trade(price, size, &mut odd)?,
            "quote" => {
                let bid = self.side("bid", bid)?;
                let ask = self.side("ask", ask)?;
                let bid_size = self.size(OddFields::BID_SIZE, bid_size, &mut odd);
                let ask_size = self.size(OddFields::ASK_SIZE, ask_size, &mut odd);
                quote_of(bid, ask, bid_size, ask_size).map(Body::Quote).map_err(Some)
            }
            other => return Err(TickError::BadKind(format!("{:?}", shortened(other)))),
        };
        let stamp = Scalar::Text(Cow::Borrowed(time));
        let event_time = self.stamps.read(&stamp, 0).map_err(|unread| match unread {
            Unread::Bad => TickError::BadTime {
                found: stamp.shown(),
                expected: self.stamps.expected(),
            },
            Unread::Absurd(absurd) => TickError::AbsurdTime {
                found: stamp.shown(),
                stamp: absurd.to_string(),
            },
        })?;
        self.name.checked(instrument, |instrument| {
            let what = match made {
                Ok(body) => What::Tick {
                    instrument,
                    tick: Tick {
                        event_time,
                        sequence: None,
                        body,
                    },
                    odd,
                },
                Err(sides) => What::Incomplete {
                    instrument,
                    event_time,
                    sides,
                    odd,
                },
            };
            take(Item { rule: None, what });
        })
    }

    fn trade(&self, price: &str, size: &str, odd: &mut OddFields) -> Result<Result<Body, Option<Sides>>, TickError> {
        let Some(price) = self.side("price", price)? else {
            return Err(TickError::MissingField {
                field: "price",
                place: "the cell is empty".into(),
            });
        };
        let size = self.size(OddFields::SIZE, size, odd);
        // Feeds write zero for both where there is nothing.
        Ok(match price == 0.0 && size == Some(0.0) {
            true => Err(None),
            false => Ok(Body::Trade(Trade { price, size })),
        })
    }

    fn number(&self, cell: &str) -> Number {
        match cell {
            "" => Number::Absent,
            cell => self.numbers.read(&Scalar::Text(Cow::Borrowed(cell)), None),
        }
    }

    /// Reads a price that may be left out.
    fn side(&self, field: &'static str, cell: &str) -> Result<Option<f64>, TickError> {
        match self.number(cell) {
            Number::Value(price) => Ok(Some(price)),
            Number::Absent | Number::Empty => Ok(None),
            Number::Odd => Err(TickError::BadNumber {
                field,
                found: format!("{:?}", shortened(cell)),
                expected: self.numbers.expected(),
            }),
        }
    }

    /// Reads a size, which a tick can do without.
    fn size(&self, field: u8, cell: &str, odd: &mut OddFields) -> Option<f64> {
        match self.number(cell) {
            Number::Value(size) if size >= 0.0 => Some(size),
            Number::Value(_) | Number::Odd => {
                odd.add(field);
                None
            }
            Number::Absent | Number::Empty => None,
        }
    }
}
