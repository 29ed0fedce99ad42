//! The examples that stand below the help of each command.

pub const ALL: &str = "\
Examples:
  tapewatch demo                                          see everything at once, without Kafka
  tapewatch init                                          write tapewatch.toml to begin with
  tapewatch check --config tapewatch.toml --connect       is it sound, and does the broker agree?
  tapewatch run --config tapewatch.toml                   watch your ticks
  tapewatch run --brokers localhost:9092 --topic ticks    the same without a file";

pub const RUN: &str = "\
Examples:
  tapewatch run --config tapewatch.toml
  tapewatch run --brokers localhost:9092 --topic ticks
  TAPEWATCH__INPUT__START=latest tapewatch run --brokers localhost:9092 --topic trades --topic quotes";

pub const DEMO: &str = "\
Examples:
  tapewatch demo
  tapewatch demo --ticks recorded/                        your ticks, with injected faults
  tapewatch demo --keep-running --listen 127.0.0.1:9464   something for Prometheus to scrape";

pub const INIT: &str = "\
Examples:
  tapewatch init
  tapewatch init --brokers broker-1:9092 --topic trades /etc/tapewatch/tapewatch.toml
  tapewatch init -                                        to stdout";

pub const CHECK: &str = "\
Examples:
  tapewatch check --config tapewatch.toml
  tapewatch check --config tapewatch.toml --connect       topics, rights, limits, one record
  tapewatch check --defaults                              every key, explained";

pub const TRAIN: &str = "\
Examples:
  tapewatch train --ticks recorded/ --output models/model-000001.safetensors";

pub const BACKTEST: &str = "\
Examples:
  tapewatch backtest --train past/ --test later/ --report result.html
  tapewatch backtest --train past/ --test later/ --labels labels.csv --json
  tapewatch backtest --train past/ --test later/ --model model-000007.safetensors --alerts alerts.csv";

pub const REPLAY: &str = "\
Examples:
  tapewatch replay recorded/ --brokers localhost:9092 --topic ticks
  tapewatch replay ACME-2024-01-02.csv.gz ACME-2024-01-03.csv.gz --speed 10";

pub const GENERATE: &str = "\
Examples:
  tapewatch generate --brokers localhost:9092 --topic ticks
  tapewatch generate --no-faults --ticks-per-sec 1000 --seconds 60";

pub const MODELS: &str = "\
Examples:
  tapewatch models show models/model-000007.safetensors
  tapewatch models export models/model-000007.safetensors --output weights.safetensors";

pub const COMPLETIONS: &str = "\
Examples:
  tapewatch completions bash > /usr/share/bash-completion/completions/tapewatch
  tapewatch completions zsh > ~/.zfunc/_tapewatch";

pub const MAN: &str = "\
Examples:
  tapewatch man | man -l -
  tapewatch man /usr/local/share/man/man1";
