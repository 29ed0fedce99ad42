//! What `--version` tells: of what a program is made that somebody reports a problem with.

use std::sync::LazyLock;

use crate::kafka::version::{librdkafka_features, librdkafka_version};
use crate::model::kernel::simd::Path;

/// Gives the version, the commit, librdkafka with what it can, and the instruction set that scores here.
pub fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("TAPEWATCH_COMMIT"));
        let librdkafka = librdkafka_version();
        let tls = match (cfg!(feature = "ssl"), cfg!(feature = "ssl-vendored")) {
            (_, true) => "yes, by an OpenSSL that was built along",
            (true, false) => "yes, by the system's OpenSSL",
            (false, false) => "no",
        };
        let features = librdkafka_features();
        let scores_with = Path::best();
        format!(
            "{version}\ncommit           {commit}\nlibrdkafka       {librdkafka} ({features})\nTLS              {tls}\n\
             instruction set  {scores_with}"
        )
    });
    &TEXT
}
