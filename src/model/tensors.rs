//! Named tensors as one safetensors byte string.
//!
//! Promises that what is read has the type and the shape that was asked for, and that an error names the tensor. Knows
//! nothing of models.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View, serialize};
use thiserror::Error;

/// Why bytes are not the tensors that were expected.
#[derive(Debug, Error)]
pub enum TensorError {
    /// Not a safetensors file, or cut short.
    #[error("not a safetensors file: {0}")]
    NotSafetensors(#[from] SafeTensorError),
    /// A tensor is missing, unknown, or not what it should be.
    #[error("{0}")]
    Inconsistent(String),
}

/// Numbers of one type, row-major.
pub(super) enum Numbers<'a> {
    Floats(Cow<'a, [f32]>),
    Indices(Vec<u32>),
    Marks(Vec<u16>),
    Bytes(Vec<u8>),
}

/// One tensor to be written.
pub(super) struct NamedTensor<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub numbers: Numbers<'a>,
}

impl View for &NamedTensor<'_> {
    fn dtype(&self) -> Dtype {
        match &self.numbers {
            Numbers::Floats(_) => Dtype::F32,
            Numbers::Indices(_) => Dtype::U32,
            Numbers::Marks(_) => Dtype::U16,
            Numbers::Bytes(_) => Dtype::U8,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.numbers {
            Numbers::Floats(numbers) => flat(numbers.iter().map(|number| number.to_le_bytes()).collect()),
            Numbers::Indices(numbers) => flat(numbers.iter().map(|number| number.to_le_bytes()).collect()),
            Numbers::Marks(numbers) => flat(numbers.iter().map(|number| number.to_le_bytes()).collect()),
            Numbers::Bytes(bytes) => Cow::Borrowed(bytes),
        }
    }

    fn data_len(&self) -> usize {
        match &self.numbers {
            Numbers::Floats(numbers) => size_of_val(&**numbers),
            Numbers::Indices(numbers) => size_of_val(&**numbers),
            Numbers::Marks(numbers) => size_of_val(&**numbers),
            Numbers::Bytes(bytes) => bytes.len(),
        }
    }
}

fn flat<const N: usize>(numbers: Vec<[u8; N]>) -> Cow<'static, [u8]> {
    Cow::Owned(numbers.into_flattened())
}

/// Writes tensors under metadata; the same tensors give the same bytes. Two keys would stand in no certain order, so there is
/// one.
///
/// # Errors
/// [`TensorError`] when a shape does not fit its numbers.
pub(super) fn write(tensors: &[NamedTensor<'_>], metadata: (&str, String)) -> Result<Vec<u8>, TensorError> {
    for tensor in tensors {
        let numbers = tensor.shape.iter().product::<usize>();
        let found = tensor.data_len() / (tensor.dtype().bitsize() / 8);
        expect(numbers == found, || {
            format!("{}: expected {numbers} numbers, found {found}", tensor.name)
        })?;
    }
    let views = tensors.iter().map(|tensor| (&tensor.name, tensor));
    let metadata = HashMap::from([(metadata.0.to_string(), metadata.1)]);
    Ok(serialize(views, Some(metadata))?)
}

/// Gives an error unless something holds.
pub(super) fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), TensorError> {
    match holds {
        true => Ok(()),
        false => Err(TensorError::Inconsistent(otherwise())),
    }
}

/// The tensors of a byte string that nobody has taken yet.
pub(super) struct Tensors<'a> {
    views: BTreeMap<String, TensorView<'a>>,
}

impl<'a> Tensors<'a> {
    /// Reads the names, types and shapes of all tensors.
    ///
    /// # Errors
    /// [`TensorError::NotSafetensors`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, TensorError> {
        let views = SafeTensors::deserialize(bytes)?.tensors().into_iter().collect();
        Ok(Tensors { views })
    }

    /// Gives the text under a key of the metadata, if it is there.
    ///
    /// # Errors
    /// [`TensorError::NotSafetensors`].
    pub fn metadata(bytes: &[u8], key: &str) -> Result<Option<String>, TensorError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        let sections = header.metadata().as_ref();
        Ok(sections.and_then(|sections| sections.get(key).cloned()))
    }

    /// Tells whether a tensor is there.
    pub fn has(&self, name: &str) -> bool {
        self.views.contains_key(name)
    }

    /// Takes a list of 32-bit floats.
    ///
    /// # Errors
    /// [`TensorError::Inconsistent`] when it is missing or of another type or shape.
    pub fn floats(&mut self, name: &str, shape: Expected<'_>) -> Result<Floats<'a>, TensorError> {
        let bytes = self.take(name, Dtype::F32, shape)?;
        let numbers = bytes.as_chunks().0.iter().copied();
        Ok(numbers.map(f32::from_le_bytes as fn([u8; 4]) -> f32))
    }

    /// Takes a list of unsigned 32-bit numbers; errors as [`Tensors::floats`] has them.
    pub fn indices(&mut self, name: &str, shape: Expected<'_>) -> Result<Vec<u32>, TensorError> {
        let bytes = self.take(name, Dtype::U32, shape)?;
        let numbers = bytes.as_chunks().0.iter();
        Ok(numbers.map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    /// Takes a list of unsigned 16-bit numbers; errors as [`Tensors::floats`] has them.
    pub fn marks(&mut self, name: &str, shape: Expected<'_>) -> Result<Marks<'a>, TensorError> {
        let bytes = self.take(name, Dtype::U16, shape)?;
        let numbers = bytes.as_chunks().0.iter().copied();
        Ok(numbers.map(u16::from_le_bytes as fn([u8; 2]) -> u16))
    }

    /// Takes a list of bytes; errors as [`Tensors::floats`] has them.
    pub fn bytes(&mut self, name: &str, shape: Expected<'_>) -> Result<&'a [u8], TensorError> {
        self.take(name, Dtype::U8, shape)
    }

    /// Takes all tensors that are left, which must be 32-bit floats; empty ones are passed over.
    ///
    /// # Errors
    /// [`TensorError::Inconsistent`] that names the tensor of another type.
    pub fn rest(mut self) -> Result<BTreeMap<String, Vec<f32>>, TensorError> {
        let names: Vec<String> = self.views.keys().cloned().collect();
        let mut rest = BTreeMap::new();
        for name in names {
            let numbers: Vec<f32> = self.floats(&name, Expected::AnyShape)?.collect();
            if !numbers.is_empty() {
                rest.insert(name, numbers);
            }
        }
        Ok(rest)
    }

    fn take(&mut self, name: &str, dtype: Dtype, shape: Expected<'_>) -> Result<&'a [u8], TensorError> {
        let Some(view) = self.views.remove(name) else {
            return Err(TensorError::Inconsistent(format!("{name}: missing")));
        };
        expect(view.dtype() == dtype, || {
            format!("{name}: expected numbers of type {dtype}, found {}", view.dtype())
        })?;
        if let Expected::Shape(shape) = shape {
            expect(view.shape() == shape, || {
                format!("{name}: expected the shape {shape:?}, found {:?}", view.shape())
            })?;
        }
        Ok(view.data())
    }
}

/// 32-bit floats as they lie in the bytes.
pub(super) type Floats<'a> = std::iter::Map<std::iter::Copied<std::slice::Iter<'a, [u8; 4]>>, fn([u8; 4]) -> f32>;
/// Unsigned 16-bit numbers as they lie in the bytes.
pub(super) type Marks<'a> = std::iter::Map<std::iter::Copied<std::slice::Iter<'a, [u8; 2]>>, fn([u8; 2]) -> u16>;

/// What shape a tensor should have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected<'s> {
    /// This one.
    Shape(&'s [usize]),
    /// Whoever takes the numbers counts them.
    AnyShape,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> Vec<u8> {
        let tensor = |name: &str, shape: &[usize], numbers| NamedTensor {
            name: name.into(),
            shape: shape.into(),
            numbers,
        };
        let tensors = [
            tensor("floats", &[1, 2], Numbers::Floats(vec![1.5, -0.0].into())),
            tensor("indices", &[1], Numbers::Indices(vec![70_000])),
            tensor("marks", &[3], Numbers::Marks(vec![1, 2, 65_535])),
            tensor("bytes", &[2], Numbers::Bytes(vec![7, 8])),
        ];
        write(&tensors, ("key", "text".into())).unwrap()
    }

    #[test]
    fn numbers_of_every_type_come_back() {
        let bytes = bytes();
        let mut tensors = Tensors::read(&bytes).unwrap();
        let floats: Vec<u32> = tensors
            .floats("floats", Expected::Shape(&[1, 2]))
            .unwrap()
            .map(f32::to_bits)
            .collect();
        assert_eq!(floats, [1.5_f32.to_bits(), (-0.0_f32).to_bits()]);
        assert_eq!(tensors.indices("indices", Expected::AnyShape).unwrap(), [70_000]);
        let marks = tensors.marks("marks", Expected::Shape(&[3])).unwrap();
        assert_eq!(marks.collect::<Vec<_>>(), [1, 2, 65_535]);
        assert_eq!(tensors.bytes("bytes", Expected::AnyShape).unwrap(), [7, 8]);
        assert!(tensors.rest().unwrap().is_empty());
        assert_eq!(Tensors::metadata(&bytes, "key").unwrap().as_deref(), Some("text"));
        assert_eq!(Tensors::metadata(&bytes, "other").unwrap(), None);
    }

    #[test]
    fn what_is_missing_or_of_another_type_or_shape_is_named() {
        let bytes = bytes();
        let mut tensors = Tensors::read(&bytes).unwrap();
        let mut message = |name: &str, shape: &[usize]| {
            let error = tensors.floats(name, Expected::Shape(shape)).unwrap_err();
            error.to_string()
        };
        assert_eq!(message("nothing", &[1]), "nothing: missing");
        assert_eq!(message("marks", &[3]), "marks: expected numbers of type F32, found U16");
        assert_eq!(message("floats", &[2]), "floats: expected the shape [2], found [1, 2]");
        let of_another_type = Tensors::read(&bytes).unwrap().rest().unwrap_err().to_string();
        assert!(of_another_type.starts_with("bytes: expected"), "{of_another_type}");
    }

    #[test]
    fn numbers_that_do_not_fit_their_shape_are_not_written() {
        let tensor = NamedTensor {
            name: "short".into(),
            shape: vec![2, 2],
            numbers: Numbers::Indices(vec![1]),
        };
        let error = write(&[tensor], ("key", String::new())).unwrap_err().to_string();
        assert_eq!(error, "short: expected 4 numbers, found 1");
    }
}
