"""The bias field of MR images: ours against N4 of SimpleITK at SPINEPS' settings, on annotated exams.

The first primary exam of every data set and contrast; N4 takes so long that the others, on the same grids, are left out.
Both sides get the image as SPINEPS gives it to N4 (from 0, cropped to what is not empty) in memory, on all cores, in turn;
reading is not timed. N4 is called as ANTs' program does for SPINEPS: padded to whole spans of 100 mm, every fourth voxel, 4
levels of 50 rounds, no mask but the box of what is brighter than 60. Quality before speed: the voxels of the annotated
structures must be as even as after N4, and our fields must be like N4's.
Usage: bias.py [--quick]   (SAGITTA_SHARED names the shared folder with data/nifti)
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib

import history
import peers

SHARED = pathlib.Path(os.environ.get("SAGITTA_SHARED", history.ROOT.parent / "shared"))
EXAMS = SHARED / "data/nifti"
OURS = peers.TARGET / "release/examples/bias"
RUN_LIMIT_S = 600
# Runs of ours before and after N4: one takes a fraction of a second.
OUR_RUNS = 5
# SPINEPS: intensities end here, and the box of what is at least this bright is N4's mask.
MAX_INTENSITY, MASK_FROM = 1500, 60
SHRINK, ROUNDS, TOLERANCE, SPAN_MM, SPLINE_ORDER = 4, [50] * 4, 1e-7, 100, 3
# What is darker than this share of the mean is no tissue: fields are not compared there.
TISSUE = 0.25
# Ours may leave so much more variation than N4 in the mean of all exams, and the fields must be as like as this: N4 itself,
# given other voxels of the same image, finds fields that are like each other by 0.7 to 0.98.
MOST_VARIATION, LEAST_LIKENESS = 1.02, 0.4


def chosen_exams(quick):
    """The first primary exam of each data set and contrast."""
    first = {}
    for exam in tomllib.loads((EXAMS / "exams.toml").read_text())["exam"]:
        if exam.get("primary", True):
            first.setdefault((exam["image"].split("/")[0], exam["contrast"]), exam)
    # The second is half the size of the first.
    return list(first.values())[1:2] if quick else list(first.values())


def read(path):
    """An image or mask along (P, I, R), and its spacing in mm."""
    import nibabel
    import numpy

    image = nibabel.load(path)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt("PIR")
    )
    image = image.as_reoriented(turn)
    return numpy.asarray(image.dataobj), numpy.linalg.norm(image.affine[:3, :3], axis=0)


def box(mask):
    return tuple(slice(places.min(), places.max() + 1) for places in mask.nonzero())


def exam_arrays(exam):
    """Image as N4 gets it, labels of the annotated structures, spacing."""
    image, spacing = read(EXAMS / exam["image"])
    mask, _ = read(EXAMS / next(exam[kind] for kind in ("body", "disc", "cord") if kind in exam))
    image = image.astype("float32") - float(image.min())
    image *= min(1.0, MAX_INTENSITY / float(image.max()))
    content = box(image > 0)
    return image[content], mask.astype(int)[content], spacing


def n4(image, spacing):
    """The image without N4's field, and the seconds that took."""
    import numpy
    import SimpleITK

    start = time.perf_counter()
    mask = numpy.zeros(image.shape, numpy.uint8)
    mask[box(image >= MASK_FROM)] = 1
    wholes = []
    below, above, points = [], [], []
    for count, step in zip(image.shape, spacing):
        length = (count - 1) * step
        spans = max(1, math.ceil(length / SPAN_MM))
        extra = int((spans * SPAN_MM - length) / step + 0.5)
        below.append(extra // 2)
        above.append(extra - extra // 2)
        points.append(spans + SPLINE_ORDER)
    for array in (image, mask):
        whole = SimpleITK.GetImageFromArray(array.transpose(2, 1, 0))
        whole.SetSpacing([float(step) for step in spacing])
        wholes.append(SimpleITK.ConstantPad(whole, below, above, 0))
    program = SimpleITK.N4BiasFieldCorrectionImageFilter()
    program.SetMaximumNumberOfIterations(ROUNDS)
    program.SetConvergenceThreshold(TOLERANCE)
    program.SetNumberOfControlPoints(points)
    program.SetSplineOrder(SPLINE_ORDER)
    program.Execute(*(SimpleITK.Shrink(whole, [SHRINK] * 3) for whole in wholes))
    field = SimpleITK.GetArrayFromImage(program.GetLogBiasFieldAsImage(wholes[0])).transpose(2, 1, 0)
    inner = tuple(slice(low, low + count) for low, count in zip(below, image.shape))
    corrected = image * numpy.exp(-field[inner])
    return corrected, time.perf_counter() - start


def ours(folder, shape):
    import numpy

    command = [str(OURS), str(folder), str(OUR_RUNS)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=RUN_LIMIT_S).stdout
    return numpy.fromfile(folder / "corrected", "<f4").reshape(shape, order="F"), json.loads(told)


def variation(image, labels):
    """Deviation over mean: of the medians of the structures (none for a single one), and of all their voxels."""
    import numpy

    ids = numpy.unique(labels[labels > 0])
    medians = numpy.array([numpy.median(image[labels == id]) for id in ids])
    values = image[labels > 0]
    among = float(medians.std() / medians.mean()) if len(ids) > 1 else None
    return {"among": among, "all": float(values.std() / values.mean())}


def likeness(image, one, other):
    """Correlation of the logarithms of two fields, in tissue."""
    import numpy

    tissue = (image > TISSUE * image.mean()) & (one > 0) & (other > 0)
    logs = [numpy.log(image[tissue] / corrected[tissue]) for corrected in (one, other)]
    return float(numpy.corrcoef(*logs)[0, 1])


def bench(exam):
    image, labels, spacing = exam_arrays(exam)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "grid").write_text(" ".join(str(number) for number in [*image.shape, *spacing]) + "\n")
        (folder / "image").write_bytes(image.astype("<f4").tobytes(order="F"))
        _, before = ours(folder, image.shape)
        theirs, seconds = n4(image, spacing)
        mine, after = ours(folder, image.shape)
    return {
        "shape": image.shape,
        "seconds": {"n4": [seconds], "sagitta": before + after},
        "variation": {
            side: variation(array, labels) for side, array in (("none", image), ("n4", theirs), ("sagitta", mine))
        },
        "likeness": likeness(image, theirs, mine),
    }


def mean_variation(runs, side, what):
    values = [run["variation"][side][what] for run in runs.values()]
    return statistics.mean(value for value in values if value is not None)


def check_quality(runs):
    theirs, mine = (mean_variation(runs, side, "all") for side in ("n4", "sagitta"))
    if mine > MOST_VARIATION * theirs:
        sys.exit(f"bias: variation {mine:.4f} after ours, {theirs:.4f} after N4")
    like = statistics.mean(run["likeness"] for run in runs.values())
    if like < LEAST_LIKENESS:
        sys.exit(f"bias: our fields are like N4's by {like:.2f} only")
    return like


def ratio(run):
    theirs, mine = (statistics.median(run["seconds"][side]) for side in ("n4", "sagitta"))
    return theirs / mine


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one exam")
    quick = parser.parse_args().quick
    if not (EXAMS / "exams.toml").is_file():
        sys.exit(f"bias: {EXAMS / 'exams.toml'} is missing; set SAGITTA_SHARED to the shared folder")
    peers.enter()
    build = ["cargo", "build", "--release", "--locked", "-q", "-p", "kernels", "--example", "bias"]
    subprocess.run(build, check=True)
    runs = {}
    for exam in chosen_exams(quick):
        run = runs[exam["id"]] = bench(exam)
        times = ", ".join(f"{side} {statistics.median(s):.3f} s" for side, s in run["seconds"].items())
        left = ", ".join(f"{side} {v['all']:.3f}" for side, v in run["variation"].items())
        print(f"  {exam['id']:16} {times}; variation {left}; fields alike {run['likeness']:.2f}", flush=True)
    like = check_quality(runs)
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    run = {
        "date": date,
        "command": "tests/bench/run bias" + (" --quick" if quick else ""),
        "machine": history.machine() | {"python": sys.version.split()[0]},
        "peer": peers.pins(),
        "runs": runs,
    }
    print(f"raw run: {history.keep(run, 'bias', quick)}")
    for name, exam_run in runs.items():
        print(f"ratio bias.{name} {ratio(exam_run):.0f}")
    print(f"ratio bias.speed {statistics.median(ratio(exam_run) for exam_run in runs.values()):.0f}")
    for what in ("among", "all"):
        share = mean_variation(runs, "n4", what) / mean_variation(runs, "sagitta", what)
        print(f"ratio bias.evenness_{what} {share:.2f}")
    print(f"value bias.likeness {like:.2f} 1")


main()
