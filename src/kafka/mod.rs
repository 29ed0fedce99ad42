//! The Kafka room: client settings, the source of records, the sink of alerts and dead letters, reading back, and the
//! embedded broker.
//!
//! Imports `pipeline` alone. Everything that rdkafka calls back ends here: the rest of the program sees plain data.

pub mod alert_record;
pub mod client;
pub mod embedded;
pub mod feeder;
pub mod history;
pub mod ledger;
pub mod sink;
pub mod source;
