//! The elements of a record that holds several ticks, one by one.
//!
//! The record has been walked once, so it is known which rules can read it; now the array is walked, and every element is
//! read by the first rule of the group that matches it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::TickError;
use super::fields::{Place, Values};
use super::item::{Item, What};
use super::layout::{EachStep, Group, Layout, text_at};
use super::raw::{self, Step};
use super::scalar::Scalar;
use super::walk::Tree;
use crate::pipeline::input::Record;

/// Reads all elements of a group's array.
pub(super) fn read_elements(
    layout: &Layout,
    group: &Group,
    roots: &[Scalar<'_>],
    record: &Record<'_>,
    payload: &[u8],
    take: &mut dyn FnMut(Item<'_>),
) {
    match group.tree.slots() {
        0..=16 => read_in::<16>(layout, group, roots, record, payload, take),
        _ => read_in::<{ Tree::SLOTS_MAX }>(layout, group, roots, record, payload, take),
    }
}

fn read_in<const SLOTS: usize>(
    layout: &Layout,
    group: &Group,
    roots: &[Scalar<'_>],
    record: &Record<'_>,
    payload: &[u8],
    take: &mut dyn FnMut(Item<'_>),
) {
    let mut elements = Elements {
        layout,
        group,
        roots,
        record,
        payload,
        take,
        slots: &mut [const { Scalar::Missing }; SLOTS],
        members: Vec::new(),
        count: 0,
    };
    let seed = Descent {
        steps: &group.steps,
        elements: &mut elements,
    };
    let walked = seed.deserialize(&mut serde_json::Deserializer::from_slice(payload));
    let count = elements.count;
    // What has been skipped in the first walk was not looked at as closely.
    let what = match walked {
        Err(_) if count > layout.elements_max => return,
        Err(error) => What::Bad(TickError::not_json(payload, &error)),
        Ok(()) if count == 0 => What::Ignored,
        Ok(()) => return,
    };
    take(Item { rule: None, what });
}

/// The elements that are being read.
struct Elements<'e, 'de> {
    layout: &'e Layout,
    group: &'e Group,
    roots: &'e [Scalar<'e>],
    record: &'e Record<'e>,
    payload: &'e [u8],
    take: &'e mut dyn FnMut(Item<'_>),
    slots: &'e mut [Scalar<'de>],
    /// Which members were taken at the stars of the path.
    members: Vec<usize>,
    /// Elements so far.
    count: usize,
}

impl Elements<'_, '_> {
    /// Counts one more element; false when there are too many, which is told once.
    fn go_on(&mut self) -> bool {
        self.count += 1;
        let limit = self.layout.elements_max;
        if self.count == limit + 1 {
            (self.take)(Item {
                rule: None,
                what: What::Bad(TickError::TooMany { limit }),
            });
        }
        self.count <= limit
    }

    /// Reads the element that stands in the slots.
    fn finish(&mut self, index: usize) {
        let values = Values {
            record: self.roots,
            element: self.slots,
        };
        let (group, payload) = (self.group, self.payload);
        let path = || group.path_of(&self.members, index);
        let mut rules = group.rules.iter().map(|rule| &self.layout.rules[*rule]);
        if let Some(rule) = rules.find(|rule| rule.matches(values)) {
            let text_at = |place| match place {
                Place::Record(_) => text_at(payload, &[], self.layout.pointer(place)),
                Place::Element(slot) => text_at(payload, &path(), group.tree.pointer(slot)),
            };
            return rule.read(values, self.count - 1, self.record, text_at, self.take);
        }
        let text = raw::find(payload, &path()).unwrap_or_default();
        (self.take)(self.layout.unmatched(text.as_bytes()));
    }

    /// Says that something stands where elements were expected.
    fn refuse(&mut self, found: &'static str) {
        if self.go_on() {
            (self.take)(self.layout.unmatched(found.as_bytes()));
        }
    }
}

/// Goes down the path to the array.
struct Descent<'s, 'e, 'x, 'de> {
    steps: &'s [EachStep],
    elements: &'x mut Elements<'e, 'de>,
}

impl<'de> DeserializeSeed<'de> for Descent<'_, '_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Descent<'_, '_, '_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((step, steps)) = self.steps.split_first() else {
            self.elements.refuse("an object");
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let mut member = 0;
        while let Some(is_it) = map.next_key_seed(IsStep { step })? {
            if !is_it {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let elements = &mut *self.elements;
            let depth = elements.enter(step, member);
            map.next_value_seed(Descent { steps, elements })?;
            self.elements.members.truncate(depth);
            member += 1;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let elements = self.elements;
        let Some((step, steps)) = self.steps.split_first() else {
            for index in 0.. {
                if seq
                    .next_element_seed(Element {
                        index,
                        elements: &mut *elements,
                    })?
                    .is_none()
                {
                    break;
                }
                if elements.count > elements.layout.elements_max {
                    // The rest of the record is of no use to anybody.
                    return Err(A::Error::custom("too many elements"));
                }
            }
            return Ok(());
        };
        for index in 0.. {
            let is_there = if step.is_place(index) {
                let depth = elements.enter(step, index);
                let is_there = seq
                    .next_element_seed(Descent {
                        steps,
                        elements: &mut *elements,
                    })?
                    .is_some();
                elements.members.truncate(depth);
                is_there
            } else {
                seq.next_element::<IgnoredAny>()?.is_some()
            };
            if !is_there {
                break;
            }
        }
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.elements.refuse("a number");
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.elements.refuse("a number");
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.elements.refuse("a number");
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.elements.refuse("a text");
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.elements.refuse("true or false");
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        // Null is an array without an element.
        Ok(())
    }
}

impl Elements<'_, '_> {
    /// Remembers which member was taken at a star; gives how many were remembered before.
    fn enter(&mut self, step: &EachStep, member: usize) -> usize {
        let depth = self.members.len();
        if *step == EachStep::Any {
            self.members.push(member);
        }
        depth
    }
}

/// One element.
struct Element<'e, 'x, 'de> {
    index: usize,
    elements: &'x mut Elements<'e, 'de>,
}

impl<'de> DeserializeSeed<'de> for Element<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let elements = self.elements;
        if !elements.go_on() {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(drop);
        }
        elements.slots.fill(Scalar::Missing);
        elements.group.tree.walk(deserializer, elements.slots)?;
        elements.finish(self.index);
        Ok(())
    }
}

/// Tells whether a key is that of a step.
struct IsStep<'s> {
    step: &'s EachStep,
}

impl<'de> DeserializeSeed<'de> for IsStep<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsStep<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(match self.step {
            EachStep::Key { name, .. } => name == key,
            EachStep::Any => true,
        })
    }
}

impl Group {
    /// Gives the steps from the record to an element.
    fn path_of(&self, members: &[usize], index: usize) -> Vec<Step<'_>> {
        let mut members = members.iter();
        let steps = self.steps.iter().map(|step| match step {
            EachStep::Key { name, .. } => Step::Key(name),
            EachStep::Any => Step::Nth(members.next().copied().unwrap_or_default()),
        });
        steps.chain([Step::Nth(index)]).collect()
    }
}
