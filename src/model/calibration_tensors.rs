//! Calibrations as tensors: what an artifact holds of its instruments.
//!
//! Promises that every number comes back bit for bit, and that what comes back is such as fitting makes. Knows the layout
//! alone; the numbers are those of [`Calibration`] and its parts.
//!
//! # Layout
//! With N instruments, G groups and F features; row 0 is the pooled calibration, row 1 + i is that of instrument i. All names
//! begin with `calibrations.`:
//!
//! | tensor | type and shape | holds |
//! |---|---|---|
//! | `names` | bytes | the instruments' names, ascending, as a JSON list |
//! | `centres`, `scales` | F32 `(1 + N, F)` | those of the input transform |
//! | `upper.*`, `lower.*` | tails of `(1 + N, F)` | those of the input transform |
//! | `reconstruction.*`, `forecast.*`, `window.*` | tails of `(1 + N, F)` | those of single features' errors |
//! | `usual` | F32 `(2,)` | a shape and a scale that many of these tails have |
//! | `newest.level`, `window.level`, `judge.level` | F32 `(1 + N,)` | an arm's level on each instrument |
//! | `group` | U32 `(1 + N,)` | which group's numbers a row shares |
//! | `group.arms` | bytes `(G, 5)` | which arms speak |
//! | `group.openings` | F32 `(G, 6)` | how often alerts open |
//! | `group.newest.*`, `group.window.*`, `group.judge.*` | tails of `(G,)` | an arm's tail |
//!
//! Instruments of one training share a group. Forecast, window and judge are left out where no row has them.
//!
//! How tails stand in tensors is said in [`tail_tensors`](super::tail_tensors).
//!
//! # Size
//! 9.2 KB per instrument with the default arms, measured on three instruments of the benchmark (10.2 KB on the synthetic
//! market, whose features repeat themselves less): 736 bytes of centres and scales, 552 of marks, and some 2,000 numbers of
//! 276 tails. As JSON it was 41 KB (46 KB).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tail_tensors::{PREFIX, TailReader, TailWriter, Usual, floats, tensor};
use super::tensors::{Expected, Floats, NamedTensor, Numbers, TensorError, Tensors, expect};
use crate::pipeline::arms::{ArmScale, Arms};
use crate::pipeline::calibration::{Calibration, Calibrations};
use crate::pipeline::feature::FEATURES;
use crate::pipeline::opening_rates::{self, OpeningRates};
use crate::pipeline::scaler::InputTransform;
use crate::pipeline::tail::Tail;
use crate::pipeline::tails::Tails;

/// Rows that are asked for what is usual: enough to find it, few enough to cost nothing.
const USUAL_ROWS: usize = 64;

/// What calibrations of one training have in common.
#[derive(Clone, PartialEq)]
struct Group {
    arms: Arms,
    opening_rates: OpeningRates,
    newest: Tail,
    window: Option<Tail>,
    judge: Option<Tail>,
}

impl Group {
    fn of(calibration: &Calibration) -> Self {
        let tail = |scale: &Option<ArmScale>| scale.as_ref().map(|scale| scale.tail.clone());
        Group {
            arms: calibration.arms,
            opening_rates: calibration.opening_rates.clone(),
            newest: calibration.newest_scale.tail.clone(),
            window: tail(&calibration.window_scale),
            judge: tail(&calibration.judge),
        }
    }
}

/// Which [`Tails`] of a calibration stand under which name.
type PartOf = fn(&Calibration) -> Option<&Tails>;
const PARTS: [(&str, PartOf); 5] = [
    ("upper", |of| Some(&of.transform.upper)),
    ("lower", |of| Some(&of.transform.lower)),
    ("reconstruction", |of| Some(&of.reconstruction)),
    ("forecast", |of| of.forecast.as_ref()),
    ("window", |of| of.window.as_ref()),
];

/// Gives calibrations as tensors.
pub(super) fn tensors_of(calibrations: &Calibrations) -> Result<Vec<NamedTensor<'static>>, TensorError> {
    let instruments = calibrations.instruments.values();
    let rows: Vec<&Calibration> = std::iter::once(&calibrations.pooled)
        .chain(instruments)
        .map(|own| &**own)
        .collect();
    let count = rows.len();
    let names: Vec<&String> = calibrations.instruments.keys().collect();
    let names = serde_json::to_vec(&names).map_err(|error| TensorError::Inconsistent(error.to_string()))?;
    let of_rows = |of: fn(&Calibration) -> &[f32; FEATURES]| {
        let numbers: Vec<f32> = rows.iter().flat_map(|row| of(row)).copied().collect();
        floats(numbers)
    };
    let mut tensors = vec![
        tensor("names", vec![names.len()], Numbers::Bytes(names)),
        tensor("centres", vec![count, FEATURES], of_rows(|of| &of.transform.centres)),
        tensor("scales", vec![count, FEATURES], of_rows(|of| &of.transform.scales)),
    ];
    let some = rows
        .iter()
        .take(USUAL_ROWS)
        .flat_map(|row| PARTS.iter().filter_map(|(_, of)| of(row)));
    let usual = Usual::of(some.flat_map(|tails| (0..FEATURES).map(|feature| tails.of(feature))));
    tensors.push(tensor("usual", vec![2], floats(vec![usual.shape, usual.scale])));
    for (name, of) in PARTS {
        let mut writer = TailWriter::new(usual);
        for row in &rows {
            match of(row) {
                Some(tails) => (0..FEATURES).for_each(|feature| writer.put(&tails.of(feature))),
                None => writer.put_absent(FEATURES),
            }
        }
        tensors.extend(writer.tensors(name, vec![count, FEATURES]));
    }
    tensors.extend(levels(&rows));
    tensors.extend(groups(&rows, usual));
    Ok(tensors)
}

/// Gives the arms' levels; where an arm has none, 0, and no tensor where it has none anywhere.
fn levels(rows: &[&Calibration]) -> Vec<NamedTensor<'static>> {
    type ScaleOf = fn(&Calibration) -> Option<&ArmScale>;
    let arms: [(&str, ScaleOf); 3] = [
        ("newest.level", |of| Some(&of.newest_scale)),
        ("window.level", |of| of.window_scale.as_ref()),
        ("judge.level", |of| of.judge.as_ref()),
    ];
    let arms = arms
        .into_iter()
        .filter(|(_, of)| rows.iter().any(|row| of(row).is_some()));
    let level = |of: ScaleOf| rows.iter().map(move |row| of(row).map_or(0.0, |scale| scale.level));
    arms.map(|(name, of)| tensor(name, vec![rows.len()], floats(level(of).collect())))
        .collect()
}

/// Gives what rows share, each once, and which share what.
fn groups(rows: &[&Calibration], usual: Usual) -> Vec<NamedTensor<'static>> {
    let mut groups: Vec<Group> = Vec::new();
    let mut of_row = Vec::with_capacity(rows.len());
    for row in rows {
        let group = Group::of(row);
        // The rows of one training follow each other in most models: the last group is the likeliest.
        let known = groups.iter().rposition(|known| *known == group);
        let place = known.unwrap_or_else(|| {
            groups.push(group);
            groups.len() - 1
        });
        of_row.push(place as u32);
    }
    let arms = groups.iter().flat_map(|group| flags(group.arms)).collect();
    let opening_rates = groups.iter().flat_map(|group| group.opening_rates.decades).collect();
    let mut tensors = vec![
        tensor("group", vec![rows.len()], Numbers::Indices(of_row)),
        tensor("group.arms", vec![groups.len(), ARMS], Numbers::Bytes(arms)),
        tensor(
            "group.openings",
            vec![groups.len(), opening_rates::KNOTS],
            floats(opening_rates),
        ),
    ];
    type TailOf = fn(&Group) -> Option<&Tail>;
    let tails: [(&str, TailOf); 3] = [
        ("group.newest", |of| Some(&of.newest)),
        ("group.window", |of| of.window.as_ref()),
        ("group.judge", |of| of.judge.as_ref()),
    ];
    for (name, of) in tails {
        let mut writer = TailWriter::new(usual);
        for group in &groups {
            match of(group) {
                Some(tail) => writer.put(tail),
                None => writer.put_absent(1),
            }
        }
        tensors.extend(writer.tensors(name, vec![groups.len()]));
    }
    tensors
}

/// Arms that can be on or off.
const ARMS: usize = 5;

fn flags(arms: Arms) -> [u8; ARMS] {
    let Arms {
        reconstruction,
        window,
        forecast,
        pointwise,
        judge,
    } = arms;
    [reconstruction, window, forecast, pointwise, judge].map(u8::from)
}

fn arms_of(flags: &[u8]) -> Result<Arms, TensorError> {
    match *flags {
        [reconstruction, window, forecast, pointwise, judge] if flags.iter().all(|flag| *flag <= 1) => Ok(Arms {
            reconstruction: reconstruction == 1,
            window: window == 1,
            forecast: forecast == 1,
            pointwise: pointwise == 1,
            judge: judge == 1,
        }),
        _ => Err(TensorError::Inconsistent(format!(
            "{PREFIX}group.arms: {flags:?} says of no arm whether it speaks"
        ))),
    }
}

/// Takes calibrations out of tensors, checked.
///
/// # Errors
/// [`TensorError`] that names the tensor that is missing or off.
pub(super) fn calibrations_of(tensors: &mut Tensors<'_>) -> Result<Calibrations, TensorError> {
    let names = names(tensors)?;
    let count = 1 + names.len();
    let mut rows = RowReader::new(tensors, count)?;
    let pooled = Arc::new(rows.take()?);
    let mut instruments = BTreeMap::new();
    for name in names {
        instruments.insert(name, Arc::new(rows.take()?));
    }
    rows.end()?;
    Ok(Calibrations { pooled, instruments })
}

fn names(tensors: &mut Tensors<'_>) -> Result<Vec<String>, TensorError> {
    let bytes = tensors.bytes(&format!("{PREFIX}names"), Expected::AnyShape)?;
    let inconsistent = |error| TensorError::Inconsistent(format!("{PREFIX}names: {error}"));
    let names: Vec<String> = serde_json::from_slice(bytes).map_err(|error| inconsistent(error.to_string()))?;
    match names.is_sorted_by(|a, b| a < b) {
        true => Ok(names),
        false => Err(inconsistent("expected ascending names".into())),
    }
}

fn groups_of(tensors: &mut Tensors<'_>, usual: Usual) -> Result<Vec<Group>, TensorError> {
    let arms = tensors.bytes(&format!("{PREFIX}group.arms"), Expected::AnyShape)?;
    let count = arms.len() / ARMS;
    let shape = Expected::Shape(&[count, opening_rates::KNOTS]);
    let mut opening_rates = tensors.floats(&format!("{PREFIX}group.openings"), shape)?;
    let mut newest = TailReader::new(tensors, "group.newest", &[count], usual)?;
    let mut window = TailReader::optional(tensors, "group.window", &[count], usual)?;
    let mut judge = TailReader::optional(tensors, "group.judge", &[count], usual)?;
    let tail = |tails: &mut Option<TailReader<'_>>| tails.as_mut().map_or(Ok(None), TailReader::take);
    let mut groups = Vec::new();
    for arms in arms.chunks(ARMS) {
        let decades = std::array::from_fn(|_| opening_rates.next().unwrap_or(f32::NAN));
        groups.push(Group {
            arms: arms_of(arms)?,
            opening_rates: OpeningRates { decades },
            newest: newest.take_known()?,
            window: tail(&mut window)?,
            judge: tail(&mut judge)?,
        });
    }
    for tails in [Some(newest), window, judge].iter_mut().flatten() {
        tails.end()?;
    }
    Ok(groups)
}

/// Rows of calibrations on their way out of tensors.
struct RowReader<'a> {
    centres: Floats<'a>,
    scales: Floats<'a>,
    upper: TailReader<'a>,
    lower: TailReader<'a>,
    reconstruction: TailReader<'a>,
    forecast: Option<TailReader<'a>>,
    window: Option<TailReader<'a>>,
    newest_levels: Floats<'a>,
    window_levels: Option<Floats<'a>>,
    judge_levels: Option<Floats<'a>>,
    groups: Vec<Group>,
    of_row: std::vec::IntoIter<u32>,
}

impl<'a> RowReader<'a> {
    fn new(tensors: &mut Tensors<'a>, count: usize) -> Result<Self, TensorError> {
        let (table, list) = ([count, FEATURES], [count]);
        let numbers = |tensors: &mut Tensors<'a>, name: &str, shape: &[usize]| {
            tensors.floats(&format!("{PREFIX}{name}"), Expected::Shape(shape))
        };
        let usual: Vec<f32> = numbers(tensors, "usual", &[2])?.collect();
        let usual = Usual {
            shape: usual[0],
            scale: usual[1],
        };
        let groups = groups_of(tensors, usual)?;
        let levels = |tensors: &mut Tensors<'a>, name: &str, of: fn(&Group) -> Option<&Tail>| {
            let is_there = groups.iter().any(|group| of(group).is_some());
            is_there.then(|| numbers(tensors, name, &list)).transpose()
        };
        Ok(RowReader {
            centres: numbers(tensors, "centres", &table)?,
            scales: numbers(tensors, "scales", &table)?,
            upper: TailReader::new(tensors, "upper", &table, usual)?,
            lower: TailReader::new(tensors, "lower", &table, usual)?,
            reconstruction: TailReader::new(tensors, "reconstruction", &table, usual)?,
            forecast: TailReader::optional(tensors, "forecast", &table, usual)?,
            window: TailReader::optional(tensors, "window", &table, usual)?,
            newest_levels: numbers(tensors, "newest.level", &list)?,
            window_levels: levels(tensors, "window.level", |of| of.window.as_ref())?,
            judge_levels: levels(tensors, "judge.level", |of| of.judge.as_ref())?,
            of_row: tensors
                .indices(&format!("{PREFIX}group"), Expected::Shape(&list))?
                .into_iter(),
            groups,
        })
    }

    fn take(&mut self) -> Result<Calibration, TensorError> {
        let group = self.of_row.next().unwrap_or(u32::MAX);
        let Some(group) = self.groups.get(group as usize).cloned() else {
            let text = format!("{PREFIX}group: {group}: there are {} groups", self.groups.len());
            return Err(TensorError::Inconsistent(text));
        };
        // A number that is missing would not be finite, so the calibration would not be valid.
        let row = |numbers: &mut Floats<'a>| std::array::from_fn(|_| numbers.next().unwrap_or(f32::NAN));
        let level = |levels: &mut Floats<'a>| levels.next().unwrap_or(f32::NAN);
        let scale = |levels: &mut Option<Floats<'a>>, tail: Option<Tail>| {
            let level = levels.as_mut().map(level);
            level.zip(tail).map(|(level, tail)| ArmScale { level, tail })
        };
        let tails = |tails: &mut Option<TailReader<'a>>| tails.as_mut().map_or(Ok(None), TailReader::take_row);
        let calibration = Calibration {
            transform: InputTransform {
                centres: row(&mut self.centres),
                scales: row(&mut self.scales),
                upper: self.upper.take_known_row()?,
                lower: self.lower.take_known_row()?,
            },
            reconstruction: self.reconstruction.take_known_row()?,
            forecast: tails(&mut self.forecast)?,
            window: tails(&mut self.window)?,
            arms: group.arms,
            newest_scale: ArmScale {
                level: level(&mut self.newest_levels),
                tail: group.newest,
            },
            window_scale: scale(&mut self.window_levels, group.window),
            judge: scale(&mut self.judge_levels, group.judge),
            opening_rates: group.opening_rates,
        };
        expect(calibration.is_valid(), || {
            "its calibrations hold numbers that no fit makes".into()
        })?;
        Ok(calibration)
    }

    fn end(self) -> Result<(), TensorError> {
        let tails = [Some(self.upper), Some(self.lower), Some(self.reconstruction)];
        for mut tails in tails.into_iter().chain([self.forecast, self.window]).flatten() {
            tails.end()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::model::tensors;
    use crate::pipeline::arms::{RowErrors, RunningErrors};
    use crate::pipeline::tail::TailBounds;

    /// A calibration as two thousand ticks make it: some features vary, some are nearly constant.
    fn fitted(seed: usize, with_forecast: bool) -> Calibration {
        let rows: Vec<[f32; FEATURES]> = (0..2000)
            .map(|i| std::array::from_fn(|feature| ((i * (feature + 3) * 7919 + seed) % 997 / (1 + feature)) as f32))
            .collect();
        let transform = InputTransform::fit(&rows);
        let mut running = RunningErrors::default();
        let mut errors = |row| {
            let input = transform.apply(row);
            let forecast = with_forecast.then_some(&[0.5; FEATURES]);
            RowErrors::new(&input, &[0.25; FEATURES], forecast, Some(input[0]), Some(&mut running))
        };
        let errors: Vec<RowErrors> = rows.iter().map(&mut errors).collect();
        Calibration {
            judge: Some(ArmScale::fit(&mut [0.5; 99], TailBounds::JUDGE)),
            ..Calibration::fit(transform, &errors, Arms::ALL)
        }
    }

    fn some() -> &'static Calibrations {
        static SOME: LazyLock<Calibrations> = LazyLock::new(make_some);
        &SOME
    }

    fn make_some() -> Calibrations {
        let plain = Calibration {
            window: None,
            window_scale: None,
            judge: None,
            arms: Arms {
                window: false,
                ..Arms::ALL
            },
            ..fitted(3, false)
        };
        let odd = Calibration {
            opening_rates: OpeningRates {
                decades: [1.0, 2.0, 3.0, 4.0, 5.0, 6.5],
            },
            ..fitted(2, true)
        };
        let instruments = [("A", fitted(1, true)), ("B, \"b\"\n", odd), ("ü", plain)];
        Calibrations {
            pooled: Arc::new(fitted(0, true)),
            instruments: instruments.map(|(name, own)| (name.into(), Arc::new(own))).into(),
        }
    }

    fn written(tensors: &[NamedTensor<'_>]) -> Vec<u8> {
        tensors::write(tensors, ("key", String::new())).unwrap()
    }

    /// Reads calibrations and nothing else.
    fn read(bytes: &[u8]) -> Result<Calibrations, String> {
        let mut tensors = Tensors::read(bytes).unwrap();
        let calibrations = calibrations_of(&mut tensors).map_err(|error| error.to_string())?;
        match tensors.rest().map_err(|error| error.to_string())?.keys().next() {
            Some(name) => Err(format!("{name}: left over")),
            None => Ok(calibrations),
        }
    }

    #[test]
    fn every_number_comes_back() {
        let bytes = written(&tensors_of(some()).unwrap());
        let back = read(&bytes).unwrap();
        assert_eq!(&back, some());
        assert_eq!(written(&tensors_of(&back).unwrap()), bytes);
    }

    #[test]
    fn tensor_that_is_missing_or_of_another_size_is_named() {
        let count = tensors_of(some()).unwrap().len();
        assert!(count > 20, "{count}");
        for place in 0..count {
            let mut tensors = tensors_of(some()).unwrap();
            let name = tensors.remove(place).name;
            // Both tensors of tails are named by what stands before the dot.
            let stem = name.rsplit_once('.').unwrap().0.to_string();
            let error = read(&written(&tensors)).unwrap_err();
            let stem = if stem == "calibrations" { &name } else { &stem };
            assert!(
                error.contains(stem.trim_start_matches("calibrations.group.")),
                "{name}: {error}"
            );
        }
        for place in 0..count {
            let mut tensors = tensors_of(some()).unwrap();
            let tensor = &mut tensors[place];
            match &mut tensor.numbers {
                Numbers::Floats(numbers) => numbers.to_mut().push(0.5),
                Numbers::Indices(numbers) => numbers.push(0),
                Numbers::Marks(numbers) => numbers.push(0),
                Numbers::Bytes(bytes) => bytes.push(b'0'),
            }
            tensor.shape = vec![tensor.shape.iter().product::<usize>() + 1];
            let (name, bytes) = (tensor.name.clone(), written(&tensors));
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(name.trim_end_matches(".numbers")), "{name}: {error}");
        }
    }

    #[test]
    fn numbers_that_no_fit_makes_are_refused() {
        for place in 0..tensors_of(some()).unwrap().len() {
            let mut tensors = tensors_of(some()).unwrap();
            let tensor = &mut tensors[place];
            match &mut tensor.numbers {
                Numbers::Floats(numbers) => numbers.to_mut()[0] = f32::NAN,
                Numbers::Indices(numbers) => numbers[0] = 9,
                Numbers::Marks(numbers) => numbers[0] = 1 << 15,
                Numbers::Bytes(bytes) => bytes[0] = b'9',
            }
            let name = tensor.name.clone();
            assert!(read(&written(&tensors)).is_err(), "{name}");
        }
    }

    #[test]
    fn names_must_rise() {
        let mut tensors = tensors_of(some()).unwrap();
        let names = br#"["A","A","B"]"#.to_vec();
        let place = tensors
            .iter()
            .position(|tensor| tensor.name == "calibrations.names")
            .unwrap();
        tensors[place] = tensor("names", vec![names.len()], Numbers::Bytes(names));
        assert_eq!(
            read(&written(&tensors)).unwrap_err(),
            "calibrations.names: expected ascending names"
        );
    }
}
