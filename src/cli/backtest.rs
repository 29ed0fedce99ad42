//! `tapewatch backtest`: fit, score, judge.
//!
//! Everything that is read or written is opened before the fit, which takes minutes.

use std::path::PathBuf;
use std::time::Instant;

use super::outputs::{self, CannotWrite};
use super::{ConfigArguments, Exit, open_ticks, say, seeds, terminal};
use crate::config::Config;
use crate::model::artifact::Artifact;
use crate::model::base::Base;
use crate::offline::backtest::{Outcome, fit_recording, score_recording, ticks, write_alerts, write_scores, zero_shot};
use crate::offline::evaluation::{self, Labels};
use crate::offline::report::{self, Judgement, Report, Run};
use crate::offline::tick_files::Recording;
use crate::store;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Folder of clean ticks to fit on: files of ticks, .csv or .csv.gz.
    #[arg(long, value_name = "DIR")]
    train: PathBuf,
    /// Folder of ticks to score; each instrument's continue those in --train.
    #[arg(long, value_name = "DIR")]
    test: PathBuf,
    /// Labelled events (instrument,start_seq,end_seq,kind,…): print the figures.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Write instrument,seq,score, one row per tick; gzip if FILE ends in .gz.
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// Write instrument,seq,…, one row per opened alert; gzip if FILE ends in .gz.
    #[arg(long, value_name = "FILE")]
    alerts: Option<PathBuf>,
    /// Write the whole result as one HTML page; more of it with --labels.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Use this model instead of fitting one.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Score every instrument with weights fitted to the others, in so many rounds: how well a model does on what it has
    /// never seen (2 to 100). There is no page of it, since a page shows one model.
    #[arg(long, value_name = "ROUNDS", conflicts_with_all = ["model", "report"], value_parser = clap::value_parser!(u8).range(2..=100))]
    zero_shot: Option<u8>,
    /// What the fit starts from, in place of model.base: the embedded model, or none.
    #[arg(long, value_name = "BASE", value_parser = ["embedded", "none"])]
    base: Option<String>,
    /// Seed of the fit, in place of training.seed.
    #[arg(long, value_parser = seeds())]
    seed: Option<u64>,
    /// Print all figures as one JSON object.
    #[arg(long, requires = "labels")]
    json: bool,
}

/// Flags of outputs.
const SCORES: &str = "--scores";
const ALERTS: &str = "--alerts";
const REPORT: &str = "--report";

/// What is read before anything is done.
struct Inputs {
    past: Recording,
    test: Recording,
    labels: Option<Labels>,
    model: Option<Artifact>,
}

impl Inputs {
    fn open(arguments: &Arguments, config: &Config) -> anyhow::Result<Self> {
        // Labels are read here to be looked at; nothing of them reaches the fit.
        let labels = arguments.labels.as_deref().map(evaluation::read_labels).transpose()?;
        let model = arguments.model.as_deref().map(store::load).transpose()?;
        let inputs = Inputs {
            past: open_ticks(std::slice::from_ref(&arguments.train), config)?,
            test: open_ticks(std::slice::from_ref(&arguments.test), config)?,
            labels,
            model,
        };
        inputs.check()?;
        Ok(inputs)
    }

    /// Looks whether past, test and labels can belong together.
    fn check(&self) -> anyhow::Result<()> {
        let instruments = self.test.instruments();
        if let Some(labels) = &self.labels {
            evaluation::check_labels(labels, &instruments)?;
            let unknown = labels.keys().filter(|name| !instruments.contains_key(name.as_str()));
            warn_of("labels of instruments that --test does not hold are left out", unknown);
        }
        let without_past = instruments.keys().filter(|name| self.past.span(name).is_none());
        warn_of(
            "instruments without ticks in --train are scored by what other instruments teach",
            without_past,
        );
        let is_no_continuation = |name: &&&str| match (self.past.span(name), self.test.span(name)) {
            (Some((_, end)), Some((start, _))) => start < end,
            _ => false,
        };
        let early = instruments.keys().filter(is_no_continuation);
        warn_of(
            "ticks in --test begin before those in --train end, so the model may know them",
            early,
        );
        Ok(())
    }
}

/// Warns of something that holds for some instruments, and names the first ones.
fn warn_of(what: &str, instruments: impl Iterator<Item = impl AsRef<str>>) {
    const NAMED_MAX: usize = 5;
    let names: Vec<String> = instruments.map(|name| name.as_ref().to_owned()).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    if !names.is_empty() {
        let named = names[..names.len() - more].join(", ");
        let rest = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        terminal::warn(format_args!("{what}: {named}{rest}"));
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut config = arguments.config.load()?;
    if let Some(seed) = arguments.seed {
        config.training.seed = seed;
    }
    if let Some(base) = &arguments.base {
        config.model.base = if base == "none" { Base::None } else { Base::Embedded };
    }
    outputs::probe(&[
        (SCORES, arguments.scores.as_deref()),
        (ALERTS, arguments.alerts.as_deref()),
        (REPORT, arguments.report.as_deref()),
    ])?;
    let inputs = Inputs::open(arguments, &config)?;
    let started = Instant::now();
    let (outcome, artifact) = score(arguments, &inputs, &config, started)?;
    write(arguments, &outcome)?;
    let labels = inputs.labels.as_ref();
    let judgement = labels.map(|labels| Judgement::new(&outcome, labels)).transpose()?;
    if let Some(judgement) = &judgement {
        print(judgement, arguments.json)?;
    }
    if let (Some(path), Some(artifact)) = (&arguments.report, &artifact) {
        let ticks = ticks(&inputs.test)?.into_iter();
        let ticks = ticks.map(|of| of.ticks.into_iter().map(Some).collect()).collect();
        let report = Report {
            run: what_was_run(arguments, &config, artifact),
            tapes: report::tapes(outcome, ticks),
            judgement,
        };
        std::fs::write(path, report::page(&report)).map_err(CannotWrite::at(path, REPORT))?;
    }
    Ok(Exit::Done)
}

/// Fits, unless a model is given, and scores; no model where there were several, one for each round.
fn score(
    arguments: &Arguments,
    inputs: &Inputs,
    config: &Config,
    started: Instant,
) -> anyhow::Result<(Outcome, Option<Artifact>)> {
    let bar = terminal::bar("fitting");
    let mut progress = terminal::fit_progress(&bar);
    let Inputs { past, test, model, .. } = inputs;
    if let Some(rounds) = arguments.zero_shot {
        let outcome = zero_shot(past, test, rounds.into(), config, &mut progress)?;
        bar.finish_and_clear();
        return Ok((outcome, None));
    }
    let artifact = match model {
        Some(model) => model.clone(),
        None => {
            let (artifact, thinned) = fit_recording(past, config, &mut progress)?;
            terminal::say_thinned(&bar, thinned);
            artifact
        }
    };
    bar.finish_and_clear();
    let fitted = started.elapsed();
    let outcome = score_recording(past, test, &artifact, config)?;
    let ticks: usize = outcome.scores.iter().map(|instrument| instrument.scores.len()).sum();
    terminal::tell(format_args!(
        "fitted in {:.1} s; scored {ticks} ticks in {:.1} s; {} alerts opened",
        fitted.as_secs_f64(),
        (started.elapsed() - fitted).as_secs_f64(),
        outcome.opened.len()
    ));
    Ok((outcome, Some(artifact)))
}

/// Prints the figures: for people, or as one JSON object.
fn print(judgement: &Judgement, json: bool) -> anyhow::Result<()> {
    let Judgement { figures, alerts, .. } = judgement;
    if json {
        say(&serde_json::to_string(figures)?)?;
    } else {
        say(&evaluation::table(figures))?;
        say(&format!(
            "alerts at the configured budget: recall {:.2}, {:.2} false alarms per 10,000 ticks",
            alerts.recall, alerts.false_alarms_per_10k
        ))?;
    }
    Ok(())
}

/// Says what was run, without clocks: the same run gives the same page.
fn what_was_run(arguments: &Arguments, config: &Config, artifact: &Artifact) -> Run {
    let shown = |path: &PathBuf| path.display().to_string();
    Run {
        title: "tapewatch backtest".to_owned(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        train: shown(&arguments.train),
        test: shown(&arguments.test),
        labels: arguments.labels.as_ref().map(shown),
        model: arguments.model.as_ref().map(shown),
        spec: artifact.weights.spec,
        provenance: artifact.provenance.clone(),
        budget_per_10k: config.alerts.false_alarms_per_10k_ticks,
        alert_threshold: f64::from(config.alerts.threshold()),
    }
}

fn write(arguments: &Arguments, outcome: &Outcome) -> Result<(), CannotWrite> {
    if let Some(path) = &arguments.scores {
        write_scores(path, &outcome.scores).map_err(CannotWrite::at(path, SCORES))?;
    }
    if let Some(path) = &arguments.alerts {
        write_alerts(path, &outcome.opened).map_err(CannotWrite::at(path, ALERTS))?;
    }
    Ok(())
}
