//! The text of one place in a JSON record, as it stands: for errors and for keys, not for ticks.
//!
//! Records that reach it are mostly well-formed; of those that are not it finds nothing, and it never fails.

/// One step into a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// The member of this name, the last one where there are several; in an array, the element at this place.
    Key(&'a str),
    /// The element or member at this place, from 0.
    Nth(usize),
}

/// Gives the text that stands at the end of steps.
pub(super) fn find<'a>(payload: &'a [u8], steps: &[Step<'_>]) -> Option<&'a str> {
    let mut value = payload;
    for step in steps {
        value = enter(value, *step)?;
    }
    let start = skip_blanks(value, 0);
    let end = end_of(value, start)?;
    std::str::from_utf8(&value[start..end]).ok()
}

/// Gives the rest of the text from the value on to which a step leads.
fn enter<'a>(text: &'a [u8], step: Step<'_>) -> Option<&'a [u8]> {
    let start = skip_blanks(text, 0);
    let is_object = match text.get(start)? {
        b'{' => true,
        b'[' => false,
        _ => return None,
    };
    let (mut at, mut count, mut found) = (start + 1, 0_usize, None);
    loop {
        at = skip_blanks(text, at);
        match text.get(at)? {
            b'}' | b']' => return found,
            b',' => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let mut name = None;
        if is_object {
            let end = end_of(text, at)?;
            name = text.get(at + 1..end.checked_sub(1)?);
            at = skip_blanks(text, end);
            if text.get(at) != Some(&b':') {
                return None;
            }
            at = skip_blanks(text, at + 1);
        }
        let is_it = match step {
            Step::Nth(place) => place == count,
            Step::Key(key) if is_object => name == Some(key.as_bytes()),
            Step::Key(key) => key.parse() == Ok(count),
        };
        if is_it {
            found = Some(&text[at..]);
        }
        count += 1;
        at = end_of(text, at)?;
    }
}

fn skip_blanks(text: &[u8], from: usize) -> usize {
    let blanks = text.iter().skip(from).take_while(|byte| byte.is_ascii_whitespace());
    from + blanks.count()
}

/// Gives the end of the value that begins at `start`.
fn end_of(text: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match text.get(at)? {
            b'"' => {
                at += 1;
                while *text.get(at)? != b'"' {
                    at += 1 + usize::from(text[at] == b'\\');
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' if depth > 0 => {
                at += 1;
                continue;
            }
            b',' | b':' => return None,
            _ => {
                let is_end = |byte: &u8| b",:]}\"[{ \t\r\n".contains(byte);
                at += text[at..].iter().position(is_end).unwrap_or(text.len() - at);
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Step::{Key, Nth};
    use super::*;

    #[test]
    fn texts_are_found_as_they_stand() {
        let text = br#" {"a" : [1, {"b":"x\"]}"}, [2.50, 1e-7]], "c":{"d":null}, "e":1, "e": 2e400 } "#;
        for (steps, expected) in [
            (&[Key("a"), Key("0")][..], Some("1")),
            (&[Key("a"), Nth(1), Key("b")], Some(r#""x\"]}""#)),
            (&[Key("a"), Nth(2), Nth(1)], Some("1e-7")),
            (&[Key("a"), Nth(2), Nth(0)], Some("2.50")),
            (&[Key("c")], Some(r#"{"d":null}"#)),
            (&[Key("c"), Key("d")], Some("null")),
            (&[Nth(1), Nth(0)], Some("null")),
            (&[Key("e")], Some("2e400")),
            (&[Key("f")], None),
            (&[Key("e"), Key("f")], None),
        ] {
            assert_eq!(find(text, steps), expected, "{steps:?}");
        }
        assert_eq!(find(b"\"ACME\"", &[]), Some("\"ACME\""));
    }

    #[test]
    fn of_broken_text_it_finds_nothing_and_does_not_fail() {
        let whole = br#"{"a":[1,{"b":"x\\"}],"c":{"d":null}}"#;
        for end in 0..whole.len() {
            for steps in [
                &[][..],
                &[Key("a")],
                &[Key("c"), Key("d")],
                &[Key("a"), Nth(1), Key("b")],
            ] {
                let _ = find(&whole[..end], steps);
                let _ = find(&whole[end..], steps);
            }
        }
        assert_eq!(find(b"}", &[]), None);
        assert_eq!(find(b"\"abc\\", &[]), None);
    }
}
