"""Last image received to the decision that the series is complete, by rule; beside it Orthanc's "stable series".

Each run is a drawn lumbar series with UIDs of its own, sent over one association to one `sagitta run`: with a count in its
headers; without one, released; without one, the association left open. Sagitta's times are those of its own reports (stage
`complete`); Orthanc's, with the settings of its defaults, from the end of `storescu` to the change it announces. There is no
ratio: Orthanc waits for a fixed time, which is the point. Usage: start.py [--quick]   (SAGITTA_BIN names the sagitta binary)
"""

import argparse
import datetime
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import history
import pydicom
from pydicom.uid import generate_uid
from pynetdicom import AE

RULES = ("count_known", "association_release", "silence")
LIMIT_S = 120
LOOK_S = 0.05


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, look):
    """The first value that is not None."""
    limit = time.monotonic() + LIMIT_S
    while time.monotonic() < limit:
        if (found := look()) is not None:
            return found
        time.sleep(LOOK_S)
    sys.exit(f"start: {what} took more than {LIMIT_S} s")


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return None


def series(folder, counted):
    """The drawn series with new UIDs, with or without what tells its size."""
    uid = generate_uid()
    images = []
    for path in sorted(folder.iterdir()):
        image = pydicom.dcmread(path)
        image.SeriesInstanceUID, image.SOPInstanceUID = uid, generate_uid()
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        if not counted:
            image.remove_private_tags()
            image.pop("ImagesInAcquisition", None)
        images.append(image)
    return images


def send(port, images, stay):
    """Sends over one association; calls `stay` before the release."""
    ae = AE(ae_title="BENCH")
    ae.add_requested_context(images[0].SOPClassUID, images[0].file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", port, ae_title="SAGITTA")
    if not association.is_established:
        sys.exit("start: no association")
    for image in images:
        if association.send_c_store(image).Status != 0:
            sys.exit("start: an image was refused")
    if stay:
        stay()
    association.release()


def sagitta(place, drawn, runs):
    """Milliseconds by rule."""
    data, port = place / "data", free_port()
    data.mkdir()
    config = place / "sagitta.toml"
    broker = f'broker = {{ kind = "embedded", listen = "127.0.0.1:{free_port()}" }}'
    config.write_text(
        f'data = "{data}"\n[mqtt]\nsite = "bench"\ndevice = "start"\n{broker}\n[dicom]\nbind = "127.0.0.1:{port}"\n[dashboard]\n'
    )
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([os.environ["SAGITTA_BIN"], "run", "--config", str(config)], **quiet)
    seen, times = set(), {rule: [] for rule in RULES}

    def ended():
        for path in data.glob("results/*/1/report.json"):
            if path not in seen:
                seen.add(path)
                return json.loads(path.read_text())
        return None

    try:
        until("the start of sagitta", lambda: listens(port))
        for rule in RULES:
            for _ in range(runs):
                images, reports = series(drawn, rule == "count_known"), []
                wait = lambda: reports.append(until("a report", ended))
                send(port, images, wait if rule == "silence" else None)
                if not reports:
                    wait()
                told = reports[0]["series"]["complete"]
                if told != rule:
                    sys.exit(f"start: complete by {told}, not by {rule}")
                times[rule].append(reports[0]["stages"]["complete"])
    finally:
        process.terminate()
        process.wait()
    return times


def orthanc(place, drawn):
    """Milliseconds from the last image to the stable series."""
    dicom, http = free_port(), free_port()
    settings = {"DicomPort": dicom, "HttpPort": http, "StorageDirectory": str(place / "storage"), "Plugins": []}
    settings |= {"IndexDirectory": str(place / "storage"), "AuthenticationEnabled": False}
    (place / "orthanc.json").write_text(json.dumps(settings))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["Orthanc", str(place / "orthanc.json")], **quiet)

    def stable():
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/changes?limit=1000") as answer:
            changes = json.load(answer)["Changes"]
        return True if any(change["ChangeType"] == "StableSeries" for change in changes) else None

    try:
        until("the start of Orthanc", lambda: listens(dicom) and listens(http))
        send(dicom, series(drawn, True), None)
        last = time.monotonic()
        until("the stable series", stable)
        return [1000 * (time.monotonic() - last)]
    finally:
        process.terminate()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run of each rule, without Orthanc")
    quick = parser.parse_args().quick
    if not quick and shutil.which("Orthanc") is None:
        sys.exit("start: Orthanc is not here: apt-get install --no-install-recommends orthanc")
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        drawn = place / "drawn"
        subprocess.run([os.environ["SAGITTA_BIN"], "phantom", "--vendor", "ge", "--out", str(drawn)], check=True)
        times = sagitta(place, drawn, 1 if quick else 15)
        if not quick:
            times["orthanc_stable_series"] = orthanc(place, drawn)
    run = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": "tests/bench/run start" + (" --quick" if quick else ""),
        "machine": history.machine(),
        "milliseconds": times,
    }
    path = history.keep(run, "start", quick)
    print("last image received to the decision that the series is complete; ms, median (lowest to highest)")
    for rule, ms in times.items():
        print(f"  {rule:22} {statistics.median(ms):9.1f}  ({min(ms):.1f} to {max(ms):.1f})  {len(ms)} runs")
    print(f"raw run: {path}")
    for rule, ms in times.items():
        print(f"value start.{rule} {statistics.median(ms):.1f} ms")


main()
