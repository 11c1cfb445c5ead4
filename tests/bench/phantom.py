"""Anatomies made per second on one thread: our phantom against the Python prototype it replaces, each at its own volumes.

Both run alternately in their own process, held to one core, so that a busy machine disturbs both alike. Ours writes its
stream (four arrays) to /dev/null; the prototype hands its two arrays back in memory, nothing is stored. The volumes
differ: the prototype draws two sub-slices a slice, ours gives three; so the ratio is told per volume and per voxel.
Usage: phantom.py [--quick]   (needs scipy; SAGITTA_SHARED names the shared folder with prototypes/train/spinegen.py)
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import history
import numpy
import scipy

SHARED = pathlib.Path(os.environ.get("SAGITTA_SHARED", history.ROOT.parent / "shared"))
PROTOTYPE = SHARED / "prototypes/train"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", history.ROOT / "target"))
ANATOMY = TARGET / "release/anatomy"
RUN_LIMIT_S = 600
# The prototype in a fresh process: seconds and voxels of its volumes, without the start of Python and its imports.
PROTOTYPE_RUN = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import spinegen
first, count = int(sys.argv[2]), int(sys.argv[3])
start, voxels = time.perf_counter(), 0
for seed in range(first, first + count):
    voxels += spinegen.make(seed)["seg"].size
print(json.dumps({"seconds": time.perf_counter() - start, "voxels": voxels}))
"""
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def hold_to_one_core():
    """Runs in the child: both sides get the same single core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def command_output(command, output):
    limits = {"timeout": RUN_LIMIT_S, "check": True, "preexec_fn": hold_to_one_core}
    return subprocess.run(command, stdout=output, env=os.environ | ONE_THREAD, **limits).stdout


def run_prototype(first, count):
    command = [sys.executable, "-c", PROTOTYPE_RUN, str(PROTOTYPE), str(first), str(count)]
    return json.loads(command_output(command, subprocess.PIPE)) | {"volumes": count}


def run_ours(first, count, voxels):
    """The whole process counts: its start is milliseconds."""
    started = time.perf_counter()
    command_output([str(ANATOMY), str(first), str(count)], subprocess.DEVNULL)
    return {"seconds": time.perf_counter() - started, "voxels": voxels, "volumes": count}


def count_voxels(first, count):
    """Voxels of our volumes, read from the stream once and untimed."""
    voxels = 0
    with subprocess.Popen([str(ANATOMY), str(first), str(count)], stdout=subprocess.PIPE) as stream:
        for _ in range(count):
            size = int(numpy.prod(json.loads(stream.stdout.readline())["shape"]))
            stream.stdout.read(4 * size)
            voxels += size
    return voxels


def median_rate(runs, what):
    return statistics.median(run[what] / run["seconds"] for run in runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer volumes, one round")
    quick = parser.parse_args().quick
    if not (PROTOTYPE / "spinegen.py").is_file():
        sys.exit(f"phantom: {PROTOTYPE / 'spinegen.py'} is missing; set SAGITTA_SHARED to the shared folder")
    subprocess.run(["cargo", "build", "--release", "--locked", "-q", "-p", "phantom", "--bins"], check=True)
    # The same seeds each round: how long one takes depends on its region.
    ours_count, prototype_count, rounds = (10, 2, 1) if quick else (20, 4, 5)
    voxels = count_voxels(0, ours_count)
    runs = {"sagitta": [], "prototype": []}
    for _ in range(rounds):
        runs["prototype"].append(run_prototype(0, prototype_count))
        runs["sagitta"].append(run_ours(0, ours_count, voxels))
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    versions = {"numpy": numpy.__version__, "scipy": scipy.__version__, "python": sys.version.split()[0]}
    run = {
        "date": date,
        "command": "tests/bench/run phantom" + (" --quick" if quick else ""),
        "machine": history.machine() | versions,
        "runs": runs,
    }
    path = history.keep(run, "phantom", quick)
    print(f"anatomies at training size, one thread, {rounds} rounds; medians")
    for name, list_of_runs in runs.items():
        rate, mega = median_rate(list_of_runs, "volumes"), median_rate(list_of_runs, "voxels") / 1e6
        size = list_of_runs[0]["voxels"] / list_of_runs[0]["volumes"] / 1e6
        print(f"  {name:9} {rate:6.2f} volumes/s of {size:.2f} M voxels, {mega:7.2f} M voxels/s")
    print(f"raw run: {path}")
    for what in ("volumes", "voxels"):
        ratio = median_rate(runs["sagitta"], what) / median_rate(runs["prototype"], what)
        print(f"ratio phantom.{what} {ratio:.2f}")
    print(f"value phantom.per_second {median_rate(runs['sagitta'], 'volumes'):.2f} 1/s")


main()
