"""One message about a procedure step, as a console sends it. Usage: perform.py PORT create|set UID STATUS FOLDER

STATUS goes into Performed Procedure Step Status; `-` leaves it out. The series and images are those of the files in FOLDER.
Prints JSON: [status in hexadecimal, Error ID in hexadecimal or null]. Needs pydicom and pynetdicom.
"""

import json
import pathlib
import sys

import pydicom
from pynetdicom import AE
from pynetdicom.sop_class import ModalityPerformedProcedureStep


def step(status, folder):
    said = pydicom.Dataset()
    if status != "-":
        said.PerformedProcedureStepStatus = status
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(pathlib.Path(folder).iterdir())]
    series = pydicom.Dataset()
    series.SeriesInstanceUID = headers[0].SeriesInstanceUID
    series.ProtocolName = "T2 sagittal"
    series.ReferencedImageSequence = []
    for header in headers:
        image = pydicom.Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        series.ReferencedImageSequence.append(image)
    said.PerformedSeriesSequence = [series]
    return said


def main():
    port, operation, uid, status, folder = int(sys.argv[1]), *sys.argv[2:6]
    entity = AE("SCANNER")
    entity.add_requested_context(ModalityPerformedProcedureStep)
    association = entity.associate("127.0.0.1", port, ae_title="SAGITTA")
    assert association.is_established, "no association"
    send = association.send_n_create if operation == "create" else association.send_n_set
    told, _ = send(step(status, folder), ModalityPerformedProcedureStep, uid)
    error = told.get("ErrorID")
    print(json.dumps([f"{told.Status:04x}", None if error is None else f"{error:04x}"]))
    association.release()


main()
