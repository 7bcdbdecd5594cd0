#!/usr/bin/env bash
# Runs targets of cargo-fuzz one after another, each for some seconds, and prints what each has done.
#
# usage: fuzz/run.sh SECONDS [TARGET…]      default: all targets
#
# Works with the stable toolchain, without a sanitizer: the gateway has no unsafe code of its own, and panics, failed
# assertions, hangs and memory are found without one. RUSTC_BOOTSTRAP lets cargo-fuzz pass the flags that it wants.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
seconds=${1:?SECONDS [TARGET…]}
shift
export RUSTC_BOOTSTRAP=1
cargo fuzz build --sanitizer none
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
failed=0
for target in "${targets[@]}"; do
    printf '\n== %s\n' "$target"
    mkdir -p "corpus/$target" "artifacts/$target"
    log=artifacts/$target.log
    # New inputs are written to the first folder only: the seeds stay as they are.
    if cargo fuzz run --sanitizer none "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 >"$log" 2>&1; then
        grep -E 'DONE|stat::' "$log"
    else
        failed=1
        grep -E 'panicked|SUMMARY|Test unit' "$log" || tail -n 20 "$log"
    fi
done
exit $failed
