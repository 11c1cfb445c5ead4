"""Objects stored per second: `sagitta run` against DCMTK's `storescp`, loaded by DCMTK's `storescu`.

Both servers get the same objects over one association, alternating, each time freshly started with an empty folder, so
that a busy machine disturbs both alike. Ratio of medians. `storescu` sends with and without TCP_NODELAY: with Nagle's algorithm on, a
server that answers in two small packets waits for the peer's delayed acknowledgement. Sagitta answers only after fsync,
`storescp` does not sync at all: that is our promise, and it is in the figure.
Usage: receive.py [--quick]   (SAGITTA_BIN names the sagitta binary)
"""

import argparse
import datetime
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import history
import numpy
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

SIDE = 512  # pixels; a lumbar T2w slice is 320 to 640 wide
START_LIMIT_S = 20
SEND_LIMIT_S = 300


def make_objects(folder, count):
    """Writes one sagittal MR series of `count` instances with noise for pixels."""
    rng = numpy.random.default_rng(1)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for k in range(count):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        ds.PatientID, ds.PatientName, ds.Modality = "BENCH", "Bench^Receive", "MR"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.InstanceNumber, ds.Rows, ds.Columns = k + 1, SIDE, SIDE
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
        ds.PixelSpacing, ds.SliceThickness = [0.6, 0.6], 4.0
        ds.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        ds.ImagePositionPatient = [-4.0 * k, -150.0, 150.0]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.PixelData = rng.integers(0, 4096, (SIDE, SIDE), dtype=numpy.uint16).tobytes()
        ds.save_as(folder / f"{k:04}.dcm", enforce_file_format=True)


def start_sagitta(folder, port):
    """The one place that knows how our service is started."""
    config = folder / "sagitta.toml"
    data = folder / "data"
    data.mkdir()
    broker = f'broker = {{ kind = "embedded", listen = "127.0.0.1:{free_port()}" }}'
    config.write_text(
        f'data = "{data}"\n[mqtt]\nsite = "bench"\ndevice = "receive"\n{broker}\n'
        f'[dicom]\nbind = "127.0.0.1:{port}"\n[dashboard]\n'
    )
    return [os.environ["SAGITTA_BIN"], "run", "--config", str(config)]


def start_storescp(folder, port):
    """The peer in its fastest form: no fork, no Nagle, large PDUs."""
    bits = ["--accept-all", "--bit-preserving", *MAX_PDU]
    return ["storescp", *bits, "--output-directory", str(folder), str(port)]


SERVERS = {"sagitta": start_sagitta, "storescp": start_storescp}
# Debian's DCMTK leaves Nagle's algorithm on unless its environment holds TCP_NODELAY.
NODELAY = {"TCP_NODELAY": "1"}
LOADS = {"nodelay": NODELAY, "nagle": {}}
# Largest PDU DCMTK offers: fewer packets an object for both servers.
MAX_PDU = ["--max-pdu", "131072"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(process, port):
    limit = time.monotonic() + START_LIMIT_S
    while time.monotonic() < limit:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"receive: {process.args[0]} does not listen on port {port}")


def measure(server, load, objects, count):
    """Objects per second of one association with a fresh server."""
    plain = {key: value for key, value in os.environ.items() if key not in NODELAY}
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        command = SERVERS[server](pathlib.Path(name), port)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, env=plain | NODELAY, **quiet)
        try:
            wait_for(process, port)
            send = ["storescu", "--call", "SAGITTA", "--scan-directories", *MAX_PDU]
            send += ["127.0.0.1", str(port), str(objects)]
            told = {"capture_output": True, "text": True, "timeout": SEND_LIMIT_S}
            started = time.perf_counter()
            done = subprocess.run(send, env=plain | LOADS[load], **told)
            seconds = time.perf_counter() - started
        finally:
            process.kill()
            process.wait()
    if done.returncode != 0:
        sys.exit(f"receive: storescu to {server} failed: {done.stderr[-500:]}")
    return count / seconds


def peers():
    """Versions of what took part."""
    version = subprocess.run(["storescu", "--version"], capture_output=True, text=True).stdout
    return {"storescu": version.splitlines()[0], "pydicom": pydicom.__version__}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few objects, one round")
    quick = parser.parse_args().quick
    count, rounds = (40, 2) if quick else (200, 7)
    rates = {load: {server: [] for server in SERVERS} for load in LOADS}
    with tempfile.TemporaryDirectory() as name:
        objects = pathlib.Path(name)
        make_objects(objects, count)
        for turn in range(rounds):
            # The order turns round, so that neither server always runs on the warmer machine.
            order = list(SERVERS)[:: 1 if turn % 2 == 0 else -1]
            for load in LOADS:
                for server in order:
                    rates[load][server].append(measure(server, load, objects, count))
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    run = {
        "date": date,
        "command": "tests/bench/run receive" + (" --quick" if quick else ""),
        "machine": history.machine() | peers(),
        "objects": count,
        "object_bytes": SIDE * SIDE * 2,
        "objects_per_second": rates,
    }
    path = history.keep(run, "receive", quick)
    print(f"{count} MR instances of {SIDE}x{SIDE}, {rounds} rounds; objects per second, median (lowest to highest)")
    for load, servers in rates.items():
        for server, r in servers.items():
            print(f"  {load:8} {server:9} {statistics.median(r):7.1f}  ({min(r):.1f} to {max(r):.1f})")
    print(f"raw run: {path}")
    for load, servers in rates.items():
        ratio = statistics.median(servers["sagitta"]) / statistics.median(servers["storescp"])
        print(f"ratio receive.{load} {ratio:.3f}")


main()
