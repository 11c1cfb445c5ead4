"""The stages after the semantic net: ours against SPINEPS' own code, with networks that answer with the truth.

Each case of the reference runs in turn in a process of its own, SPINEPS 2.1.3 by the shared folder's peer script (networks
mocked, their time subtracted) and ours by the example `post` under the rules that follow it. Both masks must be equal
voxel for voxel. Memory is the largest resident size of the whole process, on SPINEPS' side with Python and its imports.
Usage: post.py [--quick]   (SAGITTA_SHARED names the shared folder with peers/spineps_post.py and reference/spineps)
"""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import history
import peers
import numpy

SHARED = pathlib.Path(os.environ.get("SAGITTA_SHARED", history.ROOT.parent / "shared"))
PEER = SHARED / "peers/spineps_post.py"
CASES = SHARED / "reference/spineps"
OURS = peers.TARGET / "release/examples/post"
RUN_LIMIT_S = 600
# So many runs of ours make one round: one takes a fraction of a second.
OUR_RUNS = 7
WHOLE_SPINE = "whole_spine"


def measured(command):
    """Standard output of a command, and its largest resident size in MiB."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        limit = time.monotonic() + RUN_LIMIT_S
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > limit:
                process.kill()
            time.sleep(0.01)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            sys.exit(f"post: {command[0]} failed: {errors.read().decode()[-1000:]}")
        return output.read().decode(), usage.ru_maxrss / 1024


def run_peer(python, case, folder):
    saved = folder / "peer.npz"
    text, memory = measured([str(python), str(PEER), str(case), "--repeat", "1", "--save", str(saved)])
    told = json.loads(text)
    return {"seconds": [told["median_s"]["sum_cpu"]], "stages_s": told["median_s"], "peak_mib": memory}


def run_ours(folder, runs):
    text, memory = measured([str(OURS), str(folder), str(runs)])
    return json.loads(text) | {"peak_mib": memory}


def write_case(case, folder):
    """The arrays as our example reads them: bytes, first axis fastest."""
    arrays = numpy.load(case)
    own = [*arrays["seg"].shape, *arrays["zoom"].tolist()]
    native = own
    if "native_shape" in arrays.files:
        native = [*arrays["native_shape"].tolist(), *arrays["native_zoom"].tolist()]
    (folder / "case").write_text(" ".join(str(number) for number in [*own, *native]) + "\n")
    for name in ("seg", "truth"):
        (folder / name).write_bytes(arrays[name].astype(numpy.uint8).tobytes(order="F"))


def differing(folder):
    """Voxels of both masks in which ours and SPINEPS' differ."""
    peer = numpy.load(folder / "peer.npz")
    count = 0
    for ours, theirs, kind in (("semantic", "seg_out", numpy.uint8), ("vertebrae", "vert_out", "<u2")):
        want = peer[theirs]
        got = numpy.fromfile(folder / ours, dtype=kind).reshape(want.shape, order="F")
        count += int((got != want).sum())
    return count


def bench(case, python, rounds):
    runs = {"spineps": [], "sagitta": []}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_case(case, folder)
        for _ in range(rounds):
            runs["spineps"].append(run_peer(python, case, folder))
            runs["sagitta"].append(run_ours(folder, OUR_RUNS))
        unequal = differing(folder)
    if unequal:
        sys.exit(f"post: {case.stem}: {unequal} voxels differ from SPINEPS'")
    return runs


def median_seconds(runs):
    return statistics.median(seconds for run in runs for seconds in run["seconds"])


def peak(runs):
    return max(run["peak_mib"] for run in runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round")
    quick = parser.parse_args().quick
    cases = sorted(CASES.glob("timing_*.npz"))
    if not PEER.is_file() or not cases:
        sys.exit(f"post: {PEER} or the cases in {CASES} are missing; set SAGITTA_SHARED to the shared folder")
    build = ["cargo", "build", "--release", "--locked", "-q", "-p", "pipeline", "--example", "post"]
    subprocess.run(build, check=True)
    python, rounds = peers.python("venv-spineps", "requirements-spineps.txt", dependencies=False), 1 if quick else 3
    runs = {case.stem.removeprefix("timing_"): bench(case, python, rounds) for case in cases}
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    pins = peers.pins("requirements-spineps.txt")
    run = {
        "date": date,
        "command": "tests/bench/run post" + (" --quick" if quick else ""),
        "machine": history.machine() | {"python": sys.version.split()[0]},
        "peer": pins,
        "runs": runs,
    }
    path = history.keep(run, "post", quick)
    print(f"from the class map to both masks and centroids, masks equal to SPINEPS', {rounds} rounds; medians")
    for name, sides in runs.items():
        for side, list_of_runs in sides.items():
            seconds, memory = median_seconds(list_of_runs), peak(list_of_runs)
            print(f"  {name:24} {side:9} {seconds:8.3f} s  {memory:7.0f} MiB at the peak")
    print(f"raw run: {path}")
    for name, sides in runs.items():
        print(f"ratio post.{name} {median_seconds(sides['spineps']) / median_seconds(sides['sagitta']):.1f}")
    print(f"value post.whole_spine_seconds {median_seconds(runs[WHOLE_SPINE]['sagitta']):.3f} s")
    memory = min(peak(sides["spineps"]) / peak(sides["sagitta"]) for sides in runs.values())
    print(f"ratio post.memory {memory:.2f}")


main()
