"""Last byte received to overlay acknowledged, stage by stage, and peak memory: `sagitta demo --once` on one lumbar exam.

The exam is a real one of the reference data, dressed as a DICOM series and sent over a real association; the console
that acknowledges is the demo's own receiver, with fsync. There is no peer that does the same job: the figures are values.
Usage: delay.py [--quick]   (SAGITTA_BIN names the sagitta binary)
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

# 20 slices of 353x353 at 3.9 mm: the size of a usual lumbar T2w protocol.
EXAM = "data/nifti/zukic_vb/17_St1_img.nii.gz"
RUN_LIMIT_S = 300


def run_once(exam):
    """The report of one examination."""
    with tempfile.TemporaryDirectory() as out:
        command = [os.environ["SAGITTA_BIN"], "demo", "--once", "--json", "--out", out, "--input", str(exam)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_LIMIT_S)
    if done.returncode != 0:
        sys.exit(f"delay: the demo failed: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run")
    quick = parser.parse_args().quick
    shared = pathlib.Path(os.environ.get("SAGITTA_SHARED", history.ROOT / "../shared"))
    exam = shared / EXAM
    if not exam.is_file():
        sys.exit(f"delay: the exam {EXAM} is not in the reference data; set SAGITTA_SHARED")
    if not quick:
        run_once(exam)  # warms the file cache
    reports = [run_once(exam) for _ in range(1 if quick else 7)]
    kept = [{key: r[key] for key in ("stages", "total_ms", "peak_memory_mib", "engine")} for r in reports]
    run = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": "tests/bench/run delay" + (" --quick" if quick else ""),
        "machine": history.machine(),
        "exam": EXAM,
        "dims": reports[0]["series"]["dims"],
        "runs": kept,
    }
    path = history.keep(run, "delay", quick)
    print(f"{EXAM}, {reports[0]['series']['dims']} voxels, {len(reports)} runs; ms, median (lowest to highest)")
    values = {stage: [r["stages"][stage] for r in reports] for stage in reports[0]["stages"]}
    values["total"] = [r["total_ms"] for r in reports]
    values["all but the net"] = [r["total_ms"] - r["stages"]["semantic"] for r in reports]
    for name, v in values.items():
        print(f"  {name:16} {statistics.median(v):8.1f}  ({min(v):.1f} to {max(v):.1f})")
    print(f"raw run: {path}")
    print(f"value delay.total {statistics.median(values['total']):.1f} ms")
    print(f"value delay.all_but_the_net {statistics.median(values['all but the net']):.1f} ms")
    print(f"value delay.peak_memory {max(r['peak_memory_mib'] for r in reports)} MiB")


main()
