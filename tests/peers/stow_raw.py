"""Requests that no correct sender would make. Usage: stow_raw.py PORT FILE.dcm

FILE is a good MR image. Prints a JSON object: case -> [HTTP status, Failure Reasons in hexadecimal]. Needs pydicom.
"""

import http.client
import io
import json
import socket
import sys

import pydicom
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian

KIND = 'multipart/related; type="application/dicom"; boundary=cut'


def body(*files, head=b"Content-Type: application/dicom", end=b"--cut--\r\n"):
    return b"".join(b"--cut\r\n" + head + b"\r\n\r\n" + file + b"\r\n" for file in files) + end


def post(port, content, kind=KIND, path="/studies"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", path, content, {"Content-Type": kind})
    response = connection.getresponse()
    text = response.read()
    reasons = []
    if response.getheader("Content-Type") == "application/dicom+json":
        answer = json.loads(text)
        for tag in ("00081198", "0008119A"):
            for item in answer.get(tag, {}).get("Value", []):
                reasons.append(f"{item['00081197']['Value'][0]:04x}")
    return [response.status, reasons]


def broken_off(port, content):
    """Announces more than it sends."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\nContent-Length: {2 * len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)


def altered(path, **attributes):
    image = pydicom.dcmread(path)
    for name, value in attributes.items():
        setattr(image.file_meta, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, image)
    return buffer.getvalue()


def main():
    port, path = int(sys.argv[1]), sys.argv[2]
    good = open(path, "rb").read()
    broken_off(port, body(good)[:-9])
    print(json.dumps({
        "not_multipart": post(port, good, "application/dicom"),
        "metadata": post(port, body(b"{}"), KIND.replace("application/dicom", "application/dicom+json")),
        "no_boundary": post(port, body(good), "multipart/related"),
        "nothing": post(port, b"--cut--\r\n"),
        "cut": post(port, body(good, end=b"")),
        "long_head": post(port, body(good, head=b"X: " + b"x" * 100_000)),
        "not_dicom": post(port, body(b"a letter, not an image")),
        "truncated": post(port, body(good[: len(good) // 2])),
        "wrong_class": post(port, body(altered(path, MediaStorageSOPClassUID=CTImageStorage))),
        "another_instance": post(port, body(altered(path, MediaStorageSOPInstanceUID="1.2.3"))),
        "path_trick": post(port, body(altered(path, MediaStorageSOPInstanceUID="../../etc"))),
        "deflated": post(port, body(altered(path, TransferSyntaxUID=DeflatedExplicitVRLittleEndian))),
        "other_study": post(port, body(good), path="/studies/1.2.3"),
        "half": post(port, body(good, b"a letter")),
        "good": post(port, body(good)),
        "no_such_page": post(port, body(good), path="/instances"),
    }))


main()
