"""Stores a folder of DICOM files by STOW-RS. Usage: stow.py URL FOLDER [STUDY_UID]

Prints {"stored": N, "failed": N} as the answer says. Needs dicomweb-client.
"""

import json
import pathlib
import sys

import pydicom
from dicomweb_client.api import DICOMwebClient


def main():
    url, folder, study = sys.argv[1], pathlib.Path(sys.argv[2]), (sys.argv + [None])[3]
    images = [pydicom.dcmread(path) for path in sorted(folder.rglob("*.dcm"))]
    answer = DICOMwebClient(url=url).store_instances(images, study_instance_uid=study)
    stored = answer.get("ReferencedSOPSequence", [])
    assert {item.ReferencedSOPInstanceUID for item in stored} <= {image.SOPInstanceUID for image in images}
    print(json.dumps({"stored": len(stored), "failed": len(answer.get("FailedSOPSequence", []))}))


main()
