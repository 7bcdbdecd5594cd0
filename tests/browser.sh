#!/usr/bin/env bash
# Calls functions from a page of another origin in a real headless Chromium: typed calls, streams, an upload, an image,
# credentials; and from an origin that is not listed. Writes a screenshot of the page.
#
# usage: [METAGATE=target/debug/metagate] tests/browser.sh SCREENSHOT.png
#
# As root it installs what is missing with apt: chromium, nodejs, python3.
set -euo pipefail
screenshot=$(realpath -m "${1:?usage: tests/browser.sh SCREENSHOT.png}")
metagate=$(realpath "${METAGATE:-$(dirname "$0")/../target/debug/metagate}")
cd "$(dirname "$0")/browser"
[ -x "$metagate" ] || { echo "$metagate is missing: cargo build --locked, or set METAGATE" >&2; exit 1; }

missing=()
command -v chromium > /dev/null || missing+=(chromium)
command -v node > /dev/null || missing+=(nodejs)
command -v python3 > /dev/null || missing+=(python3)
if [ ${#missing[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] || { echo "missing: ${missing[*]}" >&2; exit 1; }
    apt-get update -q > /dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}" > /dev/null
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r . "$folder"
node run.mjs "$metagate" "$(command -v chromium)" "$screenshot" "$folder"
