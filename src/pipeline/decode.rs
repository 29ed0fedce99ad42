//! Decoding: the bytes of one record → its ticks, one by one.
//!
//! A record is read by the first rule of its topic's layout that matches it, or is ignored, or refused: every record gives
//! at least one [`Item`], and nothing vanishes uncounted. Promises that every refusal is a [`TickError`] with a bounded
//! label, never a panic, and that nothing is allocated per tick of
//! well-formed records whose strings hold no escapes (serde_json takes a few bytes once for a record whose nested values
//! it skips). Does not judge
//! whether prices make sense; that is for the guards.
//!
//! | module | the question it answers |
//! |---|---|
//! | [`rule`] | What can a user say of a record? |
//! | `compile` | What do the rules of one topic look for, and where? |
//! | `walk`, `scalar` | What stands at these places? One pass over the record. |
//! | `condition` | Does a rule match what stands there? |
//! | `layout`, `records`, `elements` | Which rule reads this record, or this element of it? |
//! | `fields`, `number`, `stamp`, `numbering`, `name` | Which tick does it make of it? |
//! | `csv` | The same for a line. |
//! | [`item`], [`error`], `raw` | What comes out, and which text stood there? |

mod compile;
mod condition;
mod csv;
mod elements;
pub mod error;
mod fields;
pub mod item;
mod layout;
mod name;
mod number;
mod numbering;
mod raw;
mod records;
pub mod rule;
mod scalar;
mod stamp;
mod walk;

use serde::{Deserialize, Serialize};

use self::compile::{Terms, compile};
use self::csv::LineReader;
use self::layout::Layout;
use self::name::Name;
use self::number::{EmptyValues, NumberReader};
use self::records::read_record;
use self::stamp::{Stamps, start_of_year};
use super::input::Record;

pub use self::csv::CSV_COLUMNS;
pub use self::error::TickError;
pub use self::item::{Item, OddFields, Sides, What};
pub use self::number::NumberForm;
pub use self::numbering::SequenceMode;
pub use self::rule::{Case, JsonFields, Rule, Texts, Unmatched};
pub use self::stamp::TimeUnit;

/// How records are to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeConfig {
    /// Form of a record's value.
    pub format: Format,
    /// Layouts of known feeds whose rules come behind one's own; their names, of which nothing is known here.
    pub preset: Texts,
    /// The rules of the presets, once the configuration has looked them up.
    #[serde(skip)]
    pub preset_rules: Vec<Rule>,
    /// What becomes of a record that no rule reads.
    pub unmatched: Unmatched,
    /// Where the fields of a JSON record stand, if there are no rules; not used with `csv`.
    pub json: JsonFields,
    /// The rules, the first one that matches reads a record; not used with `csv`.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Texts and numbers that say that there is no price or size here.
    pub empty_values: Texts,
    /// Longest record that is looked at (bytes, > 0); a longer one becomes a dead letter.
    pub record_bytes_max: usize,
    /// Most elements of one record that are looked at (elements, > 0); with more it becomes a dead letter.
    pub elements_max: usize,
    /// Longest name of an instrument (bytes, > 0).
    pub instrument_bytes_max: usize,
    /// Oldest stamp that is believed (year, 1678–2261).
    pub year_min: i16,
    /// First year whose stamps are no longer believed (year, 1678–2261).
    pub year_max: i16,
}

impl DecodeConfig {
    /// Lists the rules in the order in which they are tried; none: [`DecodeConfig::json`] is the only one.
    fn all_rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().chain(&self.preset_rules)
    }

    /// Names the rules that read records, by number, as `check` and errors do: the name that the rule gives itself, or its
    /// place.
    pub fn rule_names(&self) -> Vec<String> {
        let name = |(place, rule): (usize, &Rule)| match rule.name.is_empty() {
            true => format!("rule {}", place + 1),
            false => rule.name.clone(),
        };
        let names: Vec<String> = self.all_rules().enumerate().map(name).collect();
        match names.is_empty() {
            true => vec!["decode.json".into()],
            false => names,
        }
    }
}

/// Form of a record's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON, read by [`Rule`]s or [`JsonFields`].
    Json,
    /// One line with the columns [`CSV_COLUMNS`].
    Csv,
}

/// Reads records into ticks, as configured once.
#[derive(Clone, Debug)]
pub struct Decoder {
    form: Form,
    record_bytes_max: usize,
}

/// Form of a record's value, with all that reading it takes.
#[derive(Clone, Debug)]
enum Form {
    /// A layout for each topic.
    Json(Vec<Layout>),
    Csv(Box<LineReader>),
}

impl Decoder {
    /// Makes a decoder for the records of these topics, in the order of their [`super::position::TopicIndex`].
    ///
    /// # Errors
    /// A text that names the key when a rule makes no sense or the years make no range.
    pub fn new(config: &DecodeConfig, topics: &[String]) -> Result<Self, String> {
        let time_min = start_of_year(config.year_min).ok_or("year_min: expected 1678 to 2261")?;
        let time_end = start_of_year(config.year_max).ok_or("year_max: expected 1678 to 2261")?;
        if time_min >= time_end {
            return Err(format!("year_max: expected more than year_min = {}", config.year_min));
        }
        let short = config.json.rule();
        let mut layouts = Vec::new();
        // Whoever has no topic to name, such as a reader of files, has one without a name.
        let nameless = [String::new()];
        for topic in if topics.is_empty() { &nameless } else { topics } {
            let terms = Terms {
                topic,
                unmatched: config.unmatched,
                elements_max: config.elements_max,
                instrument_bytes_max: config.instrument_bytes_max,
                empty_values: &config.empty_values.0,
                time_min,
                time_end,
            };
            layouts.push(match config.all_rules().next().is_none() {
                true => compile([(0, "json".into(), &short)].into_iter(), &terms)?,
                false => {
                    let labelled = |(place, rule)| (place as u16, format!("rules[{place}]"), rule);
                    compile(config.all_rules().enumerate().map(labelled), &terms)?
                }
            });
        }
        let form = match config.format {
            Format::Json => Form::Json(layouts),
            Format::Csv => Form::Csv(Box::new(LineReader {
                numbers: NumberReader {
                    form: NumberForm::Number,
                    decimals: 0,
                    empty: EmptyValues::new(&config.empty_values.0),
                },
                stamps: Stamps::new(TimeUnit::Ns, "", time_min, time_end)?,
                name: Name {
                    parts: Vec::new(),
                    case: Case::AsIs,
                    map: Default::default(),
                    bytes_max: config.instrument_bytes_max,
                },
            })),
        };
        Ok(Decoder {
            form,
            record_bytes_max: config.record_bytes_max,
        })
    }

    /// Reads one record and hands its items on, at least one, in the order in which they stand there.
    pub fn decode(&self, record: &Record<'_>, take: &mut dyn FnMut(Item<'_>)) {
        let payload = unframed(record.payload.unwrap_or_default());
        let bad = match payload.len() {
            0 => TickError::Empty,
            found if found > self.record_bytes_max => TickError::TooLarge {
                found,
                limit: self.record_bytes_max,
            },
            _ => {
                return match &self.form {
                    Form::Csv(lines) => lines.read(payload, take),
                    Form::Json(layouts) => {
                        let topic = usize::from(record.position.at.topic.0);
                        // Files have no topics; the first one's layout reads them.
                        if let Some(layout) = layouts.get(topic).or(layouts.first()) {
                            read_record(layout, record, payload, take);
                        }
                    }
                };
            }
        };
        take(Item {
            rule: None,
            what: What::Bad(bad),
        });
    }
}

/// Takes off what can stand before JSON or CSV and is no part of it: a byte order mark, or the five bytes by which Confluent's
/// serializers name a schema.
fn unframed(payload: &[u8]) -> &[u8] {
    match payload {
        [0, _, _, _, _, text @ ..] if matches!(text.first(), Some(b'{' | b'[')) => text,
        [0xef, 0xbb, 0xbf, text @ ..] => text,
        whole => whole,
    }
}

#[cfg(test)]
mod tests;
