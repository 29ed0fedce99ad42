//! Numbers that a snapshot may hold within bounds alone: places in rings and lists of fixed length.
//!
//! A number that is out of bounds is an error when it is read, so that no damaged snapshot can make the detector panic later.

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Reads a number below `N`.
pub fn below<'de, const N: usize, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let number = usize::deserialize(deserializer)?;
    match number < N {
        true => Ok(number),
        false => Err(D::Error::custom(format_args!(
            "{number} where less than {N} is possible"
        ))),
    }
}

/// Reads a number of at most `N`.
pub fn at_most<'de, const N: usize, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    let number = usize::deserialize(deserializer)?;
    match number <= N {
        true => Ok(number),
        false => Err(D::Error::custom(format_args!("{number} where at most {N} is possible"))),
    }
}
