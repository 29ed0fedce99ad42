#!/usr/bin/env bash
# Every check of the project: format, lints, tests, docs, deployment files. One command, here and in CI.
#
# Needs a Rust compiler. The rest comes from Debian's packages where this may install them (root and apt-get); else what
# is missing is named, and in CI (CI=true) that is a failure. TAPEWATCH_TEST_BROKERS names a Kafka cluster to test on in
# place of one that is started here. Everything is built with the release profile, so that dependencies are built once.
set -euo pipefail
cd "$(dirname "$0")/.."

is_ci() { [[ "${CI:-}" == true ]]; }
has() { command -v "$1" >/dev/null 2>&1; }
step() { printf '\n== %s\n' "$*"; }

updated=
# Installs packages, if this may; tells whether it did.
install() {
    [[ "$(id -u)" == 0 ]] && has apt-get || return 1
    if [[ -z "$updated" ]]; then
        apt-get -qq update >/dev/null && updated=1 || return 1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null 2>&1
}

# need PURPOSE PROGRAM PACKAGE…: the first package that gives the program.
need() {
    local purpose=$1 program=$2
    shift 2
    has "$program" && return 0
    for package in "$@"; do
        if install "$package" && has "$program"; then return 0; fi
    done
    echo "missing: $program (Debian: $1), for $purpose" >&2
    return 1
}

# The system's OpenSSL, that librdkafka is built with.
need_openssl() {
    pkg-config --exists openssl && return 0
    if install libssl-dev && pkg-config --exists openssl; then return 0; fi
    echo "missing: headers of OpenSSL (Debian: libssl-dev), for TLS and SCRAM" >&2
    return 1
}

# In CI everything is needed; elsewhere what is missing is left out.
need_or_skip() { need "$@" || ! is_ci || exit 1; }

step tools
has cargo || { echo "missing: cargo; see https://rustup.rs" >&2; exit 1; }
need "building librdkafka" make build-essential
need "building librdkafka" g++ build-essential
need "finding OpenSSL" pkg-config pkgconf pkg-config
need_openssl
need_or_skip "the tests on a real Kafka" java openjdk-21-jre-headless openjdk-17-jre-headless default-jre-headless
need_or_skip "the tests on a real Kafka" mvn maven
need "checking the alert rules and the dashboard" promtool prometheus || true
need "checking the routes of alerts" amtool prometheus-alertmanager || true
need "checking the systemd unit" systemd-analyze systemd || true
need "checking the compose file" docker-compose docker-compose || true
need "checking the dashboard" python3 python3-minimal || true

step format
cargo fmt --check

step lints
cargo clippy --release --all-targets --locked -- -D warnings

step tests
cargo test --release --locked

step docs
RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --locked

step "deployment files"
if has promtool; then
    promtool check config deploy/prometheus/prometheus.yml
    promtool test rules deploy/prometheus/alerts_test.yml
fi
if has amtool; then
    amtool check-config deploy/alertmanager/alertmanager.yml
fi
if has docker-compose; then
    docker-compose -f docker-compose.yml config -q
    docker-compose -f docker-compose.yml --profile replay config -q
fi
if has python3; then
    for dashboard in deploy/grafana/dashboards/*.json; do
        python3 -m json.tool "$dashboard" >/dev/null
    done
fi

step "all checks passed"
