//! One record written by the protocol itself: with header names that are not text, which no client library lets through.

use std::io::{Read, Write};
use std::net::TcpStream;

/// A record as bytes.
#[derive(Debug, Clone, Default)]
pub struct RawRecord {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Writes records to partition 0 of a topic, and makes sure that the broker has taken them.
///
/// # Panics
/// When it has not.
pub fn produce(broker: &str, topic: &str, records: &[RawRecord]) {
    /// Produce, in the oldest version whose batches carry headers.
    const PRODUCE: [u8; 4] = [0, 0, 0, 3];
    let batch = batch(records);
    let mut request = PRODUCE.to_vec();
    request.extend(7_i32.to_be_bytes());
    text(&mut request, "raw");
    request.extend((-1_i16).to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend(10_000_i32.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    text(&mut request, topic);
    request.extend(1_i32.to_be_bytes());
    request.extend(0_i32.to_be_bytes());
    request.extend((batch.len() as i32).to_be_bytes());
    request.extend(batch);
    let answer = ask(broker, &request);
    // Correlation, one topic and its name, one partition and its number; then the error.
    let place = 4 + 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[place..place + 2], [0, 0], "the broker refuses: {answer:?}");
}

/// Sends a request and gives the answer.
fn ask(broker: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.write_all(&(request.len() as i32).to_be_bytes()).unwrap();
    stream.write_all(request).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn text(request: &mut Vec<u8>, text: &str) {
    request.extend((text.len() as i16).to_be_bytes());
    request.extend(text.as_bytes());
}

/// Makes a batch of format 2.
fn batch(records: &[RawRecord]) -> Vec<u8> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.unwrap().as_millis() as i64;
    let mut tail = vec![0, 0];
    tail.extend((records.len() as i32 - 1).to_be_bytes());
    tail.extend(now.to_be_bytes());
    tail.extend(now.to_be_bytes());
    // No producer that counts.
    tail.extend([0xff; 14]);
    tail.extend((records.len() as i32).to_be_bytes());
    for (offset, record) in records.iter().enumerate() {
        let mut bytes = vec![0];
        number(&mut bytes, 0);
        number(&mut bytes, offset as i64);
        for part in [&record.key, &record.value] {
            optional(&mut bytes, part.as_deref());
        }
        number(&mut bytes, record.headers.len() as i64);
        for (name, value) in &record.headers {
            optional(&mut bytes, Some(name));
            optional(&mut bytes, value.as_deref());
        }
        number(&mut tail, bytes.len() as i64);
        tail.extend(bytes);
    }
    let mut batch = 0_i64.to_be_bytes().to_vec();
    batch.extend((4 + 1 + 4 + tail.len() as i32).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c(&tail).to_be_bytes());
    batch.extend(tail);
    batch
}

fn optional(bytes: &mut Vec<u8>, part: Option<&[u8]>) {
    number(bytes, part.map_or(-1, |part| part.len() as i64));
    bytes.extend(part.unwrap_or_default());
}

/// Zigzag, seven bits a byte.
fn number(bytes: &mut Vec<u8>, number: i64) {
    let mut left = ((number << 1) ^ (number >> 63)) as u64;
    while left > 0x7f {
        bytes.push(left as u8 | 0x80);
        left >>= 7;
    }
    bytes.push(left as u8);
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    };
    !bytes.iter().fold(!0, step)
}

/// Reads the bytes of partition 0 of a topic from an offset on, as they are kept.
///
/// # Panics
/// When the broker gives none.
pub fn fetch(broker: &str, topic: &str, offset: i64) -> Vec<u8> {
    /// Fetch, in the oldest version that Kafka 4 answers.
    const FETCH: [u8; 4] = [0, 1, 0, 4];
    let mut request = FETCH.to_vec();
    request.extend(8_i32.to_be_bytes());
    text(&mut request, "raw");
    request.extend((-1_i32).to_be_bytes());
    request.extend(100_i32.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    request.extend((1_i32 << 20).to_be_bytes());
    request.push(0);
    request.extend(1_i32.to_be_bytes());
    text(&mut request, topic);
    request.extend(1_i32.to_be_bytes());
    request.extend(0_i32.to_be_bytes());
    request.extend(offset.to_be_bytes());
    request.extend((1_i32 << 20).to_be_bytes());
    ask(broker, &request)
}

/// Denies a principal something on a topic: whoever the broker takes a plain connection for must have the right.
///
/// # Panics
/// When the broker refuses.
pub fn deny(broker: &str, resource: (Resource, &str), principal: &str, operation: Operation) {
    /// Create access rules, in the last version without tags.
    const CREATE_ACLS: [u8; 4] = [0, 30, 0, 1];
    const LITERAL: u8 = 3;
    const DENY: u8 = 2;
    let mut request = CREATE_ACLS.to_vec();
    request.extend(9_i32.to_be_bytes());
    text(&mut request, "raw");
    request.extend(1_i32.to_be_bytes());
    request.push(resource.0 as u8);
    text(&mut request, resource.1);
    request.push(LITERAL);
    text(&mut request, principal);
    text(&mut request, "*");
    request.push(operation as u8);
    request.push(DENY);
    let answer = ask(broker, &request);
    // Correlation, throttle time, one result; then the error.
    assert_eq!(answer[12..14], [0, 0], "the broker refuses: {answer:?}");
}

/// What a rule is about, by the protocol's numbers.
#[derive(Debug, Clone, Copy)]
pub enum Resource {
    Topic = 2,
}

/// What a rule is of, by the protocol's numbers.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    Read = 3,
    Describe = 8,
}
