//! Numbers as text: for people, and for the coordinates of a drawing.

/// From here on a number is written with an exponent (value without sign).
const PLAIN_MAX: f64 = 1e9;

/// Writes a whole number with commas between the thousands.
pub(super) fn count(number: usize) -> String {
    grouped(&number.to_string())
}

/// Writes a number with fixed decimals and commas between the thousands; "–" if there is none.
pub(super) fn fixed(number: f64, decimals: usize) -> String {
    if number.is_nan() {
        return "–".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "∞" } else { "−∞" }.to_owned();
    }
    if number.abs() >= PLAIN_MAX {
        return format!("{number:.2e}");
    }
    let text = format!("{:.decimals$}", number.abs());
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let sign = if number < 0.0 && text.chars().any(|digit| ('1'..='9').contains(&digit)) {
        "−"
    } else {
        ""
    };
    let point = if rest.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{rest}", grouped(whole))
}

/// Writes a number with about three digits, however large or small it is.
pub(super) fn short(number: f64) -> String {
    let size = number.abs();
    if size >= 100.0 || size == 0.0 {
        fixed(number, 0)
    } else if size >= 1.0 {
        fixed(number, 2)
    } else if size >= 0.001 {
        fixed(number, 3)
    } else {
        format!("{number:.1e}")
    }
}

/// Writes a share as a whole percentage; "–" if there is none.
pub(super) fn percent(share: f64) -> String {
    if share.is_nan() {
        "–".to_owned()
    } else {
        format!("{:.0} %", share * 100.0)
    }
}

/// Writes `part of whole`.
pub(super) fn part(part: usize, whole: usize) -> String {
    format!("{} of {}", count(part), count(whole))
}

/// Writes a coordinate: one decimal, none where it is zero. A tenth of a pixel cannot be seen, and digits are bytes.
pub(super) fn coordinate(pixels: f64) -> String {
    let text = format!("{pixels:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// Writes a stamp in UTC to the second; empty for one that no calendar holds.
pub(super) fn stamp(nanos: i64) -> String {
    let Ok(stamp) = jiff::Timestamp::from_nanosecond(i128::from(nanos)) else {
        return String::new();
    };
    let text = stamp.to_string();
    let seconds = text.get(..19).unwrap_or(&text);
    format!("{} UTC", seconds.replace('T', " "))
}

/// Writes the time of day of a stamp in UTC to the second, or day and time to the minute; empty as [`stamp`] is.
pub(super) fn clock(nanos: i64, with_day: bool) -> String {
    let text = stamp(nanos);
    let shown = if with_day { 5..16 } else { 11..19 };
    text.get(shown).unwrap_or_default().to_owned()
}

/// Writes a length of time in the unit that fits it.
pub(super) fn duration(nanos: i64) -> String {
    let seconds = nanos as f64 / 1e9;
    match seconds.abs() {
        ..1.0 => format!("{} ms", fixed(seconds * 1e3, 0)),
        ..120.0 => format!("{} s", fixed(seconds, 1)),
        ..7_200.0 => format!("{} min", fixed(seconds / 60.0, 0)),
        _ => format!("{} h", fixed(seconds / 3_600.0, 1)),
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1_000, 271_288].map(count), ["0", "999", "1,000", "271,288"]);
        assert_eq!(
            [1_234.5, -0.04, -2.0].map(|number| fixed(number, 1)),
            ["1,234.5", "0.0", "−2.0"]
        );
        assert_eq!(
            [f64::NAN, f64::INFINITY, 3e12].map(|number| fixed(number, 0)),
            ["–", "∞", "3.00e12"]
        );
        assert_eq!(
            [0.0, 12.345, 0.0123, 4_321.0].map(short),
            ["0", "12.35", "0.012", "4,321"]
        );
        assert_eq!([0.5, 10.04, -0.01].map(coordinate), ["0.5", "10", "0"]);
        assert_eq!(stamp(1_381_241_243_403_000_000), "2013-10-08 14:07:23 UTC");
        assert_eq!(
            [false, true].map(|with_day| clock(1_381_241_243_403_000_000, with_day)),
            ["14:07:23", "10-08 14:07"]
        );
        assert_eq!(
            [40_000_000, 2_500_000_000, 400_000_000_000].map(duration),
            ["40 ms", "2.5 s", "7 min"]
        );
    }
}
