//! The embedded broker: librdkafka's mock cluster, for the demo and for tests.
//!
//! It listens on loopback, so other programs can join. It keeps 5 MiB per partition and has neither admin calls, look-up
//! by time, real transactions nor compaction.

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// Bytes that the mock cluster keeps per partition (librdkafka's `rd_kafka_mock_partition`); older records are gone.
pub const PARTITION_BYTES: usize = 5 * 1024 * 1024;

/// A broker within this process.
pub struct EmbeddedBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl EmbeddedBroker {
    /// Starts a broker with these topics and partitions.
    ///
    /// # Errors
    /// When librdkafka cannot listen.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, KafkaError> {
        let cluster = MockCluster::new(1)?;
        for (topic, partitions) in topics {
            cluster.create_topic(topic, *partitions, 1)?;
        }
        Ok(EmbeddedBroker { cluster })
    }

    /// Gives the address for clients.
    pub fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Gives the mock itself, for errors to be injected.
    pub fn cluster(&self) -> &MockCluster<'static, DefaultProducerContext> {
        &self.cluster
    }
}
