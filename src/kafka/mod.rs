//! The Kafka room: client settings, the source of records, the sink of alerts and dead letters, reading back, and the
//! embedded broker.
//!
//! Imports `pipeline` alone. Everything that rdkafka calls back ends here: the rest of the program sees plain data.

pub mod alert_record;
mod begin;
pub mod changelog;
pub mod client;
mod committer;
pub mod embedded;
pub mod error;
pub mod feeder;
mod health;
pub mod history;
pub mod ledger;
pub mod outgoing;
mod positions;
pub mod probe;
mod properties;
pub mod reach;
pub mod sink;
pub mod source;
pub mod topics;
pub mod transactions;
pub mod trouble;
pub mod version;
