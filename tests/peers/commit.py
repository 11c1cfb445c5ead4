"""Storage Commitment as a console uses it. Usage:

commit.py ask PORT FOLDER     asks for every file of FOLDER, the first under a wrong class, and for one that nobody has sent;
                              leaves without confirming a report
commit.py stay PORT FOLDER    the same, and waits for the report over the same association
commit.py call PORT           comes back without a question, and waits for a report
commit.py listen PORT         waits for a report over an association of the provider's; answers one try before with a failure

A report is printed as JSON: {"event", "committed": [UID], "failed": {UID: reason}}. Needs pydicom and pynetdicom.
"""

import json
import pathlib
import queue
import sys

import pydicom
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.dimse_messages import N_EVENT_REPORT_RSP
from pynetdicom.sop_class import StorageCommitmentPushModel

INSTANCE = "1.2.840.10008.1.20.1.1"
PATIENCE_S = 60
reports = queue.Queue()
# Reports that are being confirmed.
heard = []
# Statuses of the first answers to reports; then success.
answers = []


def reported(event):
    if answers:
        return answers.pop(), None
    told = event.event_information
    committed = [item.ReferencedSOPInstanceUID for item in told.get("ReferencedSOPSequence", [])]
    failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in told.get("FailedSOPSequence", [])}
    heard.append({"event": event.event_type, "committed": committed, "failed": failed})
    return 0x0000, None


def sent(event):
    """A report counts once its confirmation is on its way: an association that ends before leaves it open."""
    if isinstance(event.message, N_EVENT_REPORT_RSP) and heard:
        reports.put(heard.pop())


def question(folder):
    """A reference to each file; to one of another class than was sent; to one that was not sent."""
    asked = pydicom.Dataset()
    asked.TransactionUID = generate_uid()
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(pathlib.Path(folder).iterdir())]
    named = [(header.SOPClassUID, header.SOPInstanceUID) for header in headers]
    named[0] = (CTImageStorage, named[0][1])
    named.append((MRImageStorage, generate_uid()))
    asked.ReferencedSOPSequence = []
    for sop_class, instance in named:
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        asked.ReferencedSOPSequence.append(item)
    return asked


def main():
    action, port = sys.argv[1], int(sys.argv[2])
    entity = AE("SCANNER")
    handlers = [(evt.EVT_N_EVENT_REPORT, reported), (evt.EVT_DIMSE_SENT, sent)]
    if action == "listen":
        answers.append(0x0110)
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        print(json.dumps(reports.get(timeout=PATIENCE_S)), flush=True)
        server.shutdown()
        return
    entity.add_requested_context(StorageCommitmentPushModel)
    association = entity.associate("127.0.0.1", port, ae_title="SAGITTA", evt_handlers=handlers)
    assert association.is_established, "no association"
    if action == "ask":
        answers.extend([0x0110] * 9)
    if action != "call":
        status, _ = association.send_n_action(question(sys.argv[3]), 1, StorageCommitmentPushModel, INSTANCE)
        assert status.Status == 0, status
    if action == "ask":
        association.abort()
        print(json.dumps("asked"))
        return
    print(json.dumps(reports.get(timeout=PATIENCE_S)))
    association.release()


main()
