"""Sends data sets that no correct sender would send, by pynetdicom's own messages.

Usage: store_raw.py PORT FILE.dcm
FILE is a good MR image. Prints a JSON object: case -> [status in hexadecimal, Error Comment]. Ends with a C-ECHO over
the same association, which must succeed. Needs pydicom and pynetdicom.
"""

import io
import json
import sys
import time

import pydicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE


def store(association, context, sop_class, instance, data):
    """One C-STORE with these bytes as its data set; its status and comment."""
    request = C_STORE()
    request.MessageID = 1
    request.AffectedSOPClassUID = sop_class
    request.AffectedSOPInstanceUID = instance
    request.Priority = 2
    request.DataSet = io.BytesIO(data)
    # The thread that answers requests of the peer would take our response.
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.01)
    association.dimse.send_msg(request, context)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    return [f"{response.Status:04x}", str(response.ErrorComment)]


def main():
    port, path = int(sys.argv[1]), sys.argv[2]
    image = pydicom.dcmread(path)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, image, implicit_vr=False, little_endian=True, force_encoding=True)
    whole = buffer.getvalue()
    start = whole.find(b"\x08\x00", 132 + 12 + image.file_meta[0x00020000].value) if whole[128:132] == b"DICM" else 0
    whole = whole[start:]
    entity = AE("SCANNER")
    entity.add_requested_context(MRImageStorage, ExplicitVRLittleEndian)
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate("127.0.0.1", port, ae_title="SAGITTA")
    assert association.is_established, "no association"
    context = next(c.context_id for c in association.accepted_contexts if c.abstract_syntax == MRImageStorage)
    uid = image.SOPInstanceUID
    cases = {
        "not_dicom": store(association, context, MRImageStorage, uid, b"a letter, not an image\n"),
        "truncated": store(association, context, MRImageStorage, uid, whole[: len(whole) // 2]),
        "wrong_class": store(association, context, CTImageStorage, uid, whole),
        "another_instance": store(association, context, MRImageStorage, "1.2.3", whole),
    }
    assert association.send_c_echo().Status == 0, "the association did not survive"
    association.release()
    print(json.dumps(cases))


if __name__ == "__main__":
    main()
