//! Which librdkafka is at work, and what it was built with.

use rdkafka::config::ClientConfig;

/// Gives librdkafka's version.
pub fn librdkafka_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}

/// Gives what librdkafka was built with, such as `ssl` and `sasl_scram`, separated by commas.
pub fn librdkafka_features() -> String {
    let settings = ClientConfig::new().create_native_config();
    let features = settings.and_then(|settings| settings.get("builtin.features"));
    features.unwrap_or_else(|_| "unknown".into())
}
