"""Asks for associations until told to stop, and holds them. Usage: associate.py PORT CALLING_AE COUNT

Prints a JSON list: for each "accepted", or the three numbers of the rejection (result, source, reason of PS3.8 table 9-21).
Needs pynetdicom.
"""

import json
import sys

from pynetdicom import AE
from pynetdicom.sop_class import Verification


def main():
    port, title, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    entity = AE(title)
    entity.add_requested_context(Verification)
    associations = [entity.associate("127.0.0.1", port, ae_title="SAGITTA") for _ in range(count)]
    answers = []
    for association in associations:
        if association.is_established:
            assert association.send_c_echo().Status == 0
            answers.append("accepted")
        else:
            told = association.acceptor.primitive
            assert told is not None, "neither accepted nor rejected"
            answers.append([told.result, told.result_source, told.diagnostic])
    print(json.dumps(answers))
    for association in associations:
        if association.is_established:
            association.release()


main()
