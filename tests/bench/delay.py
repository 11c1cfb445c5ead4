"""Last byte received to overlay acknowledged, stage by stage, and peak memory: `sagitta demo --once` on one lumbar exam.

The exam is a real one of the reference data, dressed as a DICOM series and sent over a real association; the console
that acknowledges is the demo's own receiver, with fsync. There is no peer that does the same job: the figures are values.
`total` ends when everything is acknowledged and recorded; `overlay` when the console's disk has the last image (derived MR,
secondary capture), a sync of the folder before it is acknowledged, by the clock of the file system, which may tick every 4 ms.
Usage: delay.py [--quick]   (SAGITTA_BIN names the sagitta binary, SAGITTA_BEFORE an older one to take turns with)
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

import history
import pydicom
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage

# 20 slices of 353x353 at 3.9 mm: the size of a usual lumbar T2w protocol.
EXAM = "data/nifti/zukic_vb/17_St1_img.nii.gz"
RUN_LIMIT_S = 300
# What a console shows: the classes of derived MR and secondary capture.
IMAGES = (MRImageStorage, SecondaryCaptureImageStorage)
# The stages in which a net runs.
NETS = ("semantic", "vertebrae")


def run_once(binary, exam):
    """The report of one examination, with `overlay_ms`."""
    with tempfile.TemporaryDirectory() as name:
        out = pathlib.Path(name)
        command = [binary, "demo", "--once", "--json", "--out", name, "--input", str(exam)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT_S)
        if done.returncode != 0:
            sys.exit(f"delay: the demo failed: {done.stderr[-500:]}")
        report = json.loads(done.stdout)
        # The report is written as soon as its clock has stopped; an image has its name when it is on the disk.
        (written,) = out.glob("service/results/*/*/report.json")
        stored = max(path.stat().st_ctime for path in overlay(out / "console"))
        report["overlay_ms"] = report["total_ms"] - 1000 * (written.stat().st_mtime - stored)
    return report


def overlay(console):
    """The files of the overlay's images in the spool of the console."""
    for path in console.glob("spool/*/*.dcm"):
        if pydicom.dcmread(path, specific_tags=["SOPClassUID"]).SOPClassUID in IMAGES:
            yield path


def figures(reports):
    """Stages and sums, each with its values in all runs, ms."""
    values = {stage: [r["stages"][stage] for r in reports] for stage in reports[0]["stages"]}
    values["total"] = [r["total_ms"] for r in reports]
    values["all but the net"] = [r["total_ms"] - r["stages"]["semantic"] for r in reports]
    values["overlay"] = [r["overlay_ms"] for r in reports]
    values["overlay but the nets"] = [r["overlay_ms"] - sum(r["stages"][net] for net in NETS) for r in reports]
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run")
    quick = parser.parse_args().quick
    shared = pathlib.Path(os.environ.get("SAGITTA_SHARED", history.ROOT / "../shared"))
    exam = shared / EXAM
    if not exam.is_file():
        sys.exit(f"delay: the exam {EXAM} is not in the reference data; set SAGITTA_SHARED")
    binaries = [os.environ[name] for name in ("SAGITTA_BIN", "SAGITTA_BEFORE") if name in os.environ]
    reports = {binary: [] for binary in binaries}
    # The first run warms the file cache.
    for turn in range(1 if quick else 8):
        for binary in binaries:
            report = run_once(binary, exam)
            if quick or turn > 0:
                reports[binary].append(report)
    keys = ("stages", "total_ms", "overlay_ms", "peak_memory_mib", "engine")
    kept = [[{key: r[key] for key in keys} for r in reports[binary]] for binary in binaries]
    run = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": "tests/bench/run delay" + (" --quick" if quick else ""),
        "machine": history.machine(),
        "exam": EXAM,
        "dims": reports[binaries[0]][0]["series"]["dims"],
        "runs": kept[0],
    }
    if len(kept) > 1:
        run["runs_before"] = kept[1]
    path = history.keep(run, "delay", quick)
    for binary, runs in reports.items():
        print(f"{binary}: {EXAM}, {run['dims']} voxels, {len(runs)} runs; ms, median (lowest to highest)")
        for name, v in figures(runs).items():
            print(f"  {name:20} {statistics.median(v):8.1f}  ({min(v):.1f} to {max(v):.1f})")
    print(f"raw run: {path}")
    ours = reports[binaries[0]]
    for name in ("total", "all but the net", "overlay", "overlay but the nets"):
        print(f"value delay.{name.replace(' ', '_')} {statistics.median(figures(ours)[name]):.1f} ms")
    print(f"value delay.peak_memory {max(r['peak_memory_mib'] for r in ours)} MiB")


main()
