"""Asks for associations until told to stop, and holds them. Usage: associate.py PORT CALLING_AE COUNT

Prints a JSON list: for each "accepted", or the three numbers of the rejection (result, source, reason of PS3.8 table 9-21).
Needs pynetdicom.
"""

import json
import sys

from pynetdicom import AE, evt
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.sop_class import Verification


def ask(entity, port):
    """One association, and what its request was answered with. A rejection is read from its PDU: pynetdicom 3.0.4 now and then
    takes it for an abort when the machine is busy."""
    told = []

    def received(event):
        if isinstance(event.pdu, A_ASSOCIATE_RJ):
            told.append([event.pdu.result, event.pdu.source, event.pdu.reason_diagnostic])

    handlers = [(evt.EVT_PDU_RECV, received)]
    association = entity.associate("127.0.0.1", port, ae_title="SAGITTA", evt_handlers=handlers)
    if association.is_established:
        assert association.send_c_echo().Status == 0
        return association, "accepted"
    return association, told[0] if told else "no answer"


def main():
    port, title, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    entity = AE(title)
    entity.add_requested_context(Verification)
    associations, answers = zip(*[ask(entity, port) for _ in range(count)])
    print(json.dumps(answers))
    for association in associations:
        if association.is_established:
            association.release()


main()
