"""Starts the program beside this file with the libtorch of this environment.

The program looks in `../torch/lib` first: there torch lies where pip has put both into one folder, as in a virtual environment, with
`--user`, with `--target` and under pipx. Where torch lies elsewhere (an environment that shares the packages of the system), it is
found here, and LD_LIBRARY_PATH tells the program. A libtorch of another version is never taken: the program would end with undefined
symbols, or worse.
"""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from .built_with import TORCH

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "litesnn"


def find_torch():
    """The folder of torch and whether the program finds it by itself; nothing where there is none."""
    beside = HERE.parent / "torch"
    if beside.is_dir():
        return beside, True
    # Not imported: that would take seconds. A folder of the user that is called torch is no package.
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent, False


def fault(torch):
    """What makes a torch the wrong one; nothing where it is right."""
    try:
        text = (torch / "version.py").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"__version__ *= *['\"](\d+\.\d+)([^'\"]*)", text)
    if found is None:
        return f"{torch} does not say which version it is"
    if found.group(1) != TORCH:
        return f"{torch} is torch {found.group(1)}{found.group(2)}"
    if not (torch / "lib" / "libtorch_cpu.so").exists():
        return f"{torch} has no lib/libtorch_cpu.so, which the wheels of PyTorch have"
    return None


def fail(message):
    print(f"litesnn: error: this program needs torch {TORCH}, and {message}", file=sys.stderr)
    print(f"  hint: {sys.executable} -m pip install 'torch=={TORCH}.*'", file=sys.stderr)
    sys.exit(1)


def main():
    found = find_torch()
    if found is None:
        fail(f"{sys.executable} has no torch")
    torch, by_itself = found
    message = fault(torch)
    if message is not None:
        fail(message)
    if not by_itself:
        others = os.environ.get("LD_LIBRARY_PATH")
        os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, [str(torch / "lib"), others]))
    os.execv(PROGRAM, ["litesnn", *sys.argv[1:]])


if __name__ == "__main__":
    main()
