//! Tails as tensors: what is the same as its neighbour, or as most, is not stored.
//!
//! Promises that every number comes back bit for bit. Knows nothing of what the tails are of.
//!
//! # Layout
//! Tails are two tensors. `marks` (U16) says of each tail which of its numbers stand in `numbers` (F32), one tail after the
//! other: bit k that knot k does (otherwise it equals the knot below it, the lowest one 0), `PARETO` that there is a
//! Pareto tail, of the usual shape and scale where those bits say so; without it one number says what is beyond. A tail whose
//! bits are all set is not there.

use std::collections::BTreeMap;

use super::tensors::{self, Expected, Floats, NamedTensor, Numbers, TensorError, Tensors, expect};
use crate::pipeline::feature::FEATURES;
use crate::pipeline::tail::{Beyond, KNOTS, Tail};
use crate::pipeline::tails::Tails;

/// What the names of all tensors of calibrations begin with.
pub(super) const PREFIX: &str = "calibrations.";

/// What the marks of a tail mean beside its knots.
struct Marks;

impl Marks {
    const PARETO: u16 = 1 << KNOTS;
    const USUAL_SHAPE: u16 = 1 << (KNOTS + 1);
    const USUAL_SCALE: u16 = 1 << (KNOTS + 2);
    const KNOWN: u16 = (1 << (KNOTS + 3)) - 1;
    const ABSENT: u16 = u16::MAX;
}

/// A shape and a scale that many tails have: the bounds of what fitting gives.
#[derive(Clone, Copy)]
pub(super) struct Usual {
    pub shape: f32,
    pub scale: f32,
}

impl Usual {
    /// Takes the commonest; of equally common ones, the smallest.
    pub fn of(tails: impl Iterator<Item = Tail>) -> Self {
        let (mut shapes, mut scales) = (BTreeMap::new(), BTreeMap::new());
        for tail in tails {
            if let Beyond::Pareto { shape, scale } = tail.beyond {
                *shapes.entry(shape.to_bits()).or_insert(0_u32) += 1;
                *scales.entry(scale.to_bits()).or_insert(0_u32) += 1;
            }
        }
        let commonest = |counts: BTreeMap<u32, u32>| {
            let commonest = counts.into_iter().rev().max_by_key(|(_, count)| *count);
            commonest.map_or(1.0, |(bits, _)| f32::from_bits(bits))
        };
        Usual {
            shape: commonest(shapes),
            scale: commonest(scales),
        }
    }
}

fn is_same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits()
}

/// Tails on their way into tensors.
pub(super) struct TailWriter {
    usual: Usual,
    marks: Vec<u16>,
    numbers: Vec<f32>,
}

impl TailWriter {
    pub fn new(usual: Usual) -> Self {
        TailWriter {
            usual,
            marks: Vec::new(),
            numbers: Vec::new(),
        }
    }

    pub fn put(&mut self, tail: &Tail) {
        let mut marks = 0;
        let mut below = 0.0_f32;
        for (place, knot) in tail.knots.iter().enumerate() {
            if !is_same(*knot, below) {
                marks |= 1 << place;
                self.numbers.push(*knot);
            }
            below = *knot;
        }
        match tail.beyond {
            Beyond::Pareto { shape, scale } => {
                marks |= Marks::PARETO;
                let parts = [
                    (shape, self.usual.shape, Marks::USUAL_SHAPE),
                    (scale, self.usual.scale, Marks::USUAL_SCALE),
                ];
                for (number, usual, mark) in parts {
                    match is_same(number, usual) {
                        true => marks |= mark,
                        false => self.numbers.push(number),
                    }
                }
            }
            Beyond::Rare(surprise) => self.numbers.push(surprise),
        }
        self.marks.push(marks);
    }

    pub fn put_absent(&mut self, tails: usize) {
        self.marks.resize(self.marks.len() + tails, Marks::ABSENT);
    }

    /// Gives the tensors, none where no tail is there.
    pub fn tensors(self, name: &str, shape: Vec<usize>) -> Vec<NamedTensor<'static>> {
        if self.marks.iter().all(|marks| *marks == Marks::ABSENT) {
            return Vec::new();
        }
        let numbers = vec![self.numbers.len()];
        vec![
            tensor(&format!("{name}.marks"), shape, Numbers::Marks(self.marks)),
            tensor(&format!("{name}.numbers"), numbers, floats(self.numbers)),
        ]
    }
}

/// Tails on their way out of tensors.
pub(super) struct TailReader<'a> {
    name: String,
    usual: Usual,
    marks: tensors::Marks<'a>,
    numbers: Floats<'a>,
}

impl<'a> TailReader<'a> {
    pub fn new(tensors: &mut Tensors<'a>, name: &str, shape: &[usize], usual: Usual) -> Result<Self, TensorError> {
        let name = format!("{PREFIX}{name}");
        Ok(TailReader {
            usual,
            marks: tensors.marks(&format!("{name}.marks"), Expected::Shape(shape))?,
            numbers: tensors.floats(&format!("{name}.numbers"), Expected::AnyShape)?,
            name,
        })
    }

    /// The same for tails that may be missing.
    pub fn optional(
        tensors: &mut Tensors<'a>,
        name: &str,
        shape: &[usize],
        usual: Usual,
    ) -> Result<Option<Self>, TensorError> {
        let is_there = tensors.has(&format!("{PREFIX}{name}.marks"));
        is_there.then(|| Self::new(tensors, name, shape, usual)).transpose()
    }

    /// Takes the next tail, if it is there.
    pub fn take(&mut self) -> Result<Option<Tail>, TensorError> {
        let marks = self.marks.next().unwrap_or(Marks::ABSENT);
        if marks == Marks::ABSENT {
            return Ok(None);
        }
        expect(marks & !Marks::KNOWN == 0, || {
            format!("{}.marks: {marks} is no set of marks", self.name)
        })?;
        let mut knots = [0.0; KNOTS];
        let mut below = 0.0;
        for (place, knot) in knots.iter_mut().enumerate() {
            if marks & (1 << place) != 0 {
                below = self.number()?;
            }
            *knot = below;
        }
        let beyond = match marks & Marks::PARETO != 0 {
            false => Beyond::Rare(self.number()?),
            true => Beyond::Pareto {
                shape: match marks & Marks::USUAL_SHAPE != 0 {
                    true => self.usual.shape,
                    false => self.number()?,
                },
                scale: match marks & Marks::USUAL_SCALE != 0 {
                    true => self.usual.scale,
                    false => self.number()?,
                },
            },
        };
        Ok(Some(Tail { knots, beyond }))
    }

    fn missing(&self) -> TensorError {
        TensorError::Inconsistent(format!("{}: a tail is missing", self.name))
    }

    pub fn take_known(&mut self) -> Result<Tail, TensorError> {
        let tail = self.take()?;
        tail.ok_or_else(|| self.missing())
    }

    /// Takes the tails of all features: all of them or none.
    pub fn take_row(&mut self) -> Result<Option<Tails>, TensorError> {
        let mut tails = Vec::with_capacity(FEATURES);
        for _ in 0..FEATURES {
            tails.extend(self.take()?);
        }
        match <&[Tail; FEATURES]>::try_from(tails.as_slice()) {
            Ok(tails) => Ok(Some(Tails::new(tails))),
            Err(_) if tails.is_empty() => Ok(None),
            Err(_) => Err(self.missing()),
        }
    }

    pub fn take_known_row(&mut self) -> Result<Tails, TensorError> {
        let tails = self.take_row()?;
        tails.ok_or_else(|| self.missing())
    }

    fn number(&mut self) -> Result<f32, TensorError> {
        let too_few = || TensorError::Inconsistent(format!("{}.numbers: too few for its marks", self.name));
        self.numbers.next().ok_or_else(too_few)
    }

    /// Makes sure that all numbers have been taken.
    pub fn end(&mut self) -> Result<(), TensorError> {
        let is_empty = self.numbers.next().is_none();
        expect(is_empty, || format!("{}.numbers: more than its marks say", self.name))
    }
}

pub(super) fn tensor(name: &str, shape: Vec<usize>, numbers: Numbers<'static>) -> NamedTensor<'static> {
    NamedTensor {
        name: format!("{PREFIX}{name}"),
        shape,
        numbers,
    }
}

pub(super) fn floats(numbers: Vec<f32>) -> Numbers<'static> {
    Numbers::Floats(numbers.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_keep_their_sign_and_knots_that_are_one_are_stored_once() {
        let mut knots = [-0.0_f32; KNOTS];
        knots[7..].copy_from_slice(&[0.0, 2.5, 2.5]);
        let beyond = Beyond::Rare(1.75);
        let usual = Usual { shape: 0.2, scale: 0.1 };
        let mut writer = TailWriter::new(usual);
        writer.put(&Tail { knots, beyond });
        assert_eq!(writer.numbers, [-0.0, 0.0, 2.5, 1.75]);
        let bytes = tensors::write(&writer.tensors("some", vec![1]), ("key", String::new())).unwrap();
        let mut tensors = Tensors::read(&bytes).unwrap();
        let mut reader = TailReader::new(&mut tensors, "some", &[1], usual).unwrap();
        let back = reader.take_known().unwrap();
        assert_eq!(back.knots.map(f32::to_bits), knots.map(f32::to_bits));
        assert_eq!(back.beyond, beyond);
        reader.end().unwrap();
    }
}
