#!/usr/bin/env bash
# Times the quick start alone, beside a busy program and beside itself, as rows of a Markdown table.
#
#     framework/benches/neighbours.sh [SETTING...]        SETTING as in `litesnn run --set`
#
# `before` is what litesnn did: one thread for each core, which spin while they wait. Needs an idle machine.
set -euo pipefail

litesnn=${LITESNN:-$(cargo build --release --quiet --workspace --message-format json | sed -n 's/.*"executable":"\([^"]*\/litesnn\)".*/\1/p')}
cd "$(dirname "$0")/../.."
settings=()
for setting in "$@"; do settings+=(--set "$setting"); done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"; jobs -p | xargs -r kill 2>/dev/null' EXIT
unset OMP_NUM_THREADS OMP_WAIT_POLICY GOMP_SPINCOUNT

run() { # WAYS...: one of before, 1, all, chosen for each run; they run at once
    local pids=() begin end
    begin=$(date +%s.%N)
    for way in "$@"; do
        local runs=$scratch/$RANDOM$RANDOM options=() environment=()
        case $way in
            before) environment=(OMP_WAIT_POLICY=active GOMP_SPINCOUNT=300000) options=(--threads "$(nproc)") ;;
            1) options=(--threads 1) ;;
            all) options=(--threads "$(nproc)") ;;
        esac
        env "${environment[@]}" "$litesnn" run experiments/quickstart.toml --runs "$runs" --device cpu --quiet "${options[@]}" "${settings[@]}" >/dev/null &
        pids+=($!)
    done
    wait "${pids[@]}"
    end=$(date +%s.%N)
    awk "BEGIN { printf \"%.1f s\", $end - $begin }"
}

neighbours() { # COUNT
    for ((i = 0; i < $1; i++)); do (while :; do :; done) & done
}

run 1 >/dev/null # the files are read once
echo '| | before | one thread | all cores | as it chooses |'
echo '|---|---|---|---|---|'
echo "| alone | $(run before) | $(run 1) | $(run all) | $(run chosen) |"
neighbours 1
echo "| beside one busy program | $(run before) | $(run 1) | $(run all) | $(run chosen) |"
kill $(jobs -p); wait 2>/dev/null || true
echo "| two at once | $(run before before) | $(run 1 1) | $(run all all) | $(run chosen chosen) |"
