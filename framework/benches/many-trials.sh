#!/usr/bin/env bash
# Times `plan`, a `run` of which everything is there, `runs` and `report` as the number of trials grows, with peak memory, as rows of a
# Markdown table.
#
#     framework/benches/many-trials.sh [PLANNED] [FINISHED]     20000 and 2000 without numbers
#
# The trials of the second number are trained, by a network of one convolution on twenty images. Needs an idle machine.
set -euo pipefail

litesnn=${LITESNN:-$(cargo build --release --quiet --workspace --message-format json | sed -n 's/.*"executable":"\([^"]*\/litesnn\)".*/\1/p')}
planned=${1:-20000} finished=${2:-2000}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

manifest() { # COUNT
    cat <<TOML
extends = "quickstart"
variant = []
compressor = []
timesteps.fixed.steps = 1
space.layers.layers = [{ conv = 2, stride = 4 }, { classifier = 1 }]
dataset.fashion-mnist = { train = 20, validation = 10, test = 10 }
retrain = { epochs = 1, batch_size = 20 }
experiment = { name = "many", seeds = [0] }
[sweep]
"retrain.learning_rate" = [$(seq -f '0.1%06g' -s ', ' "$1")]
TOML
}

timed() { # COMMAND...: its seconds and its peak memory
    /usr/bin/time -f '%e s, %M kB' -o time "$@" >/dev/null 2>errors || { cat errors >&2; exit 1; }
    tail -n 1 time
}

echo '| trials | command | time, peak memory |'
echo '|---|---|---|'
for count in $((planned / 10)) "$planned"; do
    manifest "$count" >"planned.toml"
    echo "| $count | plan, nothing there | $(timed "$litesnn" plan planned.toml --runs empty --device cpu) |"
done
for count in $((finished / 10)) "$finished"; do
    manifest "$count" >many.toml
    "$litesnn" run many.toml --device cpu --threads 1 --quiet >/dev/null
    for command in 'plan many.toml --device cpu' 'run many.toml --device cpu --threads 1 --quiet' 'runs' 'report runs/many'; do
        # shellcheck disable=SC2086
        echo "| $count | $command | $(timed "$litesnn" $command) |"
    done
done
