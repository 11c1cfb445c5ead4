"""Raw runs of benchmarks: what they were measured on, and where they are kept."""

import json
import os
import pathlib
import platform
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def machine():
    """What the figures belong to: processor, cores, load, system, commit."""
    info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown")
    git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load_1_min": os.getloadavg()[0],
        "system": platform.platform(),
        "commit": commit,
    }


def keep(run, name, quick):
    """Writes the raw run: full ones to the history, quick ones to the ignored folder."""
    folder = ROOT / "tests/bench" / ("out" if quick else "runs")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run['date'][:10]}-{name}.json"
    # A list of numbers is one line.
    text = re.sub(r"\[[\s\d.,eE+-]+\]", lambda found: " ".join(found[0].split()), json.dumps(run, indent=1))
    path.write_text(text + "\n")
    return path.relative_to(ROOT)
