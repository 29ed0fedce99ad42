//! One pass over a JSON value: what stands at the pointers of a layout lands in numbered slots.
//!
//! The pointers are compiled into a tree once; a value is then walked beside it, and everything off the tree is skipped
//! without being built. Where a key stands twice in an object, the last one counts.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::condition::Pattern;
use super::scalar::Scalar;

/// Number of a slot.
pub(super) type Slot = u16;

/// One step of the compiled pointers.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    slot: Option<Slot>,
    /// Codes that are looked for in the elements of an array here.
    codes: Vec<Codes>,
    children: Vec<Child>,
    /// What is looked at in every element of an array, of which selectors choose.
    element: Option<Box<Node>>,
    selectors: Vec<Selector>,
}

/// Chooses the first element of an array that has a value at a key: `[MDEntryType=0]`.
#[derive(Clone, Debug)]
struct Selector {
    /// Slot of the key, in the element that is walked.
    tag: Slot,
    value: Pattern,
    /// From the slots of the element to those of the chosen one.
    moves: Vec<(Slot, Slot)>,
}

#[derive(Clone, Debug)]
struct Child {
    name: String,
    /// The same as the place in an array.
    index: Option<usize>,
    node: Node,
}

/// Codes of which one is looked for, and the slot that says whether it was there.
#[derive(Clone, Debug)]
struct Codes {
    patterns: Vec<Pattern>,
    found: Slot,
}

/// Pointers of a layout, compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    root: Node,
    /// The pointer of every slot.
    pointers: Vec<String>,
}

/// Splits a JSON pointer (RFC 6901) into its steps.
pub(super) fn steps_of(pointer: &str) -> Result<Vec<String>, String> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let path = pointer
        .strip_prefix('/')
        .ok_or_else(|| format!("{pointer:?}: expected a JSON pointer like /price"))?;
    let unescape = |step: &str| step.replace("~1", "/").replace("~0", "~");
    Ok(path.split('/').map(unescape).collect())
}

impl Tree {
    /// Most slots of one tree.
    pub const SLOTS_MAX: usize = 128;

    /// Finds or makes the slot of a pointer. A step `[key=value]` is the first element of an array that has this value at this
    /// key.
    pub fn slot(&mut self, pointer: &str) -> Result<Slot, String> {
        let steps = steps_of(pointer)?;
        let selector = steps
            .iter()
            .position(|step| step.starts_with('[') && step.ends_with(']'));
        if let Some(at) = selector {
            return self.selected(pointer, &steps, at);
        }
        let next = self.next_slot()?;
        let slot = *self.root.at(&steps)?.slot.get_or_insert(next);
        if slot == next {
            self.pointers.push(pointer.to_owned());
        }
        Ok(slot)
    }

    fn selected(&mut self, pointer: &str, steps: &[String], at: usize) -> Result<Slot, String> {
        if let Some(known) = self.pointers.iter().position(|known| known == pointer) {
            return Ok(known as Slot);
        }
        let selector = steps[at].trim_matches(['[', ']']).split_once('=');
        let (key, value) = selector.ok_or_else(|| format!("{:?}: expected a step like [type=0]", steps[at]))?;
        let value = Pattern::new(value);
        let [before, after] = [&steps[..at], &steps[at + 1..]];
        let mut next = [0; 3];
        for (slot, name) in next.iter_mut().zip([pointer, "", ""]) {
            *slot = self.next_slot()?;
            self.pointers.push(name.to_owned());
        }
        let [chosen, tag, seen] = next;
        let list = self.root.at(before)?;
        if !list.children.is_empty() {
            return Err(format!(
                "{pointer:?}: the elements of this array are pointed at by their places too"
            ));
        }
        let element = list.element.get_or_insert_default();
        let tag = *element.at(&[key.to_owned()])?.slot.get_or_insert(tag);
        let seen = *element.at(after)?.slot.get_or_insert(seen);
        let known = list
            .selectors
            .iter_mut()
            .find(|known| known.tag == tag && known.value == value);
        match known {
            Some(known) => known.moves.push((seen, chosen)),
            None => list.selectors.push(Selector {
                tag,
                value,
                moves: vec![(seen, chosen)],
            }),
        }
        Ok(chosen)
    }

    /// Makes a slot that says whether one of these codes stands in the array at a pointer.
    pub fn codes(&mut self, pointer: &str, patterns: Vec<Pattern>) -> Result<Slot, String> {
        let found = self.next_slot()?;
        self.root.at(&steps_of(pointer)?)?.codes.push(Codes { patterns, found });
        self.pointers.push(pointer.to_owned());
        Ok(found)
    }

    fn next_slot(&self) -> Result<Slot, String> {
        let slots = self.pointers.len();
        if slots >= Self::SLOTS_MAX {
            return Err(format!(
                "expected at most {} places in all rules together",
                Self::SLOTS_MAX
            ));
        }
        Ok(slots as Slot)
    }

    /// Gives the pointer of a slot.
    pub fn pointer(&self, slot: Slot) -> &str {
        &self.pointers[usize::from(slot)]
    }

    /// Counts its slots.
    pub fn slots(&self) -> usize {
        self.pointers.len()
    }

    /// Walks one value and fills slots, which were empty.
    pub fn walk<'de, D: Deserializer<'de>>(&self, deserializer: D, slots: &mut [Scalar<'de>]) -> Result<(), D::Error> {
        let seed = NodeSeed {
            node: &self.root,
            slots,
        };
        seed.deserialize(deserializer)
    }
}

impl Node {
    /// Finds or makes the node at the end of steps.
    fn at(&mut self, steps: &[String]) -> Result<&mut Node, String> {
        let mut node = self;
        for name in steps {
            if node.element.is_some() {
                return Err(format!(
                    "{name:?}: this array's elements are chosen by a step like [type=0] already"
                ));
            }
            let place = match node.children.iter().position(|child| child.name == *name) {
                Some(place) => place,
                None => {
                    node.children.push(Child {
                        index: name.parse().ok(),
                        name: name.clone(),
                        node: Node::default(),
                    });
                    node.children.len() - 1
                }
            };
            node = &mut node.children[place].node;
        }
        Ok(node)
    }

    fn child(&self, key: &str) -> Option<&Node> {
        let found = self.children.iter().find(|child| child.name == key);
        found.map(|child| &child.node)
    }

    fn element(&self, index: usize) -> Option<&Node> {
        let found = self.children.iter().find(|child| child.index == Some(index));
        found.map(|child| &child.node)
    }
}

/// Walks one JSON value beside one step of the compiled pointers.
pub(super) struct NodeSeed<'n, 's, 'de> {
    node: &'n Node,
    slots: &'s mut [Scalar<'de>],
}

impl<'de> NodeSeed<'_, '_, 'de> {
    fn keep(&mut self, scalar: Scalar<'de>) {
        if let Some(slot) = self.node.slot {
            self.slots[usize::from(slot)] = scalar;
        }
    }
}

impl<'de> NodeSeed<'_, '_, 'de> {
    /// Walks the elements of an array and keeps what selectors choose.
    fn choose<A: SeqAccess<'de>>(self, element: &Node, mut seq: A) -> Result<(), A::Error> {
        loop {
            for selector in &self.node.selectors {
                self.slots[usize::from(selector.tag)] = Scalar::Missing;
                for (seen, _) in &selector.moves {
                    self.slots[usize::from(*seen)] = Scalar::Missing;
                }
            }
            let slots = &mut *self.slots;
            if seq.next_element_seed(NodeSeed { node: element, slots })?.is_none() {
                return Ok(());
            }
            for selector in &self.node.selectors {
                let is_first = || {
                    selector
                        .moves
                        .iter()
                        .all(|(_, chosen)| self.slots[usize::from(*chosen)] == Scalar::Missing)
                };
                if selector.value.holds(&self.slots[usize::from(selector.tag)]) && is_first() {
                    for (seen, chosen) in &selector.moves {
                        self.slots[usize::from(*chosen)] = self.slots[usize::from(*seen)].clone();
                    }
                }
            }
        }
    }
}

fn look_for(codes: &[Codes], scalar: &Scalar<'_>, slots: &mut [Scalar<'_>]) {
    for codes in codes {
        if codes.patterns.iter().any(|pattern| pattern.holds(scalar)) {
            slots[usize::from(codes.found)] = Scalar::Bool(true);
        }
    }
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        if self.node.slot.is_some() {
            self.keep(Scalar::Object);
        }
        while let Some(child) = map.next_key_seed(KeySeed { node: self.node })? {
            match child {
                Some(node) => map.next_value_seed(NodeSeed {
                    node,
                    slots: &mut *self.slots,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        if self.node.slot.is_some() {
            self.keep(Scalar::Array);
        }
        if let Some(element) = &self.node.element {
            return self.choose(element, seq);
        }
        let codes = &self.node.codes[..];
        if self.node.children.is_empty() && codes.is_empty() {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        for index in 0.. {
            let slots = &mut *self.slots;
            let is_there = match self.node.element(index) {
                Some(node) => seq.next_element_seed(NodeSeed { node, slots })?.is_some(),
                None if codes.is_empty() => seq.next_element::<IgnoredAny>()?.is_some(),
                None => seq.next_element_seed(CodeSeed { codes, slots })?.is_some(),
            };
            if !is_there {
                break;
            }
        }
        Ok(())
    }

    fn visit_i64<E>(mut self, value: i64) -> Result<(), E> {
        self.keep(Scalar::Integer(value));
        Ok(())
    }

    fn visit_u64<E>(mut self, value: u64) -> Result<(), E> {
        self.keep(i64::try_from(value).map_or(Scalar::Large(value), Scalar::Integer));
        Ok(())
    }

    fn visit_f64<E>(mut self, value: f64) -> Result<(), E> {
        self.keep(Scalar::Float(value));
        Ok(())
    }

    fn visit_borrowed_str<E>(mut self, value: &'de str) -> Result<(), E> {
        self.keep(Scalar::Text(Cow::Borrowed(value)));
        Ok(())
    }

    fn visit_str<E>(mut self, value: &str) -> Result<(), E> {
        self.keep(Scalar::Text(Cow::Owned(value.to_owned())));
        Ok(())
    }

    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        self.keep(Scalar::Bool(value));
        Ok(())
    }

    fn visit_unit<E>(mut self) -> Result<(), E> {
        self.keep(Scalar::Null);
        Ok(())
    }
}

/// Finds an object's key among the children of a step.
struct KeySeed<'n> {
    node: &'n Node,
}

impl<'de, 'n> DeserializeSeed<'de> for KeySeed<'n> {
    type Value = Option<&'n Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, 'n> Visitor<'de> for KeySeed<'n> {
    type Value = Option<&'n Node>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.node.child(key))
    }
}

/// Looks for codes in one element of an array.
struct CodeSeed<'n, 's, 'de> {
    codes: &'n [Codes],
    slots: &'s mut [Scalar<'de>],
}

impl<'de> DeserializeSeed<'de> for CodeSeed<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let (mut node, mut found) = (Node::default(), [Scalar::Missing]);
        node.slot = Some(0);
        let element = NodeSeed {
            node: &node,
            slots: &mut found,
        };
        element.deserialize(deserializer)?;
        look_for(self.codes, &found[0], self.slots);
        Ok(())
    }
}
