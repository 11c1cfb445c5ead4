"""Peers from PyPI, in Python environments of their own: they and their NumPy are no others' business."""

import os
import pathlib
import subprocess
import sys
import venv

import history

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", history.ROOT / "target"))
INSTALL_LIMIT_S = 900


def pins(requirements="requirements.txt"):
    """The packages of a list of this folder, with their versions."""
    lines = (history.ROOT / "tests/bench" / requirements).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def python(environment="venv-bench", requirements="requirements.txt", dependencies=True):
    """The interpreter of an environment that has the packages of a list, made when the list has changed. Wheels only: nothing
    is built. Without `dependencies` the list says all that is needed."""
    folder = TARGET / environment
    done, wanted = folder / "installed.txt", "\n".join(pins(requirements))
    if not done.is_file() or done.read_text() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        install = [str(folder / "bin/python"), "-m", "pip", "install", "-q", "--only-binary=:all:"]
        if not dependencies:
            install.append("--no-deps")
        subprocess.run(install + pins(requirements), check=True, timeout=INSTALL_LIMIT_S)
        done.write_text(wanted)
    return folder / "bin/python"


def enter():
    """Starts the running script again under the peers' Python, unless it is that one."""
    interpreter = python()
    if pathlib.Path(sys.prefix).resolve() != interpreter.parent.parent.resolve():
        os.execv(interpreter, [str(interpreter), *sys.argv])
