"""A console that has no room for the first patient's results, ever, and takes everybody else's. Usage: full_console.py PORT

Answers A700 (out of resources, PS3.4 table B.2-1) to every object of the first study that it is sent. Runs until it is killed.
Needs pynetdicom.
"""

import sys

from pynetdicom import AE, StoragePresentationContexts, evt

OUT_OF_RESOURCES = 0xA700
first = []


def stored(event):
    study = event.dataset.StudyInstanceUID
    if not first:
        first.append(study)
    return OUT_OF_RESOURCES if study == first[0] else 0x0000


def main():
    entity = AE("CONSOLE")
    entity.supported_contexts = StoragePresentationContexts
    entity.start_server(("127.0.0.1", int(sys.argv[1])), evt_handlers=[(evt.EVT_C_STORE, stored)])


main()
