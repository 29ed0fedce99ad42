//! Which librdkafka properties are ours, and which of the user's we cannot work with.
//!
//! A property that would break a promise of the daemon is refused by name before anything starts, and so is a secret that
//! stands where it can be read. Everything else is passed through.

use std::collections::BTreeMap;

/// A property that is not the user's to set.
struct Owned {
    property: &'static str,
    /// The one value that is taken, since it is ours.
    ours: Option<&'static str>,
    why: &'static str,
}

const fn owned(property: &'static str, ours: Option<&'static str>, why: &'static str) -> Owned {
    Owned { property, ours, why }
}

const OWNED: &[Owned] = &[
    owned("bootstrap.servers", None, "set kafka.brokers in its place"),
    owned("metadata.broker.list", None, "set kafka.brokers in its place"),
    owned("group.id", None, "set kafka.group in its place"),
    owned("auto.offset.reset", None, "set input.start in its place"),
    owned(
        "enable.auto.commit",
        Some("false"),
        "an offset is committed once its alerts are delivered",
    ),
    owned(
        "enable.auto.offset.store",
        Some("false"),
        "an offset is committed once its alerts are delivered",
    ),
    owned(
        "statistics.interval.ms",
        Some("1000"),
        "lag, /livez and /readyz rest on these statistics",
    ),
    owned(
        "enable.partition.eof",
        Some("false"),
        "nothing is done at the end of a partition",
    ),
    owned(
        "delivery.report.only.error",
        Some("false"),
        "an offset is committed once its alerts are delivered",
    ),
    owned("transactional.id", None, "alerts are not sent in transactions"),
];

/// Properties whose value is a secret.
const SECRET: [&str; 7] = [
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "ssl.truststore.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.client.credentials.client.secret",
];

/// Gives what is wrong with the properties of one table: the property, and what to do.
pub(super) fn problems(table: &BTreeMap<String, String>) -> Vec<(&str, String)> {
    let mut problems = Vec::new();
    for (property, value) in table {
        problems.extend(problem_of(property, Some(value)).map(|text| (property.as_str(), text)));
        if SECRET.contains(&property.as_str()) {
            let text = "a secret does not belong here; write it to a file, and set the file's path under this name in \
                        kafka.secret_files";
            problems.push((property, text.into()));
        }
    }
    problems
}

/// Says why a property is not the user's to set.
pub(super) fn problem_of(property: &str, value: Option<&str>) -> Option<String> {
    let owned = OWNED.iter().find(|owned| owned.property == property)?;
    let is_ours = owned.ours.is_some() && owned.ours == value;
    (!is_ours).then(|| format!("tapewatch sets this property itself: {}", owned.why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(property: &str, value: &str) -> Option<String> {
        let table = [(property.to_string(), value.to_string())].into();
        problems(&table).pop().map(|(_, text)| text)
    }

    #[test]
    fn properties_that_break_a_promise_are_refused_unless_they_say_what_we_say() {
        for (property, value) in [
            ("enable.auto.commit", "true"),
            ("statistics.interval.ms", "0"),
            ("auto.offset.reset", "latest"),
            ("delivery.report.only.error", "true"),
        ] {
            assert!(of(property, value).is_some(), "{property}");
        }
        assert!(of("bootstrap.servers", "b:9092").unwrap().contains("kafka.brokers"));
        assert_eq!(of("enable.auto.commit", "false"), None);
        assert_eq!(of("session.timeout.ms", "10000"), None);
    }

    #[test]
    fn a_secret_in_the_configuration_is_refused_and_not_told() {
        let text = of("sasl.password", "hunter2").unwrap();
        assert!(
            text.contains("kafka.secret_files") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
