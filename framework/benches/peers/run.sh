#!/usr/bin/env bash
# Times litesnn beside other programs:
#
#     run.sh lif ...                  a layer of neurons: SpikingJelly, snnTorch
#     run.sh lif --device cuda ...    the same on a GPU
#     run.sh node --device cuda ...   a node of a supernet on a GPU, normalisation and neurons; builds nothing
#     run.sh network ...              a network that is retrained and evaluated: SpikingJelly, snnTorch
#     run.sh engine ...               a trained network that answers: onnxruntime, PyTorch, SpikingJelly; builds no libtorch,
#                                     and has litesnn's own evaluation with --litesnn COMMAND
#
# Further options go to lif.py, lif_cuda.py, node_cuda.py, network.py or engine.py. The libraries go to a virtual environment:
# PEERS_VENV, else ~/.cache/litesnn/peers. On a GPU machine with a Python of its own that has torch, triton and cupy, PEERS_PYTHON
# names it, and only SpikingJelly is fetched, into PEERS_SITES, else ~/.cache/litesnn/peers-cuda; where it is there already, nothing is.
set -euo pipefail
cd "$(dirname "$0")/../../.."
what=${1:-}
case $what in
lif | node | network | engine) shift ;;
*)
    echo "usage: $0 lif|node|network|engine [OPTION]..." >&2
    exit 2
    ;;
esac
cache=${XDG_CACHE_HOME:-$HOME/.cache}/litesnn
venv=${PEERS_VENV:-$cache/peers}
python=$venv/bin/python
here=framework/benches/peers
options=()
case "$what $*" in
lif*--device?cuda* | node*)
    what=${what}_cuda python=${PEERS_PYTHON:-$python}
    options=(--sites "${PEERS_SITES:-$cache/peers-cuda}")
    ;;
esac
if [ "$python" = "$venv/bin/python" ] && [ ! -e "$venv/ready" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
    touch "$venv/ready"
fi
if [ ${#options[@]} -gt 0 ]; then
    # Two versions of one package: each in a folder of its own.
    for site in cupy:0.0.0.0.14 triton:2.0.0; do
        folder=${options[1]}/${site%%:*}
        [ -e "$folder" ] && continue
        "$python" -m pip install --quiet --no-deps --target "$folder.partial" "spikingjelly==${site##*:}" loguru
        mv -T "$folder.partial" "$folder"
    done
    "$python" -c 'import cupy, triton' 2>/dev/null || "$python" -m pip install --quiet cupy-cuda13x triton
fi
if [ "$what" = node_cuda ]; then
    exec "$python" "$here/node_cuda.py" "${options[@]}" "$@"
fi
release=${CARGO_TARGET_DIR:-target}/release
if [ "$what" = engine ]; then
    cargo build --release --quiet -p litesnn-engine -p litesnn-exchange --examples
    exec "$python" "$here/engine.py" --examples "$release/examples" "$@"
fi
cargo build --release --workspace --quiet
exec "$python" "$here/$what.py" --litesnn "$release/litesnn" "${options[@]}" "$@"
