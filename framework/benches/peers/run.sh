#!/usr/bin/env bash
# Times litesnn beside SpikingJelly and snnTorch: `run.sh lif ...` a layer of neurons, `run.sh network ...` a network that is retrained
# and evaluated; further options go to lif.py or network.py.
# The libraries go to a virtual environment: PEERS_VENV, else ~/.cache/litesnn/peers.
set -euo pipefail
cd "$(dirname "$0")/../../.."
what=${1:-}
case $what in
lif | network) shift ;;
*)
    echo "usage: $0 lif|network [OPTION]..." >&2
    exit 2
    ;;
esac
venv=${PEERS_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/litesnn/peers}
if [ ! -e "$venv/ready" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --requirement framework/benches/peers/requirements.txt
    touch "$venv/ready"
fi
cargo build --release --workspace --quiet
exec "$venv/bin/python" "framework/benches/peers/$what.py" \
    --litesnn "${CARGO_TARGET_DIR:-target}/release/litesnn" "$@"
