#!/usr/bin/env bash
# Times litesnn's LIF layer beside SpikingJelly's and snnTorch's; options go to lif.py.
# The libraries go to a virtual environment: PEERS_VENV, else ~/.cache/litesnn/peers.
set -euo pipefail
cd "$(dirname "$0")/../../.."
venv=${PEERS_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/litesnn/peers}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --requirement framework/benches/peers/requirements.txt
fi
cargo build --release --workspace --quiet
exec "$venv/bin/python" framework/benches/peers/lif.py \
    --litesnn "${CARGO_TARGET_DIR:-target}/release/litesnn" "$@"
