//! The checksum of a model as bytes: a flipped bit anywhere is found, be it in a weight, a level or a name.
//!
//! The sum stands in the JSON document itself, as eight hexadecimal digits. It is the CRC-32 of all bytes with these digits
//! as zeros. A model that has none, written by a program of before or by hand, is taken as it is.

/// What stands before the digits, as it is written in the header: a JSON text within JSON.
const MARK: &[u8] = br#"\"checksum\":\""#;
/// The digits before the sum is known.
pub(super) const BLANK: &str = "00000000";

/// Puts the sum into bytes that were written with [`BLANK`] digits.
pub(super) fn stamp(bytes: &mut [u8]) {
    if let Some(place) = place(bytes) {
        let sum = format!("{:08x}", sum(bytes, place));
        bytes[place..place + BLANK.len()].copy_from_slice(sum.as_bytes());
    }
}

/// Tells whether bytes are as they were written; true when they say no sum.
pub(super) fn holds(bytes: &[u8]) -> bool {
    place(bytes).is_none_or(|place| {
        let found = &bytes[place..place + BLANK.len()];
        found == format!("{:08x}", sum(bytes, place)).as_bytes()
    })
}

/// Finds the digits, which stand in the header.
fn place(bytes: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(*bytes.first_chunk()?);
    let end = usize::try_from(length).ok()?.saturating_add(8).min(bytes.len());
    let found = bytes[..end].windows(MARK.len()).position(|window| window == MARK)?;
    let place = found + MARK.len();
    (place + BLANK.len() <= end).then_some(place)
}

fn sum(bytes: &[u8], place: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..place]);
    hasher.update(BLANK.as_bytes());
    hasher.update(&bytes[place + BLANK.len()..]);
    hasher.finalize()
}
