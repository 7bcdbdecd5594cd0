#!/usr/bin/env bash
# Starts three NATS servers and three gateways on this machine, and stops them on Ctrl-C.
# NATS_SERVER and METAGATE name the programs where they are not on the PATH.
set -euo pipefail
cd "$(dirname "$0")"
nats=${NATS_SERVER:-nats-server} metagate=${METAGATE:-metagate}
for program in "$nats" "$metagate"; do
  command -v "$program" >/dev/null || { echo "$program is not installed: see README.md" >&2; exit 1; }
done
mkdir -p run
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null; wait' EXIT
trap 'exit 0' INT TERM

for n in 0 1 2; do
  export NATS_NAME=n$n NATS_LISTEN=127.0.0.1:$((4222 + n)) NATS_ROUTE=127.0.0.1:$((6222 + n)) NATS_STORE=run/n$n
  "$nats" -c nats.conf >>"run/n$n.log" 2>&1 &
done
for n in 0 1 2; do
  NODE=g$n PORT=$((9100 + n)) "$metagate" serve metagate.toml >>"run/g$n.log" 2>&1 &
done
for n in 0 1 2; do
  until "$metagate" cluster status --url "http://127.0.0.1:$((9100 + n))" >/dev/null 2>&1; do
    kill -0 $(jobs -p) 2>/dev/null || { echo "a program has ended: see examples/cluster/run/*.log" >&2; exit 1; }
    sleep 0.2
  done
done
echo "gateways: http://127.0.0.1:9100, :9101, :9102 (logs in examples/cluster/run); Ctrl-C stops them"
wait
