"""Messages that no correct scanner sends by MRD. Usage: mrd_raw.py PORT

Prints a JSON object: case -> [the texts that came back, whether CLOSE came]. Needs ismrmrd.
"""

import json
import socket
import struct
import sys

import ismrmrd


def image(**fields):
    header = ismrmrd.ImageHeader()
    header.version, header.data_type, header.image_type, header.channels = 1, 2, 1, 1
    header.matrix_size = (16, 16, 1)
    for name, value in fields.items():
        setattr(header, name, value)
    return struct.pack("<H", 1022) + bytes(header)


def text(number, words):
    return struct.pack("<HI", number, len(words)) + words


OPENED = struct.pack("<H1024s", 1, b"sagitta") + text(3, b"Dummy XML header\0")
CASES = {
    "absurd_matrix": OPENED + image(matrix_size=(65535, 65535, 65535)) + struct.pack("<Q", 0),
    "large_image": OPENED + image(matrix_size=(4096, 4096, 4096)) + struct.pack("<Q", 0),
    "channels": OPENED + image(matrix_size=(4096, 4096, 1), channels=65535) + struct.pack("<Q", 0),
    "attributes": OPENED + image() + struct.pack("<Q", 1 << 63),
    "data_type": OPENED + image(data_type=99) + struct.pack("<Q", 0),
    "unknown": OPENED + struct.pack("<H", 4711) + b"what follows cannot be skipped",
    "deprecated": OPENED + struct.pack("<H", 1005),
    "long_text": struct.pack("<HI", 2, 0xFFFFFFFF),
    "early": image() + struct.pack("<Q", 0) + bytes(512),
    "nothing": OPENED + struct.pack("<H", 4),
    "not_mrd": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


def exchange(port, data):
    """What comes back until the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    texts = []
    while answer[:2] == struct.pack("<H", 5):
        (length,) = struct.unpack("<I", answer[2:6])
        texts.append(answer[6 : 6 + length].rstrip(b"\0").decode())
        answer = answer[6 + length :]
    return [texts, answer == struct.pack("<H", 4)]


def half(port):
    """Images that are announced with 200 MiB, of which a part comes before the scanner is gone."""
    for _ in range(4):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(OPENED + image(matrix_size=(4096, 4096, 6)) + struct.pack("<Q", 0) + bytes(100_000))


def main():
    port = int(sys.argv[1])
    half(port)
    print(json.dumps({name: exchange(port, data) for name, data in CASES.items()}))


main()
