//! Sequence numbers as feeds write them → [`Sequence`].

use serde::{Deserialize, Serialize};

use super::scalar::Scalar;
use crate::pipeline::tick::{Order, Sequence};

/// What a feed's sequence numbers promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SequenceMode {
    /// The feed does not say: a number that comes again is a duplicate, and holes are faults once there were none for long.
    /// A text is an identifier.
    Auto,
    /// They rise and have holes: they tell duplicates alone.
    Increasing,
    /// Each follows the one before: a hole is a fault at once.
    Contiguous,
    /// Two numbers, first and last: the tick stands for all from the one to the other.
    Range,
    /// Two numbers, its own and that of the tick before.
    Previous,
    /// Identifiers, numbers or texts: they tell duplicates alone.
    Id,
}

impl SequenceMode {
    /// Gives how many places it needs.
    pub(super) fn parts(self) -> usize {
        match self {
            SequenceMode::Auto | SequenceMode::Increasing | SequenceMode::Contiguous | SequenceMode::Id => 1,
            SequenceMode::Range | SequenceMode::Previous => 2,
        }
    }

    /// Reads what stands in the places; an error when it is there and is no sequence number.
    pub(super) fn read(self, first: &Scalar<'_>, second: Option<&Scalar<'_>>) -> Result<Option<Sequence>, ()> {
        let number = match first {
            Scalar::Missing | Scalar::Null => return Ok(None),
            Scalar::Text(text) if text.trim().is_empty() => return Ok(None),
            scalar => whole(scalar),
        };
        let covering = |numbers: Option<u64>| {
            let numbers = numbers
                .and_then(|numbers| u32::try_from(numbers).ok())
                .filter(|numbers| *numbers > 0);
            numbers.map_or(Order::Rising, Order::Covering)
        };
        let sequence = match (self, number, first) {
            (SequenceMode::Auto | SequenceMode::Id, None, Scalar::Text(text)) => Sequence::of_text(text.as_bytes()),
            (_, None, _) => return Err(()),
            (SequenceMode::Auto, Some(number), _) => number.into(),
            (SequenceMode::Increasing | SequenceMode::Id, Some(number), _) => Sequence {
                number,
                order: Order::Rising,
            },
            (SequenceMode::Contiguous, Some(number), _) => Sequence {
                number,
                order: Order::Covering(1),
            },
            (SequenceMode::Range, Some(first), _) => {
                let last = second.and_then(whole).filter(|last| *last >= first).ok_or(())?;
                let order = covering(Some((last - first).saturating_add(1)));
                Sequence { number: last, order }
            }
            (SequenceMode::Previous, Some(number), _) => {
                let before = second.and_then(whole).ok_or(())?;
                let order = covering(number.checked_sub(before));
                Sequence { number, order }
            }
        };
        Ok(Some(sequence))
    }
}

/// Gives the number of a tick that is not the first to carry its record's number: it must not look like a duplicate of the
/// first, and the same record that comes again must.
pub(super) fn of_place(sequence: Sequence, place: u64) -> Sequence {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&sequence.number.to_le_bytes());
    bytes[8..].copy_from_slice(&place.to_le_bytes());
    Sequence::of_text(&bytes)
}

fn whole(scalar: &Scalar<'_>) -> Option<u64> {
    match scalar {
        Scalar::Integer(number) => u64::try_from(*number).ok(),
        Scalar::Large(number) => Some(*number),
        Scalar::Float(number) if number.fract() == 0.0 && (0.0..9e15).contains(number) => Some(*number as u64),
        Scalar::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mode: SequenceMode, first: Scalar<'_>, second: Option<Scalar<'_>>) -> Result<Option<Sequence>, ()> {
        mode.read(&first, second.as_ref())
    }

    fn text(text: &str) -> Scalar<'_> {
        Scalar::Text(text.into())
    }

    #[test]
    fn numbers_are_read_whatever_they_are_written_as_and_texts_are_identifiers() {
        for (scalar, number) in [
            (Scalar::Integer(7), 7),
            (Scalar::Large(u64::MAX), u64::MAX),
            (Scalar::Float(1.0), 1),
            (text("00012"), 12),
            (text(" 7 "), 7),
        ] {
            assert_eq!(
                read(SequenceMode::Auto, scalar.clone(), None),
                Ok(Some(number.into())),
                "{scalar:?}"
            );
        }
        for nothing in [Scalar::Missing, Scalar::Null, text("")] {
            assert_eq!(read(SequenceMode::Auto, nothing, None), Ok(None));
        }
        let of = |id| read(SequenceMode::Auto, text(id), None).unwrap().unwrap();
        assert_eq!(of("e6476f26-f09a"), of("e6476f26-f09a"));
        assert_ne!(of("e6476f26-f09a"), of("e6476f26-f09b"));
        assert_eq!(of("ETH-34066").written(), None);
        for odd in [
            Scalar::Integer(-1),
            Scalar::Float(1.5),
            Scalar::Bool(true),
            Scalar::Object,
        ] {
            assert_eq!(read(SequenceMode::Id, odd.clone(), None), Err(()), "{odd:?}");
        }
        assert_eq!(read(SequenceMode::Contiguous, text("a"), None), Err(()));
    }

    #[test]
    fn two_numbers_say_what_must_have_come_before() {
        let of = |mode, first, second| read(mode, Scalar::Integer(first), Some(Scalar::Integer(second)));
        let covering = |number, numbers| {
            Ok(Some(Sequence {
                number,
                order: Order::Covering(numbers),
            }))
        };
        assert_eq!(of(SequenceMode::Range, 5, 9), covering(9, 5));
        assert_eq!(of(SequenceMode::Range, 9, 5), Err(()));
        assert_eq!(of(SequenceMode::Previous, 9, 5), covering(9, 4));
        // A feed that begins anew has none before it.
        assert_eq!(of(SequenceMode::Previous, 1, 9).unwrap().unwrap().order, Order::Rising);
        assert_eq!(read(SequenceMode::Previous, Scalar::Integer(1), None), Err(()));
    }
}
