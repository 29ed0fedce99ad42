//! What goes out: one alert or dead letter, how large it is, and what is left out when it is too large for its topic.
//!
//! Promises that an alert is shortened and never emptied, and that the headers of a record that was no tick are carried as
//! bytes: nothing in them is read. Knows no client.

use std::borrow::Cow;

use rdkafka::message::{Header, Message, OwnedHeaders, OwnedMessage};

use super::alert_record::shortened;
use super::ledger::BatchNumber;

/// Smallest `max.message.bytes` of a topic that takes alerts: the shortest alert is some 2 kB (bytes).
pub const ALERT_BYTES_MIN: usize = 4096;
/// Smallest `max.message.bytes` of a topic that takes dead letters without their values, keys and headers (bytes).
pub const DEAD_LETTER_BYTES_MIN: usize = 1024;

/// Header that says what was left out.
const OMITTED: &str = "tapewatch-omitted";
/// Header that says what was wrong, in as many words as it takes.
pub const DETAIL: &str = "tapewatch-detail";
/// What a record takes beside its key, value and headers: its batch's head, its own lengths and stamps (bytes).
const FRAME_BYTES: usize = 100;
/// What a header takes beside its name and value (bytes).
const HEADER_FRAME_BYTES: usize = 10;
/// Longest detail of a dead letter that must be short (bytes).
const DETAIL_BYTES_SHORT: usize = 120;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A revision of an alert.
    Alert,
    /// A record that could not be used, and why.
    DeadLetter,
}

/// What a dead letter must do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Nothing,
    Value,
    Key,
    Headers,
    Detail,
}

impl Left {
    fn next(self) -> Option<Left> {
        match self {
            Left::Nothing => Some(Left::Value),
            Left::Value => Some(Left::Key),
            Left::Key => Some(Left::Headers),
            Left::Headers => Some(Left::Detail),
            Left::Detail => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Left::Nothing => "",
            Left::Value => "value",
            Left::Key => "key",
            Left::Headers => "headers",
            Left::Detail => "detail",
        }
    }
}

/// One record to send.
pub struct Outgoing<'a> {
    /// What it is.
    pub kind: Kind,
    /// Topic it goes to.
    pub topic: &'a str,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; a dead letter keeps the absence of one.
    pub payload: Option<Cow<'a, [u8]>>,
    /// Headers of ours.
    pub headers: Vec<(&'static str, String)>,
    /// Headers that came with the record that a dead letter tells of.
    pub original: Option<OwnedHeaders>,
}

impl Outgoing<'_> {
    /// Gives its size as a broker counts it, without the headers that came with it, which are not read (bytes).
    pub(super) fn bytes(&self) -> usize {
        let header = |(name, value): &(&str, String)| name.len() + value.len() + HEADER_FRAME_BYTES;
        let headers: usize = self.headers.iter().map(header).sum();
        FRAME_BYTES + headers + self.key.map_or(0, <[u8]>::len) + self.payload.as_ref().map_or(0, |value| value.len())
    }

    /// Makes it smaller by one step; false when nothing more can be left out. An alert loses its smallest features first. A
    /// dead letter loses its value, then its key, then the headers that came with it: all of them still stand where the
    /// record came from, as its own headers tell.
    fn lessen(&mut self, left: &mut Left) -> bool {
        if self.kind == Kind::Alert {
            let shorter = self.payload.as_deref().and_then(shortened);
            let is_shorter = shorter.is_some();
            if let Some(shorter) = shorter {
                self.payload = Some(Cow::Owned(shorter));
            }
            return is_shorter;
        }
        while let Some(next) = left.next() {
            *left = next;
            let is_less = match next {
                Left::Nothing => false,
                Left::Value => self.payload.take().is_some(),
                Left::Key => self.key.take().is_some(),
                Left::Headers => self.original.take().is_some(),
                Left::Detail => self.shorten_detail(),
            };
            if is_less {
                self.headers.push((OMITTED, next.name().into()));
                return true;
            }
        }
        false
    }

    fn shorten_detail(&mut self) -> bool {
        let detail = self.headers.iter_mut().find(|(name, _)| *name == DETAIL);
        let Some((_, detail)) = detail.filter(|(_, detail)| detail.len() > DETAIL_BYTES_SHORT) else {
            return false;
        };
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_SHORT));
        true
    }

    /// Gives all headers.
    pub(super) fn all_headers(&self) -> OwnedHeaders {
        let original = self.original.clone().unwrap_or_default();
        self.headers.iter().fold(original, |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        })
    }
}

/// What goes with a delivery and comes back with its outcome.
pub(super) struct Tag {
    pub batch: BatchNumber,
    pub kind: Kind,
    /// Size that it counts with (bytes).
    pub bytes: usize,
    /// It was sent when nothing else was under way: whatever its batch was, is this record.
    pub is_alone: bool,
    left: Left,
    headers: Vec<(&'static str, String)>,
    original: Option<OwnedHeaders>,
}

impl Tag {
    /// Makes the tag of a record that goes out for the first time, and makes the record small enough for its topic if its
    /// limit is known (bytes).
    pub fn fitting(record: &mut Outgoing<'_>, batch: BatchNumber, limit: Option<usize>) -> Self {
        let mut left = Left::Nothing;
        while limit.is_some_and(|limit| record.bytes() > limit) && record.lessen(&mut left) {}
        Tag::of(record, batch, left)
    }

    fn of(record: &Outgoing<'_>, batch: BatchNumber, left: Left) -> Self {
        Tag {
            batch,
            kind: record.kind,
            bytes: record.bytes(),
            is_alone: false,
            left,
            headers: record.headers.clone(),
            original: record.original.clone(),
        }
    }

    /// Gives a record whose delivery failed once more.
    pub fn record<'a>(&self, message: &'a OwnedMessage) -> Outgoing<'a> {
        Outgoing {
            kind: self.kind,
            topic: message.topic(),
            key: message.key(),
            payload: message.payload().map(Cow::Borrowed),
            headers: self.headers.clone(),
            original: self.original.clone(),
        }
    }

    /// Makes a record that its topic does not take smaller; nothing when there is nothing left to leave out.
    pub fn lessened(&self, record: &mut Outgoing<'_>) -> Option<Self> {
        let mut left = self.left;
        record.lessen(&mut left).then(|| Tag::of(record, self.batch, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter<'a>(key: &'a [u8], value: &'a [u8]) -> Outgoing<'a> {
        Outgoing {
            kind: Kind::DeadLetter,
            topic: "dead",
            key: Some(key),
            payload: Some(Cow::Borrowed(value)),
            headers: vec![("tapewatch-reason", "not_json".into()), (DETAIL, "ö".repeat(300))],
            original: Some(OwnedHeaders::new()),
        }
    }

    #[test]
    fn a_dead_letter_loses_its_value_its_key_and_its_headers_in_this_order_and_never_its_reason() {
        let value = vec![b'v'; 5000];
        let of = |limit| {
            let mut record = letter(b"key", &value);
            let tag = Tag::fitting(&mut record, BatchNumber(0), Some(limit));
            let omitted = record.headers.iter().filter(|(name, _)| *name == OMITTED);
            let omitted: Vec<&str> = omitted.map(|(_, what)| &**what).collect();
            assert_eq!(record.headers[0].1, "not_json");
            assert_eq!(tag.bytes, record.bytes());
            (omitted.join(" "), record.bytes() <= limit)
        };
        assert_eq!(of(10_000), (String::new(), true));
        assert_eq!(of(1000), ("value".into(), true));
        assert_eq!(of(600), ("value key headers detail".into(), true));
        assert_eq!(of(10), ("value key headers detail".into(), false));
    }

    #[test]
    fn an_alert_that_its_topic_does_not_take_is_shortened_and_never_emptied() {
        let whole = include_bytes!("../../deploy/schema/examples/opened.json");
        let mut record = Outgoing {
            kind: Kind::Alert,
            topic: "alerts",
            key: Some(b"BTC"),
            payload: Some(Cow::Borrowed(whole)),
            headers: Vec::new(),
            original: None,
        };
        let mut tag = Tag::fitting(&mut record, BatchNumber(0), Some(ALERT_BYTES_MIN));
        assert!(record.bytes() <= ALERT_BYTES_MIN);
        while let Some(less) = tag.lessened(&mut record) {
            assert!(less.bytes <= record.bytes());
            tag = less;
        }
        let shortest: serde_json::Value = serde_json::from_slice(record.payload.as_deref().unwrap()).unwrap();
        assert!(
            shortest["summary"].is_string() && shortest["id"].is_string(),
            "{shortest}"
        );
    }
}
