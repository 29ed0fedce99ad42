//! Conditions: what must stand in a place for a rule to read a record.

use super::scalar::Scalar;

/// One text that a value can be like: `trade`, `*@trade` (a star stands for any text), `37`, `true`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern {
    text: String,
    has_star: bool,
    /// The same as a number, where it is one.
    number: Option<f64>,
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        Pattern {
            text: text.to_owned(),
            has_star: text.contains('*'),
            number: text.parse().ok().filter(|number: &f64| number.is_finite()),
        }
    }

    /// Tells whether a text is like it.
    pub fn is_like(&self, text: &str) -> bool {
        match self.has_star {
            true => is_like(text.as_bytes(), self.text.as_bytes()),
            false => self.text == text,
        }
    }

    /// Tells whether what stands in a place is like it; nothing and null are like no pattern.
    pub fn holds(&self, scalar: &Scalar<'_>) -> bool {
        if self.is_anything() {
            return scalar.is_there();
        }
        match scalar {
            Scalar::Text(text) => self.is_like(text),
            Scalar::Integer(number) => self.number == Some(*number as f64),
            Scalar::Large(number) => self.number == Some(*number as f64),
            Scalar::Float(number) => self.number == Some(*number),
            Scalar::Bool(flag) => self.text == if *flag { "true" } else { "false" },
            Scalar::Missing | Scalar::Null | Scalar::Object | Scalar::Array => false,
        }
    }

    /// Tells whether anything is like it.
    pub fn is_anything(&self) -> bool {
        self.text == "*"
    }

    /// Tells whether it stands for more than one text.
    pub fn has_star(&self) -> bool {
        self.has_star
    }

    /// Gives what the first star of the pattern stands for in a text that is like it.
    pub fn starred<'t>(&self, text: &'t str) -> Option<&'t str> {
        let (before, after) = self.text.split_once('*')?;
        let rest = text.strip_prefix(before)?;
        match after.split_once('*') {
            None => rest.strip_suffix(after),
            Some((between, _)) if !between.is_empty() => Some(&rest[..rest.find(between)?]),
            Some(_) => Some(rest),
        }
    }
}

/// Compares a text with a pattern whose stars stand for any bytes; linear but for the last star.
fn is_like(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    // Where to go on when what followed the last star does not fit.
    let mut retry = None;
    while at < text.len() {
        if pattern.get(in_pattern) == Some(&b'*') {
            retry = Some((at, in_pattern));
            in_pattern += 1;
        } else if pattern.get(in_pattern) == Some(&text[at]) {
            at += 1;
            in_pattern += 1;
        } else if let Some((from, star)) = retry {
            at = from + 1;
            retry = Some((at, star));
            in_pattern = star + 1;
        } else {
            return false;
        }
    }
    pattern[in_pattern..].iter().all(|byte| *byte == b'*')
}

/// What one place must hold: something like one of the patterns, or, negated, nothing that is like any of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition<P> {
    pub place: P,
    /// Where it stands whether an array at the place holds such a value.
    pub in_array: Option<P>,
    pub patterns: Vec<Pattern>,
    pub is_negated: bool,
}

impl<P> Condition<P> {
    /// Makes it of values as the configuration has them; a leading `!` negates all of them.
    pub fn new(place: P, values: &[String]) -> Result<Self, String> {
        let negated = values.iter().filter(|value| value.starts_with('!')).count();
        if values.is_empty() {
            return Err("expected at least one value".into());
        }
        if negated != 0 && negated != values.len() {
            return Err("expected \"!\" before all of the values or before none".into());
        }
        let patterns = values
            .iter()
            .map(|value| Pattern::new(value.strip_prefix('!').unwrap_or(value)));
        Ok(Condition {
            place,
            in_array: None,
            patterns: patterns.collect(),
            is_negated: negated != 0,
        })
    }

    /// Tells whether what stands in the places fulfils it.
    pub fn holds<'s>(&self, at: impl Fn(&P) -> &'s Scalar<'s>) -> bool {
        let scalar = at(&self.place);
        let is_like = match &self.in_array {
            Some(found) if *scalar == Scalar::Array => *at(found) == Scalar::Bool(true),
            _ => self.patterns.iter().any(|pattern| pattern.holds(scalar)),
        };
        is_like != self.is_negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        let cases = [
            ("btcusdt@trade", "*@trade", true),
            ("btcusdt@trade", "btc*@*e", true),
            ("btcusdt@trade", "*@Trade", false),
            ("btcusdt@trade", "*@aggTrade", false),
            ("", "*", true),
            ("aXbXc", "a*X*c", true),
            ("aXbXd", "a*X*c", false),
            ("trades-COINBASE-BTC-USD", "trades-*", true),
            ("a", "", false),
        ];
        for (text, pattern, expected) in cases {
            assert_eq!(Pattern::new(pattern).is_like(text), expected, "{text} like {pattern}");
        }
    }

    #[test]
    fn a_star_of_a_topics_pattern_gives_its_text() {
        let starred = |pattern: &str, text| Pattern::new(pattern).starred(text).map(str::to_owned);
        assert_eq!(
            starred("trades-COINBASE-*", "trades-COINBASE-BTC-USD"),
            Some("BTC-USD".into())
        );
        assert_eq!(starred("*.trades", "ACME.trades"), Some("ACME".into()));
        assert_eq!(starred("md.*.trades.*", "md.ACME.trades.v1"), Some("ACME".into()));
        assert_eq!(starred("trades", "trades"), None);
    }

    #[test]
    fn values_of_every_type_are_compared_by_what_they_say() {
        let is = |value: &str, scalar: Scalar<'_>| {
            let condition = Condition::new((), &[value.to_owned()]).unwrap();
            condition.holds(|()| &scalar)
        };
        assert!(is("37", Scalar::Integer(37)) && is("37", Scalar::Text("37".into())) && is("37", Scalar::Float(37.0)));
        assert!(is("true", Scalar::Bool(true)) && !is("true", Scalar::Bool(false)));
        assert!(is("*", Scalar::Array) && !is("*", Scalar::Null) && !is("*", Scalar::Missing));
        assert!(is("!*", Scalar::Null) && is("!*", Scalar::Missing) && !is("!*", Scalar::Text("".into())));
        assert!(
            is("!NA", Scalar::Text("MARKET".into()))
                && is("!NA", Scalar::Missing)
                && !is("!NA", Scalar::Text("NA".into()))
        );
        assert!(Condition::new((), &["a".into(), "!b".into()]).is_err());
        assert!(Condition::new((), &[]).is_err());
    }
}
