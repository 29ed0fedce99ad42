#!/bin/bash
# The container's health check: asks the daemon's /livez. The image has no HTTP client, but bash can speak to a port. A
# container that runs another command than the daemon (train, replay, backtest) serves nothing and counts as well.
set -u

# The first process of the container; another one may be named for a test.
tr '\0' '\n' <"${TAPEWATCH_HEALTH_CMDLINE:-/proc/1/cmdline}" | grep -qx run || exit 0

port=${TAPEWATCH__HTTP__LISTEN:-0.0.0.0:9464}
port=${port##*:}
exec 3<>"/dev/tcp/127.0.0.1/$port" || exit 1
printf 'GET /livez HTTP/1.0\r\n\r\n' >&3
read -r -t 4 status <&3 || exit 1
[[ $status == 'HTTP/1.'?' 200 '* ]]
