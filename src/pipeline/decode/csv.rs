//! One line of CSV → a tick.

use std::borrow::Cow;

use super::{CSV_COLUMNS, Decoded, Kind, Numbers, TickError, TimeUnit, number_from_text, shortened};
use crate::pipeline::tick::Tick;

/// Reads one line with the columns [`CSV_COLUMNS`]; names of instruments hold neither commas nor quotes.
pub(super) fn decode_line(payload: &[u8]) -> Result<Decoded<'_>, TickError> {
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
    let kind = match kind {
        "trade" => Kind::Trade,
        "quote" => Kind::Quote,
        other => return Err(TickError::BadKind(shortened(other))),
    };
    let numbers = Numbers {
        price: optional("price", price)?,
        size: optional("size", size)?,
        bid: optional("bid", bid)?,
        ask: optional("ask", ask)?,
        bid_size: optional("bid_size", bid_size)?,
        ask_size: optional("ask_size", ask_size)?,
    };
    let tick = Tick {
        event_time: TimeUnit::Ns.read_text(time)?,
        sequence: None,
        body: numbers.body(Some(kind))?,
    };
    Ok(Decoded {
        instrument: Cow::Borrowed(instrument),
        tick,
    })
}

fn optional(field: &'static str, cell: &str) -> Result<Option<f64>, TickError> {
    if cell.is_empty() {
        Ok(None)
    } else {
        number_from_text(field, cell).map(Some)
    }
}
