"""Connected components of label maps: ours against cc3d (connected-components-3d, C++), one thread each, equal partitions.

Both label the same bytes in turn, each in a process of its own, with 6, 18 and 26 neighbours. What counts is processor time of
the labelling call alone, memory for its result included: cc3d's `connected_components` on a uint8 array against our
`label`, and, as `_runs`, against our `pieces`, which tells the same components without a volume of their numbers. Partitions
are compared first. Memory is as the allocators give it: numpy asks for huge pages by itself, Rust's does not.
Usage: components.py [--quick]
"""

import argparse
import datetime
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import history
import peers

OURS = peers.TARGET / "release/examples/components_speed"
PHANTOM = peers.TARGET / "release/examples/dump"
RUN_LIMIT_S = 600
CONNECTIVITIES = (6, 18, 26)
# Labellings in each process of a round.
RUNS = 5
# Makes the inputs from the phantom's, and tells their counts: bytes, i fastest, in files of their names.
MAKE = """
import json, pathlib, sys
import numpy
folder = pathlib.Path(sys.argv[1])
random = numpy.random.default_rng(1)
def phantom(name):
    counts = json.loads((folder / f"{name}.json").read_text())["counts"]
    return numpy.fromfile(folder / f"{name}.semantic.u8", numpy.uint8).reshape(counts[::-1])
def field(shape, radius=3, times=3):
    # White noise under a box thrice: near a Gaussian of 3.5 voxels.
    values = random.random(shape) - 0.5
    for axis in [0, 1, 2] * times:
        sums = numpy.cumsum(numpy.insert(values, 0, 0, axis=axis), axis=axis)
        size = values.shape[axis]
        ends = numpy.minimum(numpy.arange(size) + radius + 1, size)
        values = sums.take(ends, axis) - sums.take(numpy.maximum(ends - 2 * radius - 1, 0), axis)
    return values
def blobs(shape):
    kinds, shapes = field(shape), field(shape)
    labels = 1 + numpy.digitize(kinds, numpy.quantile(kinds, [1 / 3, 2 / 3]))
    return labels * (shapes > numpy.quantile(shapes, 0.6))
whole = phantom("whole")
maps = {
    "lumbar": phantom("lumbar"),
    "whole_spine": whole,
    # Three thin slices for each, as the nets' grid has them, all structures one.
    "whole_mask": numpy.repeat(whole != 0, 3, axis=0),
    "blobs": blobs((128, 256, 256)),
    "noise": random.integers(0, 4, (64, 256, 256)),
}
for name, values in maps.items():
    (folder / name).write_bytes(values.astype(numpy.uint8).tobytes())
print(json.dumps({name: values.shape[::-1] for name, values in maps.items()}))
"""
# cc3d in a fresh process: processor seconds of each labelling. Writes its numbers where a path is given for them.
PEER_RUN = """
import json, sys, time
import cc3d, numpy
path, shape, connectivity, runs = sys.argv[1], json.loads(sys.argv[2])[::-1], int(sys.argv[3]), int(sys.argv[4])
values, seconds = numpy.fromfile(path, numpy.uint8).reshape(shape), []
for _ in range(runs):
    start = time.thread_time()
    numbers = cc3d.connected_components(values, connectivity=connectivity)
    seconds.append(time.thread_time() - start)
numbers.astype("<u4").tofile(sys.argv[5])
print(json.dumps(seconds))
"""
# Equal up to numbering: as many pairs of numbers as there are numbers on either side.
COMPARE = """
import sys
import numpy
ours, theirs = (numpy.fromfile(path, "<u4").astype(numpy.uint64) for path in sys.argv[1:3])
pairs = numpy.unique(ours << numpy.uint64(32) | theirs).size
counts = [numpy.unique(ours).size, numpy.unique(theirs).size]
assert (ours == 0).tobytes() == (theirs == 0).tobytes(), "the backgrounds differ"
assert [pairs, pairs] == counts, f"{pairs} pairs of numbers, {counts} numbers"
print(pairs - 1)
"""


def output(*command):
    command = [str(part) for part in command]
    return subprocess.run(command, check=True, timeout=RUN_LIMIT_S, stdout=subprocess.PIPE, text=True).stdout


def make_maps(python, folder):
    """The counts of each map, made in `folder`."""
    for region in ("lumbar", "whole"):
        output(PHANTOM, folder / region, 1, region)
    return json.loads(output(python, "-c", MAKE, folder))


def bench(python, folder, name, counts, connectivity, rounds):
    """Seconds of all labellings, by side, and how many components both found."""
    path, ours, theirs = folder / name, folder / "ours", folder / "theirs"
    seconds = {"cc3d": [], "label": [], "pieces": []}
    for _ in range(rounds):
        text = output(python, "-c", PEER_RUN, path, json.dumps(counts), connectivity, RUNS, theirs)
        seconds["cc3d"] += json.loads(text)
        for line in output(OURS, path, *counts, connectivity, RUNS, ours).splitlines():
            for side, value in zip(("label", "pieces"), line.split(), strict=True):
                seconds[side].append(float(value))
        components = int(output(python, "-c", COMPARE, ours, theirs))
    return {"counts": counts, "connectivity": connectivity, "components": components, "seconds": seconds}


def ratio(case, side):
    seconds = case["seconds"]
    return statistics.median(seconds["cc3d"]) / statistics.median(seconds[side])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one round")
    quick = parser.parse_args().quick
    build = ["cargo", "build", "--release", "--locked", "-q"]
    subprocess.run([*build, "-p", "kernels", "--example", "components_speed"], check=True)
    subprocess.run([*build, "-p", "phantom", "--example", "dump"], check=True)
    python, rounds, cases = str(peers.python()), 1 if quick else 3, {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for name, counts in make_maps(python, folder).items():
            for connectivity in CONNECTIVITIES:
                cases[f"{name}_{connectivity}"] = bench(python, folder, name, counts, connectivity, rounds)
    run = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": "tests/bench/run components" + (" --quick" if quick else ""),
        "machine": history.machine() | {"python": sys.version.split()[0]},
        "peer": peers.pins(),
        "cases": cases,
    }
    path = history.keep(run, "components", quick)
    print(f"components of label maps, one thread, partitions equal to cc3d's, {rounds} rounds; medians in ms")
    for name, case in cases.items():
        times = {side: 1000 * statistics.median(values) for side, values in case["seconds"].items()}
        told = "  ".join(f"{side} {value:7.2f}" for side, value in times.items())
        print(f"  {name:15} {case['components']:7} components  {told}")
    print(f"raw run: {path}")
    for name, case in cases.items():
        print(f"ratio components.{name} {ratio(case, 'label'):.2f}")
        print(f"ratio components.{name}_runs {ratio(case, 'pieces'):.2f}")


main()
