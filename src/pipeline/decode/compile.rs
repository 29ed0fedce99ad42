//! Rules as the configuration has them → the layout of one topic.

use std::collections::BTreeMap;

use super::condition::{Condition, Pattern};
use super::fields::{Fields, Kind, NumberPlace, NumberPlaces, Place, TimeSource};
use super::layout::{CompiledRule, EachStep, Group, Layout};
use super::name::{Name, Part};
use super::number::{EmptyValues, NumberForm, NumberReader};
use super::rule::{Rule, Texts, Unmatched};
use super::stamp::Stamps;
use super::walk::{Slot, Tree, steps_of};
use crate::pipeline::time::EventTime;

/// What all rules of a layout share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub topic: &'a str,
    pub unmatched: Unmatched,
    pub elements_max: usize,
    pub instrument_bytes_max: usize,
    pub empty_values: &'a [String],
    pub time_min: EventTime,
    pub time_end: EventTime,
}

/// Makes the layout of one topic of the rules that read it; each comes with its number and the text that names it in errors.
pub(super) fn compile<'r>(
    rules: impl Iterator<Item = (u16, String, &'r Rule)>,
    terms: &Terms<'_>,
) -> Result<Layout, String> {
    let mut layout = Layout {
        tree: Tree::default(),
        rules: Vec::new(),
        groups: Vec::new(),
        unmatched: terms.unmatched,
        elements_max: terms.elements_max,
    };
    for (number, label, rule) in rules {
        let topics = rule.topics.0.iter().map(|topic| Pattern::new(topic));
        let topics: Vec<Pattern> = topics.collect();
        // A rule that this topic does not use is checked all the same.
        let is_used = topics.is_empty() || topics.iter().any(|topic| topic.is_like(terms.topic));
        let mut unused;
        let into = match is_used {
            true => &mut layout,
            false => {
                unused = Layout {
                    tree: Tree::default(),
                    rules: Vec::new(),
                    groups: Vec::new(),
                    ..layout
                };
                &mut unused
            }
        };
        Compiler {
            layout: into,
            terms,
            rule,
            topics: &topics,
            group: None,
        }
        .add(number)
        .map_err(|problem| format!("{label}.{problem}"))?;
    }
    Ok(layout)
}

/// Adds one rule to a layout.
struct Compiler<'c, 'r> {
    layout: &'c mut Layout,
    terms: &'c Terms<'c>,
    rule: &'r Rule,
    topics: &'c [Pattern],
    group: Option<usize>,
}

impl Compiler<'_, '_> {
    fn add(mut self, number: u16) -> Result<(), String> {
        let rule = self.rule;
        if !rule.each.is_empty() {
            self.group = Some(self.group(&rule.each).map_err(at("each"))?);
        }
        let mut when = Vec::new();
        for (pointer, values) in &rule.when {
            when.push(self.condition("when", pointer, values)?);
        }
        let fields = match rule.ignore {
            true => None,
            false => Some(self.fields()?),
        };
        if let Some(group) = self.group {
            self.layout.groups[group].rules.push(self.layout.rules.len());
        }
        self.layout.rules.push(CompiledRule {
            number,
            when,
            fields,
            group: self.group,
        });
        Ok(())
    }

    fn condition(&mut self, key: &str, pointer: &str, values: &Texts) -> Result<Condition<Place>, String> {
        let place = self.place(pointer).map_err(at(key))?;
        let mut condition =
            Condition::new(place, &values.0).map_err(|problem| format!("{key}.{pointer:?}: {problem}"))?;
        // Whether something stands there can be told without looking into it.
        if condition.patterns.iter().all(|pattern| !pattern.is_anything()) {
            condition.in_array = Some(self.codes(pointer, &condition.patterns).map_err(at(key))?);
        }
        Ok(condition)
    }

    /// Finds or makes the group of an `each`.
    fn group(&mut self, each: &str) -> Result<usize, String> {
        let names = steps_of(each.strip_prefix('$').unwrap_or(each))?;
        let is_any = |name: &String| name == "*";
        let before: Vec<String> = names.iter().take_while(|name| !is_any(name)).cloned().collect();
        let anchor = before.iter().fold(String::new(), |pointer, name| {
            pointer + "/" + &name.replace('~', "~0").replace('/', "~1")
        });
        let anchor = self.layout.tree.slot(&anchor)?;
        let steps: Vec<EachStep> = names
            .into_iter()
            .map(|name| match is_any(&name) {
                true => EachStep::Any,
                false => EachStep::Key {
                    index: name.parse().ok(),
                    name,
                },
            })
            .collect();
        let groups = &mut self.layout.groups;
        if let Some(known) = groups.iter().position(|group| group.steps == steps) {
            return Ok(known);
        }
        groups.push(Group {
            steps,
            anchor,
            tree: Tree::default(),
            rules: Vec::new(),
        });
        Ok(groups.len() - 1)
    }

    /// Finds or makes the place of a pointer.
    fn place(&mut self, pointer: &str) -> Result<Place, String> {
        let place = match (pointer.strip_prefix('$'), self.group) {
            (Some(pointer), _) => Place::Record(self.layout.tree.slot(not_empty(pointer)?)?),
            (None, None) => Place::Record(self.layout.tree.slot(not_empty(pointer)?)?),
            (None, Some(group)) => Place::Element(self.layout.groups[group].tree.slot(not_empty(pointer)?)?),
        };
        Ok(place)
    }

    fn optional(&mut self, key: &str, pointer: &str) -> Result<Option<Place>, String> {
        match pointer {
            "" => Ok(None),
            pointer => self.place(pointer).map(Some).map_err(at(key)),
        }
    }

    fn fields(&mut self) -> Result<Fields, String> {
        let rule = self.rule;
        let numbers = self.numbers()?;
        let name = self.name()?;
        let time = self.time()?;
        let time_nanos = self.optional("time_nanos", &rule.time_nanos)?;
        let terms = self.terms;
        let stamps =
            Stamps::new(rule.time_unit, &rule.time_zone, terms.time_min, terms.time_end).map_err(at("time_zone"))?;
        let kind = self.kind()?;
        let [sequence, sequence_second] = self.sequence()?;
        let mut excluded = Vec::new();
        for (pointer, codes) in &rule.exclude {
            excluded.push(self.condition("exclude", pointer, codes)?);
        }
        self.no_place_twice(&numbers, &time, sequence)?;
        let empty = match rule.empty_values.0.is_empty() {
            true => EmptyValues::new(terms.empty_values),
            false => EmptyValues::new(&rule.empty_values.0),
        };
        let reader = |form, decimals| NumberReader {
            form,
            decimals,
            empty: empty.clone(),
        };
        Ok(Fields {
            name,
            time,
            time_nanos,
            stamps,
            kind,
            numbers,
            prices: reader(rule.price_form, rule.price_decimals),
            sizes: reader(rule.size_form, rule.size_decimals),
            size_is_signed: rule.size_is_signed,
            sequence,
            sequence_second,
            sequence_mode: rule.sequence_mode,
            excluded,
            pointers: self.pointers(),
        })
    }

    fn numbers(&mut self) -> Result<NumberPlaces, String> {
        let rule = self.rule;
        for (key, decimals) in [
            ("price_decimals", rule.price_decimals),
            ("size_decimals", rule.size_decimals),
        ] {
            if decimals > 18 {
                return Err(format!("{key}: expected 0 to 18, found {decimals}"));
            }
        }
        let mut of = |key, places: &Texts, form| self.number(key, places, form);
        Ok(NumberPlaces {
            price: of("price", &rule.price, rule.price_form)?,
            size: of("size", &rule.size, rule.size_form)?,
            bid: of("bid", &rule.bid, rule.price_form)?,
            ask: of("ask", &rule.ask, rule.price_form)?,
            bid_size: of("bid_size", &rule.bid_size, rule.size_form)?,
            ask_size: of("ask_size", &rule.ask_size, rule.size_form)?,
        })
    }

    fn number(&mut self, key: &str, places: &Texts, form: NumberForm) -> Result<NumberPlace, String> {
        let pointers = &places.0;
        if !pointers.is_empty() && !form.has_parts(pointers.len()) {
            return Err(format!(
                "{key}: expected as many pointers as the form of the number has parts, found {}",
                pointers.len()
            ));
        }
        let mut place = |index: usize| match pointers.get(index) {
            Some(pointer) => self.place(pointer).map(Some).map_err(at(key)),
            None => Ok(None),
        };
        Ok(NumberPlace {
            first: place(0)?,
            second: place(1)?,
        })
    }

    fn sequence(&mut self) -> Result<[Option<Place>; 2], String> {
        let pointers = &self.rule.sequence.0;
        let parts = self.rule.sequence_mode.parts();
        if !pointers.is_empty() && pointers.len() != parts {
            return Err(format!(
                "sequence: expected {parts} for this sequence_mode, found {}",
                pointers.len()
            ));
        }
        let mut places = [None; 2];
        for (place, pointer) in places.iter_mut().zip(pointers) {
            *place = self.optional("sequence", pointer)?;
        }
        Ok(places)
    }

    fn name(&mut self) -> Result<Name<Place>, String> {
        let rule = self.rule;
        let mut parts = Vec::new();
        for text in &rule.instrument.0 {
            parts.push(self.part(text).map_err(at("instrument"))?);
        }
        if parts.is_empty() {
            parts.push(Part::Key);
        }
        Ok(Name {
            parts,
            case: rule.instrument_case,
            map: rule.instrument_map.clone(),
            bytes_max: self.terms.instrument_bytes_max,
        })
    }

    fn part(&mut self, text: &str) -> Result<Part<Place>, String> {
        if text.starts_with(['/', '$']) {
            return self.place(text).map(Part::At);
        }
        match text {
            "@key" => Ok(Part::Key),
            "@key/" => Ok(Part::KeyAt(Vec::new())),
            "@topic" => Ok(Part::Text(self.terms.topic.to_owned())),
            "@topic*" => {
                let starred = self.topics.iter().find_map(|topic| topic.starred(self.terms.topic));
                let is_starred = self.topics.iter().any(|topic| topic.has_star());
                match starred {
                    Some(text) => Ok(Part::Text(text.to_owned())),
                    // Another topic's rule.
                    None if is_starred => Ok(Part::Text(String::new())),
                    None => Err("\"@topic*\" needs a pattern with * in topics".into()),
                }
            }
            text => match text.strip_prefix("@key") {
                Some(pointer) => steps_of(pointer).map(Part::KeyAt),
                None if text.starts_with('@') => Err(format!(
                    "{text:?}: expected @key, @topic or @topic*, or a pointer like /symbol"
                )),
                None => Ok(Part::Text(text.to_owned())),
            },
        }
    }

    fn time(&mut self) -> Result<Vec<TimeSource>, String> {
        let mut sources = Vec::new();
        for text in &self.rule.time.0 {
            sources.push(match text.as_str() {
                "record" => TimeSource::Arrival,
                pointer => TimeSource::At(self.place(pointer).map_err(at("time"))?),
            });
        }
        match sources.is_empty() {
            true => Err("time: expected a JSON pointer like /time, or \"record\"; every tick needs a stamp".into()),
            false => Ok(sources),
        }
    }

    fn kind(&mut self) -> Result<Kind, String> {
        let rule = self.rule;
        Ok(match rule.kind.as_str() {
            "" => Kind::ByPrice,
            "trade" => Kind::Trade,
            "quote" => Kind::Quote,
            "both" => Kind::Both,
            pointer => Kind::At {
                place: self.place(pointer).map_err(at("kind"))?,
                trade: rule.trade_values.0.clone(),
                quote: rule.quote_values.0.clone(),
            },
        })
    }

    /// Makes the place that says whether an array holds one of these values.
    fn codes(&mut self, pointer: &str, codes: &[Pattern]) -> Result<Place, String> {
        let patterns = codes.to_vec();
        match (pointer.strip_prefix('$'), self.group) {
            (None, Some(group)) => {
                let tree = &mut self.layout.groups[group].tree;
                Ok(Place::Element(tree.codes(not_empty(pointer)?, patterns)?))
            }
            (of_record, _) => {
                let pointer = not_empty(of_record.unwrap_or(pointer))?;
                Ok(Place::Record(self.layout.tree.codes(pointer, patterns)?))
            }
        }
    }

    /// Refuses two fields at one place, of which one is mostly a slip.
    fn no_place_twice(
        &self,
        numbers: &NumberPlaces,
        time: &[TimeSource],
        sequence: Option<Place>,
    ) -> Result<(), String> {
        let mut known: Vec<(Place, &str)> = Vec::new();
        let times = time.iter().filter_map(|source| match source {
            TimeSource::At(place) => Some((Some(*place), "time")),
            TimeSource::Arrival => None,
        });
        let numbers = [
            (numbers.price.first, "price"),
            (numbers.size.first, "size"),
            (numbers.bid.first, "bid"),
            (numbers.ask.first, "ask"),
            (numbers.bid_size.first, "bid_size"),
            (numbers.ask_size.first, "ask_size"),
            (sequence, "sequence"),
        ];
        for (place, key) in times.chain(numbers) {
            let Some(place) = place else { continue };
            if let Some((_, other)) = known.iter().find(|(known, _)| *known == place) {
                return Err(format!("{key}: {other} and {key} point at the same field"));
            }
            known.push((place, key));
        }
        Ok(())
    }

    /// Gives the pointers of all places that there are so far, as the configuration writes them.
    fn pointers(&self) -> BTreeMap<(bool, Slot), String> {
        let of = |tree: &Tree, is_element: bool| -> Vec<((bool, Slot), String)> {
            let slots = 0..tree.slots() as Slot;
            slots
                .map(|slot| ((is_element, slot), tree.pointer(slot).to_owned()))
                .collect()
        };
        let record = of(&self.layout.tree, false);
        let element = self.group.map(|group| of(&self.layout.groups[group].tree, true));
        record.into_iter().chain(element.into_iter().flatten()).collect()
    }
}

fn not_empty(pointer: &str) -> Result<&str, String> {
    match pointer {
        "" => Err("expected a JSON pointer like /price".into()),
        pointer => Ok(pointer),
    }
}

fn at(key: &str) -> impl Fn(String) -> String {
    move |problem| format!("{key}: {problem}")
}
