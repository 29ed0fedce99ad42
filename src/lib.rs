//! tapewatch watches feeds of market ticks in Kafka and says which ticks are not like the others.
//!
//! This text is the architecture: what the parts are, what each promises, and what it deliberately does not know. How
//! to run the program stands in `README.md`, and all else about its use in `docs/`.
//!
//! # Bird's eye
//!
//! ```text
//!  scoring loop                 a Worker: one thread, one consumer, one producer, one Detector
//!
//!  input topics ─► Source ─► Record
//!      ▲                       │
//!      │          ┌────────────▼────────────── Detector: no clock, no I/O ──────────────────────────────┐
//!      │          │ Decoder ─► Tick ─┬─► guards ─► Finding ──────────────────────────────────┐          │
//!      │          │    │             └─► FeatureRow ─► Window ─► Batch ─► Scorer ─► Evidence ─┴► score  │
//!      │          │    ▼                                                      Calibration ─┘     │      │
//!      │          │ DeadLetter                                           Alert ◄─ Shocks ◄─ Episode     │
//!      │          └────┬──────────────────────▲────────────────────────────┬────────────────────────────┘
//!      │               └──────────────────────│──────────────────► Sink ◄──┘
//!    commit ◄── Ledger ◄── acknowledged ──────│──────────────────────┴───────────► alerts, dead letters
//!                                             │
//!                                             │ Model, between two batches
//!  learning loop                              │                        the Learner: one low-priority thread
//!                                             │
//!  input topics ─► history ─► dataset ─► fit ─│► calibrate ─► challenger ─► gate ─► ModelStore (a folder)
//!                                             │                              ▲          │
//!                                             └───────── champion ───────────┴──────────┘
//! ```
//!
//! A worker polls records, hands each to its [`Detector`](pipeline::detector::Detector), scores what is due as one
//! batch, sends what comes out, and commits what is acknowledged. Workers, in one process or many, are members of one
//! consumer group; Kafka shares the partitions out and moves them. The learner of the process that owns partition 0 of
//! the first input topic trains; every learner follows the model store and hands newer models to its workers. There are
//! two drivers of the same detector: the worker (live) and [`offline::driver::Driver`] (recorded ticks, virtual time).
//!
//! # Entry points: ten minutes
//!
//! 1. [`pipeline::detector`]: [`Input`](pipeline::detector::Input) and [`Effect`](pipeline::detector::Effect) say
//!    everything that can happen; [`Detector::handle`](pipeline::detector::Detector::handle) is where it happens.
//! 2. [`Worker::run`](worker::Worker::run): the loop around it, one method for each line.
//! 3. [`kafka::ledger`]: why no offset is committed too early.
//! 4. [`pipeline::score`]: the wall between the detector and the model.
//! 5. [`Learner::run`](learner::Learner::run), then [`train::trainer::train`] and [`train::gate::compare`].
//! 6. [`Daemon::start`](daemon::Daemon::start): how the threads are put together.
//!
//! # Code map
//!
//! ## [`pipeline`]: from bytes to decisions
//!
//! | module | the question it answers |
//! |---|---|
//! | [`position`](pipeline::position), [`time`](pipeline::time), [`tick`](pipeline::tick) | Where, when, what? The vocabulary. |
//! | [`input`](pipeline::input), [`effect`](pipeline::effect), [`verdict`](pipeline::verdict) | What can a detector be told, what does it want done, what did it find out? |
//! | [`decode`](pipeline::decode), [`repeats`](pipeline::repeats), [`tick_reader`](pipeline::tick_reader) | Which ticks are in these bytes, and did they come before? |
//! | [`clock`](pipeline::clock), [`market_time`](pipeline::market_time) | What time is it on this partition, and for this instrument? |
//! | [`guard`](pipeline::guard) | Is this tick possible at all, and which numbers say that it is not? |
//! | [`plausible`](pipeline::plausible) | May anybody learn from this tick's prices? |
//! | [`feature`](pipeline::feature) with [`robust`](pipeline::robust), [`inverse`](pipeline::feature::inverse) | Which numbers describe a tick among those before, and what do they mean in the feed's units? |
//! | [`scaler`](pipeline::scaler), [`window`](pipeline::window), [`batch`](pipeline::batch), [`score`](pipeline::score) | What does the model get to see? |
//! | [`arms`](pipeline::arms), [`calibration`](pipeline::calibration), [`tail`](pipeline::tail), [`tails`](pipeline::tails) | How rarely is a normal tick as odd as this one? |
//! | [`opening_rates`](pipeline::opening_rates), [`run`](pipeline::run), [`adaptation`](pipeline::adaptation) | How rarely does an *alert* open as high, given what came of late? |
//! | [`budget`](pipeline::budget) | From which score on is a tick anomalous? |
//! | [`alert`](pipeline::alert), [`episode`](pipeline::episode), [`summary`](pipeline::summary) | What is an alert, how does it live, and what does it say to people? |
//! | [`snapshot`](pipeline::snapshot), [`bounded`](pipeline::bounded), [`detector::checkpoint`](pipeline::detector::checkpoint) | How does a partition go on elsewhere as if it had never stopped? |
//! | [`shock`](pipeline::shock), [`group`](pipeline::group) | Is it one instrument or many, and is it the feed or the market? |
//! | [`detector`](pipeline::detector) | All of these, in order, for each record. |
//!
//! - *Absent:* clocks, I/O, logging, threads, randomness, candle, rdkafka, tokio, and every other room of this crate.
//!   Logarithms and exponentials come from `libm`, so that every machine gives the same bits.
//! - *Invariant:* state belongs to a partition. An instrument is a name on one partition; its state, the partition's clock,
//!   shocks and budget know nothing of other partitions, and all of it goes when the partition is revoked.
//! - *Invariant:* a partition's time never goes back and is never ahead of the wall clock by more than
//!   `detector.stamp_ahead_secs_max`; nothing but [`clock`](pipeline::clock) reads a record's stamp as time.
//! - *Invariant:* every tick of a record, and every record without one, ends in exactly one
//!   [`Outcome`](pipeline::detector::Outcome); bad input is data, not failure.
//! - *Invariant:* alerts are decided in the order in which records arrived, so they do not depend on how records were
//!   cut into batches.
//! - *Invariant:* an alert is published, or counted in the shock that it was folded into; what couples instruments are
//!   shocks and the total budget, and neither touches a score.
//! - *Invariant:* a tick of implausible prices is left to the guards: it changes no feature of a later tick, no model scores it
//!   and none is made of it.
//! - *Invariant:* instruments, rows per instrument, sequence numbers remembered and the length of names are bounded.
//!
//! ## [`inject`]: the catalogue of faults
//!
//! [`inject::apply`] puts [`Fault`](inject::Fault)s into copies of clean ticks and labels them. The judge's training, the
//! gate, the demo and tests use it.
//!
//! - *Absent:* detector, model, files, and the labels of any benchmark. Nothing outside the labels is changed.
//! - *Invariant:* the same ticks, catalogue and seed give the same bits.
//!
//! ## [`model`]: the LSTM encoder-decoder
//!
//! [`spec`](model::spec) and [`weights`](model::weights) say what a model is, by PyTorch's names and in its layout;
//! [`network`](model::network) is the reference on candle, with autograd; [`kernel`](model::kernel) scores, and
//! [`fused`](model::fused) and [`dense`](model::dense) lend its vectors to training; [`artifact`](model::artifact) is a
//! model as bytes, in which [`calibration_tensors`](model::calibration_tensors) says what of instruments stands where,
//! [`tensors`](model::tensors) is safetensors, and [`exchange`](model::exchange) the way to PyTorch and back;
//! [`base`](model::base) is the model inside the program, which scores before anything has been trained.
//!
//! - *Absent:* Kafka, training, thresholds, time. candle does not score: its sums differ with the batch.
//! - *Invariant:* a window's evidence is the same bits alone, in any batch, and on every instruction set.
//! - *Invariant:* the two implementations agree within 1e-5; an artifact that has been read has been checked. The one
//!   `unsafe` file of the crate is `kernel/simd.rs`.
//!
//! ## [`train`]: from ticks to a model that may take over
//!
//! [`size`](train::size) says which model is trained, [`dataset`](train::dataset) makes rows of ticks. A model with a judge
//! learns from copies with injected faults: [`views`](train::views) shows each feed as others might have sent it,
//! [`exposure`](train::exposure) injects and asks, [`event_loss`](train::event_loss) is what the answers cost,
//! [`fit_judge`](train::fit_judge) is the loop around them. A model without one learns to rebuild clean rows
//! ([`fit`](train::fit)). [`calibrate`](train::calibrate) makes probabilities of what it says, [`gate`](train::gate) compares
//! it with the present one, [`trainer`](train::trainer) puts all together, [`progress`](train::progress) says how far it has
//! come, and [`memory`](train::memory) what it may hold.
//!
//! - *Absent:* Kafka, files, clocks (the stamp of a training is an argument), and a feature code of its own: rows come
//!   from the code that scores.
//! - *Invariant:* thresholds never come from rows that the weights were fitted to, and the gate measures on rows that
//!   neither model was fitted to or calibrated on.
//! - *Invariant:* rows are made of one instrument's ticks at a time, and a training keeps to its memory budget.
//! - *Invariant:* the same ticks, configuration and seed give the same model on the same machine.
//!
//! ## [`kafka`]: clients
//!
//! [`client`](kafka::client) holds the settings, [`reach`](kafka::reach) waits for brokers and topics,
//! [`probe`](kafka::probe) asks a broker before a daemon runs, [`source`](kafka::source) reads, [`sink`](kafka::sink) writes,
//! [`outgoing`](kafka::outgoing) fits a record to its topic's limit, [`ledger`](kafka::ledger) knows what may be committed,
//! [`trouble`](kafka::trouble) says once what goes wrong again and again, [`history`](kafka::history) reads the recent past
//! back, [`feeder`](kafka::feeder) writes ticks, [`alert_record`](kafka::alert_record) is an alert as others read it,
//! [`embedded`](kafka::embedded) is librdkafka's mock cluster.
//!
//! - *Absent:* detectors, models and [`Config`](crate::config::Config) as a whole. No topic is ever created but the changelog.
//! - *Invariant:* callbacks run within `poll` on the owner's own thread; their mutexes are never contended.
//! - *Invariant:* an offset is given out for commit only when every alert and dead letter up to it is acknowledged.
//! - *Invariant:* a partition is read from the group's commit; without one from its oldest record, save in a new group that
//!   starts at the latest. What the broker deletes before it is read is counted.
//! - *Invariant:* what waits in clients is bounded in bytes, and no record is sent that its topic does not take.
//! - *Invariant:* secrets are read from files, and no value of a property is ever printed.
//!
//! ## The shell: [`worker`], [`learner`], [`daemon`]
//!
//! The worker performs what its detector decides; the learner keeps the model up to date; the daemon starts threads,
//! waits for a signal, and stops them within a limit. Messages ([`Command`](worker::Command)) go from learner and
//! daemon to the workers, and nothing goes back but status.
//!
//! - *Absent:* decisions about ticks. The worker reads the clock, the detector is told.
//! - *Invariant:* the order is deliver, have acknowledged, commit; on revocation and on SIGTERM too, within
//!   `worker.drain_secs`.
//! - *Invariant:* a worker's error, or a panic of a worker or the learner, ends the process, whatever hangs. There is no
//!   half-alive daemon.
//! - *Invariant:* `/readyz` says what is true now: whoever cannot read, deliver or commit is not ready, and says why.
//!
//! ## What is seen from outside: [`status`], [`metrics`], [`http`], [`telemetry`]
//!
//! - *Absent:* influence on scoring. Two things are read back: the learner asks the status whether a worker of its
//!   process owns partition 0, and how many rows the instruments without a calibration have shown.
//! - *Invariant:* labels of metrics are bounded and never name an instrument; every metric stands in `docs/operations.md`.
//!
//! ## [`store`] and [`config`]
//!
//! [`ModelStore`](store::ModelStore) is a folder with one file per version, whole or not there, after a power cut too; a
//! version that cannot be read hides no older one. The
//! configuration is `config/default.toml` < file < environment, checked as a whole before anything starts.
//!
//! - *Absent:* from the store, locks: one process of the group trains. From the configuration, defaults in code.
//! - *Invariant:* every number of the configuration has a range, which stands in one table and beside the key in
//!   `default.toml`; all values that are off are named at once.
//!
//! ## [`offline`]: recorded and synthetic ticks
//!
//! [`driver`](offline::driver) runs the detector in virtual time, [`backtest`](offline::backtest) fits and scores,
//! [`evaluation`](offline::evaluation) judges against labels, [`market`](offline::market) makes a synthetic market and
//! [`endless`](offline::endless) one that goes on, [`tick_files`](offline::tick_files) and [`replay`](offline::replay) read
//! recordings, [`report`](offline::report) makes one HTML page of a backtest or a demo.
//!
//! - *Absent:* Kafka and clocks. Labels reach the evaluation alone, never a fit.
//! - *Invariant:* a page needs no other file, script or network, and no name can break out of its place in it.
//!
//! ## [`demo`] and [`cli`]
//!
//! The demo is the real daemon on the embedded broker, with a market whose faults are known; nothing in the daemon
//! knows that it is a demo. What was streamed is scored once more, offline, for its report. The command line has one file per command, exit codes in one place, data on stdout, people
//! on stderr.
//!
//! # Who may import whom
//!
//! A room imports those to its right and no others of this crate (`tests/suite/tidy.rs` holds the table):
//!
//! | room | imports |
//! |---|---|
//! | `pipeline` | – |
//! | `inject` | `pipeline` |
//! | `model` | `pipeline` |
//! | `train` | `inject`, `model`, `pipeline` |
//! | `kafka` | `pipeline` |
//! | `config` | `kafka`, `model`, `pipeline`, `train` |
//! | `telemetry` | `config` |
//! | `metrics` | `pipeline`, `status` |
//! | `status` | `pipeline` |
//! | `http` | `metrics`, `pipeline`, `status` |
//! | `store` | `model`, `pipeline` |
//! | `worker` | `config`, `kafka`, `metrics`, `pipeline`, `status` |
//! | `learner` | `config`, `kafka`, `metrics`, `model`, `pipeline`, `status`, `store`, `train`, `worker` |
//! | `daemon` | `config`, `http`, `kafka`, `learner`, `metrics`, `model`, `pipeline`, `status`, `store`, `worker` |
//! | `offline` | `config`, `inject`, `model`, `pipeline`, `train` |
//! | `demo` | `config`, `daemon`, `inject`, `kafka`, `model`, `offline`, `pipeline`, `status` |
//! | `cli` | `config`, `daemon`, `demo`, `kafka`, `model`, `offline`, `pipeline`, `status`, `store`, `telemetry`, `train` |
//!
//! And of the crates that are not ours: candle in `model` and `train` alone; rdkafka in `kafka`, `worker` and `demo`;
//! tokio in `daemon` and `http`; axum and hyper in `http`; maud in `offline`; clap, anyhow and indicatif in `cli`. `pipeline`,
//! `inject`, `model` and `train` do not log.
//!
//! # Glossary
//!
//! One word per idea, in code, configuration, metrics and prose.
//!
//! | word | meaning |
//! |---|---|
//! | *arm* | One source of evidence: reconstruction, forecast, pointwise, judge, guard. |
//! | *clock* | The time of a partition, from its records' stamps. *Wall clock*: the machine's. *Market time*: an instrument's event time, as far as it is believed. |
//! | *judge* | The head of the network that is trained to tell clean ticks from injected faults. |
//! | *run* | Odd ticks of an instrument that belong together; one run is one alert. |
//! | *opening* | The moment at which an alert opens. *Opening rate*: how often alerts open at a height of the score. |
//! | *adaptation* | What an instrument's last ticks do to the score of its next one: the judge's level (*drift*) and *habituation*. |
//! | *scale* (of an arm) | What turns an arm's statistic into a rarity: the instrument's own level and the group's tail. |
//! | *finding*, *fact* | What a guard says of a tick, and the numbers that it rests on. |
//! | *shock*, *group* | Alerts of many instruments of a partition at once, and what the grouped alert says of them. |
//! | *allowed share* | Share of an instrument's scored ticks that the budget allows to be called anomalous. |
//! | *share* (of a feature) | The feature's part in a score; those of an alert sum to 1. |
//! | *swap* | A model takes over from another between two batches. |
//!
//! # Walls
//!
//! Later work leans on these; a change that goes around one of them is a change of the architecture.
//!
//! - **[`Scorer`](pipeline::score::Scorer)** scores items of several instruments at once. An item is a
//!   [`Context`](pipeline::score::Context) and one or more queued rows. The context is a `Window` (the rows before,
//!   encoded anew) or `Carried` (the encoder's state, handed in and out).
//!   `model.context` chooses; a scorer whose `state_len` is 0 takes windows.
//! - **[`Evidence`](pipeline::score::Evidence)** has one optional list per arm. Reconstruction is always filled;
//!   forecast and judge are filled where the model has those heads, and the detector must go on working with any of them
//!   missing.
//! - **Raw rows are kept** beside the inputs in [`Window`](pipeline::window::Window): a new model brings its own
//!   transform, and what was computed under the old one means nothing.
//! - **The [`Artifact`](model::artifact::Artifact)** is one safetensors byte string with a format number: weights
//!   and calibrations are tensors, the rest named sections of a JSON document (heads, features, spec, provenance). It is
//!   read from `&[u8]`, so that one can be embedded or sent. The format before is read too.
//! - **[`inject`] is a room**, not a part of the tests: what measures a detector live and what judges it offline are
//!   the same faults.
//! - **The gate answers with a [`Verdict`](train::gate::Verdict)**: named measures with a direction and a tolerance. A
//!   new criterion is one more measure.
//! - **The unit of a dataset is a [`Chunk`](train::dataset::Chunk)**: a consecutive stretch of one instrument's ticks
//!   with labels, not a bag of windows.
//!
//! # Where it departs from the design
//!
//! What is smaller than planned, why, and what that costs.
//!
//! - **The model store is a folder**, not a compacted topic. A folder needs no rights on the cluster and can be looked
//!   at, copied and cleaned with ordinary tools. The cost: processes on several hosts need a folder that all of them
//!   see.
//! - **State is kept only where `state.changelog_topic` says where.** The detector makes checkpoints, restores them and
//!   redoes what came since ([`checkpoint`](pipeline::detector::checkpoint)); the worker writes them to a compacted topic, in
//!   one transaction with the offsets ([`kafka::transactions`]), and reads them back ([`kafka::changelog`]). It is off by
//!   default until it has been proved by simulation. Without it, a restart or a rebalance starts every instrument cold at the
//!   committed offset: levels are learnt anew, a window must fill before ticks are scored, and an alert that was open is
//!   never resolved. With it, what is left is this: restoring one partition stops the others of its worker, a redo runs under
//!   the model that is at work now, and a step of an idle clock is written with the commit after its alerts.
//! - **Delivery is at-least-once.** Ids and revisions are made of positions alone, so consumers can drop repeats.
//!   Exactly once needs the snapshots first.
//! - **The stride is fixed.** It does not widen under lag; lag grows and is shown. Widening must be written down with
//!   its offset, or a replay would decide otherwise, and there is no changelog to write it in.
//! - **An idle partition is moved on by the wall clock** where an alert or a shock ends by it. The detector tells of each
//!   such step ([`Effect::Outside`](pipeline::detector::Effect::Outside)), and it is written down where state is kept; elsewhere
//!   those ends alone may differ between two runs.
//! - **All snapshots of a checkpoint are of one moment**, not each of its own. Instruments of a partition are coupled, and
//!   a redo from many moments would need a record of everything that they told each other. The cost: an instrument that
//!   changes before its turn is turned into bytes at that tick, so memory holds the snapshots that wait to be written; and
//!   a redo begins at the last whole checkpoint, up to two rounds back.
//! - **A name on two partitions is two instruments**, and that is not reported.
//! - **Silence is found by the tick that ends it.** The guards see ticks alone, so an instrument that stays silent, and a
//!   whole partition that does, raise no alert.
//! - **What is odd again and again counts for less** ([`adaptation`](pipeline::adaptation)). The cost: a fault soon after another
//!   must be odder. At one false alarm in 10,000 ticks, recall of faults some 1,200 ticks apart rose from 0.85 to 0.87 by
//!   it (nine feeds, one seed), that of faults 400 ticks apart fell from 0.77 to 0.70.
//! - **Between two trainings the judge's level and habituation alone follow the ticks.** Scaling, the other arms' levels and
//!   the shapes of all tails wait for the next model; what level and habituation have learnt is lost with a restart and
//!   with every new model.
//! - **Training takes all recent ticks**, those within alerts and around halts too. The cost: the tails of an
//!   instrument with a long incident grow wide, and it is blinder until the incident is history.
//! - **Trainings are triggered by the interval alone**, not by drift or on request; there are no canaries, no muted
//!   mode, and no live page.
//! - **With carried context every row is computed**, whatever the stride: the state needs it, and only what is made of its
//!   evidence is left out.
//!
//! # Invariants, and the tests that hold them
//!
//! Unit tests stand beside the code, by name below; files are those of `tests/suite`.
//!
//! 1. The detector has no clock, no randomness, no I/O, no logging; the import table is true and no files of a room know
//!    each other in a circle. *Held by* `tidy.rs`.
//! 2. Same inputs and model, byte-equal effects; alerts and scores also however records are cut into batches. *Held by*
//!    `alerts_do_not_depend_on_how_records_are_cut_into_batches`; `laws.rs`, `golden.rs`, `shock.rs`.
//! 3. Every record ends in exactly one counted outcome; outcomes, polls and offsets agree. *Held by*
//!    `every_record_has_exactly_one_outcome`; `laws.rs`, `mock_cluster.rs`, `demo.rs`.
//! 4. Removing a partition changes nothing in another. Removing one instrument changes no bit of another's scores; of its thresholds only where a total per hour is set.
//!    *Held by* `a_name_on_two_partitions_is_two_instruments_and_neither_knows_the_other`, `other_instruments_change_no_bit_of_a_score`,
//!    `budgets_by_time_hold_for_each_tick_and_only_a_total_couples_instruments`, `evidence_is_the_same_bits_alone_in_a_batch_and_on_every_path`;
//!    `laws.rs`.
//! 5. No offset is committed before every alert and dead letter it covers is acknowledged. *Held by*
//!    `offsets_wait_for_their_own_and_all_earlier_deliveries`, `commit_covers_everything_handed_in_and_comes_last`;
//!    `mock_cluster.rs`.
//! 6. A stop or a rebalance loses no record and no alert that was decided. (State is lost: see above.) *Held by*
//!    `mock_cluster.rs`, `whole_line.rs`.
//!    A partition that is restored from a checkpoint gives what it would have given without, to the bit; damaged snapshots
//!    are errors. *Held by* `restore.rs`.
//! 7. NaN and infinity never leave features or scores. *Held by* `surprise_never_falls_and_stays_within_bounds`,
//!    `wrong_parameters_are_named`; `laws.rs`.
//! 8. Every queue, map and window of the daemon has a cap. *Held by* `every_record_has_exactly_one_outcome`; `laws.rs`.
//! 9. A swap changes weights, transform and tails together, between two batches. *Held by* `laws.rs`,
//!    `mock_cluster.rs`.
//! 10. A challenger takes over only if no measure is worse than its tolerance allows. *Held by* `gate.rs`.
//! 11. What is published fits the schema; its examples do too. *Held by* `schema.rs`.
//! 12. Exit codes and the configuration's errors are as documented; metrics and docs name each other. *Held by*
//!     `cli.rs`, `every_metric_is_in_the_readme_and_no_other`.
//! 13. An alert that opens is published, or counted in a shock that is. *Held by*
//!     `alerts_of_many_instruments_at_once_are_one`, `alert_that_outlives_its_shock_is_one_of_its_own`; `shock.rs`.

// The pure core and what is computed on it.
pub mod inject;
pub mod model;
pub mod pipeline;
pub mod train;

// The edges: Kafka, files, settings, and what is seen from outside.
pub mod config;
pub mod http;
pub mod kafka;
pub mod metrics;
pub mod status;
pub mod store;
pub mod telemetry;

// The daemon.
pub mod daemon;
pub mod learner;
pub mod worker;

// The same detector without a daemon, and everything at once.
pub mod cli;
pub mod demo;
pub mod offline;
