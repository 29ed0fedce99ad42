//! Prices and sizes as feeds write them → numbers.
//!
//! Promises that a number is what stands in the record or nothing: what is odd is told, and never guessed.

use serde::{Deserialize, Serialize};

use super::scalar::Scalar;

/// How a feed writes numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberForm {
    /// A number, or the text of one.
    Number,
    /// Whole units and billionths, at two places.
    UnitsNano,
    /// A whole mantissa and an exponent of ten, at two places.
    MantissaExponent,
    /// Kafka Connect's `Decimal`: the base64 of a two's complement; its scale are the decimals, or stands at a second place.
    Base64,
}

impl NumberForm {
    fn expected(self) -> &'static str {
        match self {
            NumberForm::Number => "a finite number",
            NumberForm::UnitsNano => "whole units and whole nanos",
            NumberForm::MantissaExponent => "a whole mantissa and a whole exponent",
            NumberForm::Base64 => "the base64 of at most 16 bytes",
        }
    }

    /// Tells whether it has this many parts.
    pub(super) fn has_parts(self, parts: usize) -> bool {
        match self {
            NumberForm::Number => parts == 1,
            NumberForm::UnitsNano | NumberForm::MantissaExponent => parts == 2,
            NumberForm::Base64 => parts == 1 || parts == 2,
        }
    }
}

/// What a place says of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// The record has no such place.
    Absent,
    /// The feed says that there is none: null, or a place-holder.
    Empty,
    /// This one.
    Value(f64),
    /// Something that is no number.
    Odd,
}

impl Number {
    pub fn value(self) -> Option<f64> {
        match self {
            Number::Value(value) => Some(value),
            Number::Absent | Number::Empty | Number::Odd => None,
        }
    }
}

/// Texts and numbers that say that there is no value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct EmptyValues {
    texts: Vec<String>,
    numbers: Vec<f64>,
    /// Least magnitude of the numbers: most values are below, and looked at no further.
    magnitude_min: f64,
}

impl EmptyValues {
    pub fn new(values: &[String]) -> Self {
        let numbers = values.iter().filter_map(|value| value.parse().ok());
        let numbers: Vec<f64> = numbers.filter(|number: &f64| number.is_finite()).collect();
        EmptyValues {
            texts: values.to_vec(),
            magnitude_min: numbers
                .iter()
                .fold(f64::INFINITY, |least, number| least.min(number.abs())),
            numbers,
        }
    }

    fn has(&self, number: f64) -> bool {
        number.abs() >= self.magnitude_min && self.numbers.contains(&number)
    }

    fn has_text(&self, text: &str) -> bool {
        self.texts.iter().any(|known| known == text)
    }
}

/// Powers of ten that a float holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// Reads numbers of one form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NumberReader {
    pub form: NumberForm,
    /// Decimal places of whole numbers (0–18).
    pub decimals: u8,
    pub empty: EmptyValues,
}

impl NumberReader {
    /// Gives what was expected, for an error.
    pub fn expected(&self) -> &'static str {
        match (self.form, self.decimals) {
            (NumberForm::Number, 1..) => "a whole number, since the rule gives its decimals",
            (form, _) => form.expected(),
        }
    }

    /// Reads a number whose first part, and second where it has one, stand here.
    pub fn read(&self, first: &Scalar<'_>, second: Option<&Scalar<'_>>) -> Number {
        match self.form {
            NumberForm::Number => self.plain(first),
            NumberForm::UnitsNano => self.pair(first, second, |units, nanos| {
                let nanos = units.checked_mul(1_000_000_000)?.checked_add(nanos)?;
                Some(nanos as f64 / POWERS[9])
            }),
            NumberForm::MantissaExponent => self.pair(first, second, |mantissa, exponent| {
                let power = *POWERS.get(usize::try_from(exponent.unsigned_abs()).ok()?)?;
                Some(match exponent < 0 {
                    true => mantissa as f64 / power,
                    false => mantissa as f64 * power,
                })
            }),
            NumberForm::Base64 => self.base64(first, second),
        }
    }

    fn plain(&self, scalar: &Scalar<'_>) -> Number {
        let number = match scalar {
            Scalar::Missing => return Number::Absent,
            Scalar::Null => return Number::Empty,
            Scalar::Integer(number) => *number as f64,
            Scalar::Large(number) => *number as f64,
            Scalar::Float(number) => *number,
            Scalar::Text(text) => match text.trim().parse() {
                Ok(number) if f64::is_finite(number) => number,
                _ if self.empty.has_text(text.trim()) => return Number::Empty,
                _ => return Number::Odd,
            },
            Scalar::Bool(_) | Scalar::Object | Scalar::Array => return Number::Odd,
        };
        if !number.is_finite() {
            return Number::Odd;
        }
        if self.empty.has(number) {
            return Number::Empty;
        }
        match self.decimals {
            0 => Number::Value(number),
            _ if number.fract() != 0.0 => Number::Odd,
            decimals => Number::Value(number / POWERS[usize::from(decimals)]),
        }
    }

    fn pair(
        &self,
        first: &Scalar<'_>,
        second: Option<&Scalar<'_>>,
        join: impl FnOnce(i128, i128) -> Option<f64>,
    ) -> Number {
        match first {
            Scalar::Missing => return Number::Absent,
            Scalar::Null => return Number::Empty,
            Scalar::Text(text) if self.empty.has_text(text.trim()) => return Number::Empty,
            _ => {}
        }
        // Protobuf leaves out what is zero.
        let second = match second {
            None | Some(Scalar::Missing | Scalar::Null) => Some(0),
            Some(scalar) => whole(scalar),
        };
        let joined = whole(first).zip(second).and_then(|(first, second)| join(first, second));
        joined.map_or(Number::Odd, Number::Value)
    }

    fn base64(&self, first: &Scalar<'_>, second: Option<&Scalar<'_>>) -> Number {
        let text = match first {
            Scalar::Missing => return Number::Absent,
            Scalar::Null => return Number::Empty,
            Scalar::Text(text) => text,
            _ => return Number::Odd,
        };
        let scale = match second {
            None | Some(Scalar::Missing | Scalar::Null) => Some(i128::from(self.decimals)),
            Some(scalar) => whole(scalar),
        };
        let power = scale
            .and_then(|scale| usize::try_from(scale).ok())
            .and_then(|scale| POWERS.get(scale));
        let number = unscaled(text).zip(power).map(|(number, power)| number as f64 / power);
        number.map_or(Number::Odd, Number::Value)
    }
}

fn whole(scalar: &Scalar<'_>) -> Option<i128> {
    match scalar {
        Scalar::Integer(number) => Some((*number).into()),
        Scalar::Large(number) => Some((*number).into()),
        Scalar::Text(text) => text.trim().parse().ok(),
        Scalar::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i128),
        _ => None,
    }
}

/// Reads the base64 of a big-endian two's complement of 1 to 16 bytes.
fn unscaled(text: &str) -> Option<i128> {
    let digits = text.trim_end_matches('=').as_bytes();
    let bytes = digits.len() * 6 / 8;
    if !(1..=16).contains(&bytes) || digits.len() % 4 == 1 {
        return None;
    }
    let (mut number, mut held, mut bits, mut is_first) = (0_i128, 0_u32, 0, true);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            let byte = (held >> bits) as u8;
            held &= (1 << bits) - 1;
            number = match is_first {
                true => i128::from(byte as i8),
                false => number << 8 | i128::from(byte),
            };
            is_first = false;
        }
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(form: NumberForm, decimals: u8) -> NumberReader {
        let empty = [
            "",
            "NaN",
            "9223372036854775807",
            "1.7976931348623157e308",
            "-9999999999",
        ];
        NumberReader {
            form,
            decimals,
            empty: EmptyValues::new(&empty.map(str::to_owned)),
        }
    }

    fn text(text: &str) -> Scalar<'_> {
        Scalar::Text(text.into())
    }

    #[test]
    fn numbers_and_their_texts_are_the_same_and_place_holders_are_none() {
        let plain = |scalar| reader(NumberForm::Number, 0).read(&scalar, None);
        for (scalar, expected) in [
            (text("10.5"), Number::Value(10.5)),
            (text(" 12.5 "), Number::Value(12.5)),
            (text("1e-7"), Number::Value(1e-7)),
            (Scalar::Float(10.5), Number::Value(10.5)),
            (Scalar::Integer(-3), Number::Value(-3.0)),
            (Scalar::Missing, Number::Absent),
            (Scalar::Null, Number::Empty),
            (text(""), Number::Empty),
            (text("NaN"), Number::Empty),
            (text("9223372036854775807"), Number::Empty),
            (Scalar::Integer(i64::MAX), Number::Empty),
            (Scalar::Float(f64::MAX), Number::Empty),
            (Scalar::Integer(-9_999_999_999), Number::Empty),
            (Scalar::Integer(9_999_999_999), Number::Value(9_999_999_999.0)),
            (text("1,234.5"), Number::Odd),
            (text("1_000"), Number::Odd),
            (text("0x10"), Number::Odd),
            (text("12.5USD"), Number::Odd),
            (text("--"), Number::Odd),
            (text("inf"), Number::Odd),
            (text("1e999"), Number::Odd),
            (Scalar::Bool(true), Number::Odd),
            (Scalar::Object, Number::Odd),
            (Scalar::Array, Number::Odd),
        ] {
            assert_eq!(plain(scalar.clone()), expected, "{scalar:?}");
        }
    }

    #[test]
    fn fixed_point_is_exact_and_takes_whole_numbers_alone() {
        let nine = |scalar| reader(NumberForm::Number, 9).read(&scalar, None);
        assert_eq!(nine(text("3720250000000")), Number::Value(3720.25));
        assert_eq!(nine(Scalar::Integer(3_720_250_000_000)), Number::Value(3720.25));
        assert_eq!(nine(text("9223372036854775807")), Number::Empty);
        assert_eq!(nine(text("3720.25")), Number::Odd);
    }

    #[test]
    fn two_parts_make_one_number() {
        let units = |units, nanos| reader(NumberForm::UnitsNano, 0).read(&units, Some(&nanos));
        assert_eq!(units(text("33"), Scalar::Integer(70_000_000)), Number::Value(33.07));
        assert_eq!(units(text("-33"), Scalar::Integer(-70_000_000)), Number::Value(-33.07));
        assert_eq!(units(text("0"), Scalar::Missing), Number::Value(0.0));
        assert_eq!(units(Scalar::Missing, Scalar::Missing), Number::Absent);
        assert_eq!(units(Scalar::Float(33.5), Scalar::Integer(0)), Number::Odd);
        let scaled = |mantissa, exponent| {
            reader(NumberForm::MantissaExponent, 0).read(&Scalar::Integer(mantissa), Some(&Scalar::Integer(exponent)))
        };
        assert_eq!(scaled(12345, -2), Number::Value(123.45));
        assert_eq!(scaled(12, 3), Number::Value(12000.0));
        assert_eq!(scaled(12, 99), Number::Odd);
    }

    #[test]
    fn connects_decimals_are_read() {
        let decimal = |base64| reader(NumberForm::Base64, 2).read(&text(base64), None);
        // 10125 = 0x278d, −10125 = 0xd873.
        assert_eq!(decimal("J40="), Number::Value(101.25));
        assert_eq!(decimal("2HM="), Number::Value(-101.25));
        assert_eq!(decimal("AA=="), Number::Value(0.0));
        assert_eq!(decimal(""), Number::Odd);
        assert_eq!(decimal("J4!="), Number::Odd);
        let scaled = reader(NumberForm::Base64, 0).read(&text("J40="), Some(&Scalar::Integer(3)));
        assert_eq!(scaled, Number::Value(10.125));
    }
}
