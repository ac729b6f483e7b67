#!/usr/bin/env python3
"""Packs a built litesnn program into a wheel.

usage: experiments/python/pack.py PROGRAM --out FOLDER

The wheel holds the program, a launcher that finds torch, and the manifests, designs and data of experiments/. Its tag says what the
program really needs: it is the newest glibc among the symbols that the program asks for. The path of the wheel is printed on stdout.

No tool for wheels takes a program that is built already and puts it where its torch will lie, beside the launcher: maturin would build
it again, with other features of its dependencies, and put it into bin/.
"""

import argparse
import base64
import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent / "litesnn"
CLONE = PACKAGE.parents[2]
EXPERIMENTS = CLONE / "experiments"
# The first entry of build.rs. What follows it is this machine's.
RPATH = b"$ORIGIN/../torch/lib"
# What the libraries of RHEL 8, the reference of manylinux_2_28, have.
NEWEST = {"GLIBCXX": (3, 4, 25), "CXXABI": (1, 3, 11), "GCC": (8, 0, 0), "GOMP": (4, 5), "OMP": (4, 5)}
# The oldest date that a zip file can hold: the same program makes the same wheel.
DATE = (1980, 1, 1, 0, 0, 0)


def fail(message):
    sys.exit(f"pack.py: error: {message}")


def first(pattern, file):
    found = re.search(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)
    return found.group(1) if found else fail(f"{file} is not as this script expects it: no {pattern}")


def run(*command):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        fail(f"{error}: {getattr(error, 'stderr', '')}\n  hint: on Debian, `apt-get install binutils`")


def needed_versions(program):
    """The newest version of each family of symbols that a program needs: {"GLIBC": (2, 28)}."""
    newest = {}
    needs = run("readelf", "--version-info", "--wide", program).partition("Version needs section")[2]
    for family, numbers in re.findall(r"Name: ([A-Z]+)_([0-9.]+)", needs):
        newest[family] = max(newest.get(family, ()), tuple(map(int, numbers.split("."))))
    return newest


def platform(program):
    """The tag of what a program runs on."""
    needed = needed_versions(program)
    glibc = max(needed.get("GLIBC", (2, 28)), (2, 28))  # libtorch needs this itself
    for family, known in NEWEST.items():
        found = needed.get(family, ())
        # A system with a newer glibc has a newer libstdc++; which one is not said anywhere.
        if glibc == (2, 28) and found > known:
            fail(f"{program} needs {family}_{'.'.join(map(str, found))}, and a system of glibc 2.28 has "
                 f"{'.'.join(map(str, known))}; glibcxx.cpp is the place for what is missing")
    return f"manylinux_{glibc[0]}_{glibc[1]}_x86_64"


def stripped(program):
    """The program without symbols, and without the place of this machine's libtorch."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "litesnn"
        run("strip", "-o", str(copy), program)
        content = bytearray(copy.read_bytes())
        if content.count(RPATH + b":") != 1:
            fail(f"{program} does not look for libtorch in {RPATH.decode()} first")
        begin = content.index(RPATH + b":") + len(RPATH)
        end = content.index(b"\0", begin)
        content[begin:end] = bytes(end - begin)
        copy.write_bytes(content)
        if f"[{RPATH.decode()}]" not in run("readelf", "--dynamic", str(copy)):
            fail(f"{program} keeps another place of libtorch")
    return bytes(content)


def bundled():
    """Manifests, designs and data."""
    for pattern in ("*.toml", "paper/*.toml", "compared/*.toml", "designs/*.toml", "data/**/*"):
        for file in sorted(EXPERIMENTS.glob(pattern)):
            if file.is_file():
                yield f"litesnn/experiments/{file.relative_to(EXPERIMENTS)}", file.read_bytes()


def metadata(version, torch):
    description = first(r'^description = "(.*)"', CLONE / "Cargo.toml")
    return (
        "Metadata-Version: 2.4\n"
        "Name: litesnn\n"
        f"Version: {version}\n"
        f"Summary: {description}\n"
        "License-Expression: MIT\n"
        "License-File: LICENSE\n"
        "Requires-Python: >=3.10\n"
        f"Requires-Dist: torch=={torch}.*\n"
        "Description-Content-Type: text/markdown\n\n"
        "    pip install litesnn\n    litesnn run quickstart\n    litesnn report\n"
    )


def contents(program, tag):
    """Names and contents of the files of a wheel, and the version in its name."""
    version = first(r'^version = "(.*)"', CLONE / "Cargo.toml")
    torch = first(r"^readonly version=(\d+\.\d+)", EXPERIMENTS / "setup-libtorch")
    files = {f"litesnn/{file.name}": file.read_bytes() for file in sorted(PACKAGE.glob("*.py"))}
    built_with = f'"""Written by pack.py."""\n\n# The release of torch whose libtorch the program was built with.\nTORCH = "{torch}"\n'
    files["litesnn/built_with.py"] = built_with.encode()
    files["litesnn/litesnn"] = stripped(program)
    files.update(bundled())
    information = f"litesnn-{version}.dist-info"
    files[f"{information}/METADATA"] = metadata(version, torch).encode()
    files[f"{information}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: litesnn ({version})\nRoot-Is-Purelib: false\nTag: {tag}\n"
    ).encode()
    files[f"{information}/entry_points.txt"] = b"[console_scripts]\nlitesnn = litesnn.__main__:main\n"
    files[f"{information}/licenses/LICENSE"] = (CLONE / "LICENSE").read_bytes()
    record = f"{information}/RECORD"
    digest = lambda content: base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    lines = [f"{name},sha256={digest(content)},{len(content)}" for name, content in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    return files, version


def pack(program, out):
    tag = f"py3-none-{platform(program)}"
    files, version = contents(program, tag)
    out.mkdir(parents=True, exist_ok=True)
    wheel = out / f"litesnn-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if name == "litesnn/litesnn" else 0o100644) << 16
            archive.writestr(entry, content)
    return wheel


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    print(pack(arguments.program, arguments.out))
