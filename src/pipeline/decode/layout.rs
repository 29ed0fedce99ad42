//! A layout: the rules of one topic, compiled, and what each does with what it matches.

use super::condition::Condition;
use super::error::{TickError, shortened};
use super::fields::{Fields, Place, Values};
use super::item::{Item, What};
use super::raw::{self, Step};
use super::rule::Unmatched;
use super::scalar::Scalar;
use super::walk::{Slot, Tree, steps_of};
use crate::pipeline::input::Record;

/// The rules of one topic.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Places in the record.
    pub tree: Tree,
    /// In the order of the configuration.
    pub rules: Vec<CompiledRule>,
    pub groups: Vec<Group>,
    pub unmatched: Unmatched,
    /// Most elements of one record.
    pub elements_max: usize,
}

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct CompiledRule {
    /// Its place in the configuration.
    pub number: u16,
    pub when: Vec<Condition<Place>>,
    /// What it does with what it matches; `None`: it is left out.
    pub fields: Option<Fields>,
    /// The group of rules with the same `each`.
    pub group: Option<usize>,
}

impl CompiledRule {
    /// Tells whether what it demands of the record itself is there.
    pub fn matches_record<'v>(&self, record: &'v [Scalar<'v>]) -> bool {
        let values = Values { record, element: &[] };
        self.when.iter().all(|condition| match condition.place {
            Place::Record(_) => condition.holds(|place| values.at(*place)),
            Place::Element(_) => true,
        })
    }

    /// Tells whether everything that it demands is there.
    pub fn matches(&self, values: Values<'_>) -> bool {
        self.when
            .iter()
            .all(|condition| condition.holds(|place| values.at(*place)))
    }

    /// Reads what it has matched, at a place in the record. `text_at` gives the text that stands in a place.
    pub fn read<'t>(
        &self,
        values: Values<'_>,
        place: usize,
        record: &Record<'_>,
        text_at: impl FnOnce(Place) -> Option<&'t str>,
        take: &mut dyn FnMut(Item<'_>),
    ) {
        let rule = Some(self.number);
        let Some(fields) = &self.fields else {
            take(Item {
                rule,
                what: What::Ignored,
            });
            return;
        };
        if let Err(refusal) = fields.read(rule, values, place, record, take) {
            let error = match refusal.place.and_then(text_at) {
                Some(text) => refusal.error.quoting(text),
                None => refusal.error,
            };
            take(Item {
                rule,
                what: What::Bad(error),
            });
        }
    }
}

/// Rules with the same `each`.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The path to the array.
    pub steps: Vec<EachStep>,
    /// Where it begins, up to the first star.
    pub anchor: Slot,
    /// Places in an element.
    pub tree: Tree,
    /// Its rules, by their place in the layout.
    pub rules: Vec<usize>,
}

impl Group {
    /// Tells whether the record holds such an array.
    pub fn is_there(&self, record: &[Scalar<'_>]) -> bool {
        is_container(&record[usize::from(self.anchor)], self.steps.contains(&EachStep::Any))
    }
}

/// One step of the path to an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EachStep {
    /// A member, or the element at a place.
    Key { name: String, index: Option<usize> },
    /// Every member.
    Any,
}

impl EachStep {
    /// Tells whether it leads to the element at a place.
    pub fn is_place(&self, place: usize) -> bool {
        match self {
            EachStep::Key { index, .. } => *index == Some(place),
            EachStep::Any => true,
        }
    }
}

/// Makes the text of a pointer's steps.
pub(super) fn text_at<'p>(payload: &'p [u8], before: &[Step<'_>], pointer: &str) -> Option<&'p str> {
    let names = steps_of(pointer).ok()?;
    let steps = before.iter().copied().chain(names.iter().map(|name| Step::Key(name)));
    raw::find(payload, &steps.collect::<Vec<_>>())
}

impl Layout {
    /// Gives the pointer of a place in the record.
    pub fn pointer(&self, place: Place) -> &str {
        match place {
            Place::Record(slot) => self.tree.pointer(slot),
            Place::Element(_) => "",
        }
    }

    /// Says what becomes of what no rule reads.
    pub fn unmatched(&self, text: &[u8]) -> Item<'static> {
        let what = match self.unmatched {
            Unmatched::Ignore => What::Ignored,
            Unmatched::DeadLetter => {
                let shown = String::from_utf8_lossy(text);
                What::Bad(TickError::Unmatched(shortened(&shown)))
            }
        };
        Item { rule: None, what }
    }
}

/// Tells whether an array, or where members are taken an object, stands in a slot.
fn is_container(scalar: &Scalar<'_>, or_object: bool) -> bool {
    *scalar == Scalar::Array || (or_object && *scalar == Scalar::Object)
}
