"""Objects stored per second: `sagitta run` against DCMTK's `storescp` and Orthanc, loaded by DCMTK's `storescu`.

All servers get the same objects, alternating, each time freshly started without an object, so that a busy machine disturbs all
alike. Ratio of medians. Loads: one association with TCP_NODELAY; one with Nagle's algorithm on, where a server that answers in
two small packets waits for the peer's delayed acknowledgement; four at once. Sagitta answers when the object is durable. `storescp`
does not sync at all; `durable` is `storescp` made to sync each file before it closes it, and `orthanc` syncs by itself. Every server
first gets as many other objects, untimed, and rests, as between two series of an examination: Sagitta prepares files meanwhile.
Usage: receive.py [--quick]   (SAGITTA_BIN names the sagitta binary; SAGITTA_BEFORE an older one to measure beside it)
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import signal
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

SAGITTAL, AXIAL = [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 1, 0]
SIDE = 512  # pixels; a lumbar T2w slice is 320 to 640 wide
ASSOCIATIONS = 4  # a console uses one to four
START_LIMIT_S = 20
SEND_LIMIT_S = 300
REST_S = 5  # between two series: consoles take longer


def make_objects(folder, count, plane):
    """Writes one MR series of `count` instances with noise for pixels, spread over a folder for each association."""
    for n in range(ASSOCIATIONS):
        (folder / str(n)).mkdir()
    rng = numpy.random.default_rng()
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
        ds.ImageOrientationPatient = plane
        ds.ImagePositionPatient = [-4.0 * k, -150.0, 150.0]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.PixelData = rng.integers(0, 4096, (SIDE, SIDE), dtype=numpy.uint16).tobytes()
        ds.save_as(folder / str(k % ASSOCIATIONS) / f"{k:04}.dcm", enforce_file_format=True)


def start_sagitta(folder, port, binary="SAGITTA_BIN"):
    """The one place that knows how our service is started."""
    config, data = folder / "sagitta.toml", folder / "data"
    broker = f'broker = {{ kind = "embedded", listen = "127.0.0.1:{free_port()}" }}'
    config.write_text(
        f'data = "{data}"\n[mqtt]\nsite = "bench"\ndevice = "receive"\n{broker}\n'
        f'[dicom]\nbind = "127.0.0.1:{port}"\n[dashboard]\n'
    )
    return [os.environ[binary], "run", "--config", str(config)]


def start_before(folder, port):
    return start_sagitta(folder, port, "SAGITTA_BEFORE")


def start_storescp(folder, port):
    """The peer in its fastest form: no Nagle, large PDUs; a process for each association, as several need it."""
    bits = ["--fork", "--accept-all", "--bit-preserving", *MAX_PDU]
    return ["storescp", *bits, "--output-directory", str(folder), str(port)]


def start_orthanc(folder, port):
    """The open-source DICOM server, with the settings of its defaults: it syncs what it stores (SyncStorageArea)."""
    config = folder / "orthanc.json"
    settings = {
        "DicomPort": port,
        "HttpServerEnabled": False,
        "DicomCheckCalledAet": False,
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "OverwriteInstances": True,
        "Plugins": [],
    }
    config.write_text(json.dumps(settings))
    return ["Orthanc", str(config)]


SERVERS = {
    "sagitta": start_sagitta,
    "storescp": start_storescp,
    "durable": start_storescp,
    "orthanc": start_orthanc,
}
if "SAGITTA_BEFORE" in os.environ:
    SERVERS["before"] = start_before
# Debian's DCMTK leaves Nagle's algorithm on unless its environment holds TCP_NODELAY.
NODELAY = {"TCP_NODELAY": "1"}
# Environment and number of associations.
LOADS = {"nodelay": (NODELAY, 1), "nagle": ({}, 1), "four": (NODELAY, ASSOCIATIONS)}
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


def fsync_on_close(folder):
    """The library that makes `durable` durable."""
    source, library = pathlib.Path(__file__).with_name("fsync_on_close.c"), folder / "fsync_on_close.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library)}


def measure(server, load, objects, count, preload, place):
    """Objects per second with a freshly started server, which has the folder `place` for itself."""
    plain = {key: value for key, value in os.environ.items() if key not in NODELAY}
    first, timed = objects
    folder = place / server
    folder.mkdir()
    port = free_port()
    command = SERVERS[server](folder, port)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = plain | NODELAY | (preload if server == "durable" else {})
    process = subprocess.Popen(command, env=environment, start_new_session=True, **quiet)
    try:
        wait_for(process, port)
        send(server, port, load, first, plain)
        # Nobody is timed while the disk still takes what came before.
        os.sync()
        time.sleep(REST_S)
        seconds = send(server, port, load, timed, plain)
    finally:
        # With the children that --fork made.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    shutil.rmtree(folder)
    os.sync()
    return count / seconds


def send(server, port, load, objects, plain):
    """Seconds until every association of the load has sent its share."""
    environment, associations = LOADS[load]
    command = ["storescu", "--call", "SAGITTA", "--scan-directories", "--recurse", *MAX_PDU, "127.0.0.1", str(port)]
    shares = [objects] if associations == 1 else sorted(objects.iterdir())
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    started = time.perf_counter()
    senders = [subprocess.Popen([*command, str(share)], env=plain | environment, **quiet) for share in shares]
    told = [sender.communicate(timeout=SEND_LIMIT_S)[1] for sender in senders]
    seconds = time.perf_counter() - started
    if any(sender.returncode for sender in senders):
        sys.exit(f"receive: storescu to {server} failed: {told}")
    return seconds


def peers():
    """Versions of what took part."""
    version = subprocess.run(["storescu", "--version"], capture_output=True, text=True).stdout
    orthanc = subprocess.run(["Orthanc", "--version"], capture_output=True, text=True).stdout
    return {
        "storescu": version.splitlines()[0],
        "orthanc": orthanc.splitlines()[0],
        "pydicom": pydicom.__version__,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few objects, one round")
    quick = parser.parse_args().quick
    if shutil.which("Orthanc") is None:
        sys.exit("receive: Orthanc is not here: apt-get install --no-install-recommends orthanc")
    count, rounds = (40, 2) if quick else (200, 5)
    rates = {load: {server: [] for server in SERVERS} for load in LOADS}
    with tempfile.TemporaryDirectory() as name:
        objects = [pathlib.Path(name) / part for part in ("first", "timed")]
        # What comes first is no work for the nets: nobody is timed beside a job.
        for part, plane in zip(objects, (AXIAL, SAGITTAL)):
            part.mkdir()
            make_objects(part, count, plane)
        place = pathlib.Path(name) / "servers"
        place.mkdir()
        preload = fsync_on_close(pathlib.Path(name))
        for turn in range(rounds):
            # The order turns round, so that neither server always runs on the warmer machine.
            order = list(SERVERS)[:: 1 if turn % 2 == 0 else -1]
            for load in LOADS:
                for server in order:
                    rates[load][server].append(measure(server, load, objects, count, preload, place))
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
        for peer in [server for server in SERVERS if server != "sagitta"]:
            ratio = statistics.median(servers["sagitta"]) / statistics.median(servers[peer])
            figure = load if peer == "storescp" else f"{load}.{peer}"
            print(f"ratio receive.{figure} {ratio:.3f}")


main()
