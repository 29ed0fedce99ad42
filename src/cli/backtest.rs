//! `tapewatch backtest`: fit, score, judge.

use std::path::PathBuf;
use std::time::Instant;

use super::{CannotWrite, ConfigArguments, Exit, say, seeds, terminal};
use crate::config::Config;
use crate::model::artifact::Artifact;
use crate::model::base::Base;
use crate::offline::backtest::{
    Outcome, fit_folder, read_folder_lines, score_folder, write_alerts, write_scores, zero_shot,
};
use crate::offline::evaluation;
use crate::offline::report::{self, Judgement, Report, Run};
use crate::store;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Folder of clean ticks to fit on: <instrument>.csv or .csv.gz.
    #[arg(long, value_name = "DIR")]
    train: PathBuf,
    /// Folder of ticks to score; each file continues the one of the same name in --train.
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

pub fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut config = arguments.config.load()?;
    if let Some(seed) = arguments.seed {
        config.training.seed = seed;
    }
    if let Some(base) = &arguments.base {
        config.model.base = if base == "none" { Base::None } else { Base::Embedded };
    }
    // Labels are only read here, before the fit, so that a wrong file is known at once; nothing of them reaches the fit.
    let labels = arguments.labels.as_deref().map(evaluation::read_labels).transpose()?;
    let started = Instant::now();
    let (outcome, artifact) = score(arguments, &config, started)?;
    write(arguments, &outcome)?;
    let judgement = labels.map(|labels| Judgement::new(&outcome, &labels)).transpose()?;
    if let Some(judgement) = &judgement {
        print(judgement, arguments.json)?;
    }
    if let (Some(path), Some(artifact)) = (&arguments.report, &artifact) {
        let report = Report {
            run: what_was_run(arguments, &config, artifact),
            tapes: report::tapes(outcome, read_folder_lines(&arguments.test, &config)?),
            judgement,
        };
        std::fs::write(path, report::page(&report)).map_err(CannotWrite::at(path))?;
    }
    Ok(Exit::Done)
}

/// Fits, unless a model is given, and scores; no model where there were several, one for each round.
fn score(arguments: &Arguments, config: &Config, started: Instant) -> anyhow::Result<(Outcome, Option<Artifact>)> {
    let bar = terminal::bar("fitting");
    let mut progress = terminal::fit_progress(&bar);
    let (train, test) = (&arguments.train, &arguments.test);
    if let Some(rounds) = arguments.zero_shot {
        let outcome = zero_shot(train, test, rounds.into(), config, &mut progress)?;
        bar.finish_and_clear();
        return Ok((outcome, None));
    }
    let artifact = match &arguments.model {
        Some(path) => store::load(path)?,
        None => {
            let (artifact, thinned) = fit_folder(train, config, &mut progress)?;
            terminal::say_thinned(&bar, thinned);
            artifact
        }
    };
    bar.finish_and_clear();
    let fitted = started.elapsed();
    let outcome = score_folder(train, test, &artifact, config)?;
    let ticks: usize = outcome.scores.iter().map(|instrument| instrument.scores.len()).sum();
    eprintln!(
        "fitted in {:.1} s; scored {ticks} ticks in {:.1} s; {} alerts opened",
        fitted.as_secs_f64(),
        (started.elapsed() - fitted).as_secs_f64(),
        outcome.opened.len()
    );
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
        write_scores(path, &outcome.scores).map_err(CannotWrite::at(path))?;
    }
    if let Some(path) = &arguments.alerts {
        write_alerts(path, &outcome.opened).map_err(CannotWrite::at(path))?;
    }
    Ok(())
}
