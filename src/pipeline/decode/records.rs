//! One record → its items: walked once, and read by the first rule that matches it.

use super::elements::read_elements;
use super::error::TickError;
use super::fields::Values;
use super::item::{Item, What};
use super::layout::{Layout, text_at};
use super::scalar::Scalar;
use super::walk::Tree;
use crate::pipeline::input::Record;

/// Reads one record. Every record gives at least one item.
pub(super) fn read_record(layout: &Layout, record: &Record<'_>, payload: &[u8], take: &mut dyn FnMut(Item<'_>)) {
    // Room on the stack for what most layouts need, so that they do not clear room for the largest.
    match layout.tree.slots() {
        0..=12 => read_in::<12>(layout, record, payload, take),
        13..=32 => read_in::<32>(layout, record, payload, take),
        _ => read_in::<{ Tree::SLOTS_MAX }>(layout, record, payload, take),
    }
}

fn read_in<const SLOTS: usize>(layout: &Layout, record: &Record<'_>, payload: &[u8], take: &mut dyn FnMut(Item<'_>)) {
    let mut slots = [const { Scalar::Missing }; SLOTS];
    let mut deserializer = serde_json::Deserializer::from_slice(payload);
    let walked = layout.tree.walk(&mut deserializer, &mut slots);
    if let Err(error) = walked.and_then(|()| deserializer.end()) {
        take(Item {
            rule: None,
            what: What::Bad(TickError::not_json(payload, &error)),
        });
        return;
    }
    let values = Values {
        record: &slots,
        element: &[],
    };
    for rule in layout.rules.iter().filter(|rule| rule.matches_record(&slots)) {
        match rule.group.map(|group| &layout.groups[group]) {
            None => {
                let text_at = |place| text_at(payload, &[], layout.pointer(place));
                return rule.read(values, 0, record, text_at, &mut |item| take(hinted(item, payload)));
            }
            Some(group) if group.is_there(&slots) => {
                return read_elements(layout, group, &slots, record, payload, take);
            }
            Some(_) => {}
        }
    }
    take(layout.unmatched(payload));
}

/// Says of a record in which a rule has found nothing what it looks like, where that can be told.
fn hinted<'i>(item: Item<'i>, payload: &[u8]) -> Item<'i> {
    let Item { rule, what } = item;
    let What::Bad(TickError::MissingField { field, place }) = what else {
        return Item { rule, what };
    };
    let hint = match payload.trim_ascii_start().first() {
        Some(b'[') => "; the record is an array, whose elements a rule with each = \"$\" reads",
        Some(b'"') => "; the record is JSON within a JSON text, as if it had been encoded twice",
        _ => "",
    };
    let place = place + hint;
    Item {
        rule,
        what: What::Bad(TickError::MissingField { field, place }),
    }
}
