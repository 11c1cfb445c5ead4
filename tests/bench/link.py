"""Round trip of a question over the supervisor's link: the image in QEMU over a socket, and the simulator over its terminal.

Each question is GetStatus; its time runs from the first byte written to the last byte of the answer read, on this machine.
Neither end has a UART's speed: at 115 200 baud the wire adds 0.7 ms for the question and 1.6 ms for the answer, and the
processor that QEMU plays is not the product's. There is no peer, so no ratio. Usage: link.py [--quick]
"""

import argparse
import datetime
import os
import pathlib
import re
import select
import socket
import subprocess
import sys
import tempfile
import termios
import time
import tty

import history
import peers

QUESTIONS = 5_000
QUICK = 200
# Before the first that counts: caches, and QEMU's translation of the image.
WARM_UP = 100
LIMIT_S = 60
ANSWER_S = 5
MAX_FRAME = 128
# CRC-32C (Castagnoli), reflected.
POLYNOMIAL = 0x82F63B78
# Messages by their place in `firmware/link/src/message.rs`, postcard.
HELLO = bytes([0, 1, 2])
GET_STATUS = bytes([2])
STATUS = 2
# As `firmware/src/slots.rs` and `firmware/board/src/flash.rs`: the file that QEMU keeps the board's PSRAM in.
PSRAM_BYTES = 16 << 20
FLASH_BYTES = 2 * 2048 + 2 * 48 * 1024
SLOT_A = 2 * 2048
# As `firmware/link/src/image.rs`.
HEADER_BYTES = 1024
LENGTH_AT = 40
BOARD = history.ROOT / "firmware/board"
BENCH = history.ROOT / "firmware/src/bench.rs"


def checksum(message):
    crc = 0xFFFFFFFF
    for byte in message:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "little")


def frame(message):
    parts = (message + checksum(message)).split(b"\0")
    return b"".join(bytes([len(part) + 1]) + part for part in parts) + b"\0"


def message(frame):
    """Undoes `frame`; its checksum must hold."""
    body, at = bytearray(), 0
    while frame[at]:
        end = at + frame[at]
        body += frame[at + 1 : end] + b"\0"
        at = end
    del body[-1]
    if checksum(body[:-4]) != body[-4:]:
        sys.exit("link: an answer is damaged")
    return bytes(body[:-4])


class Line:
    def __init__(self, file):
        self.file = file

    def ask(self, question):
        """The answer and how long it took, in microseconds."""
        sent, answer, began = frame(question), b"", time.perf_counter_ns()
        os.write(self.file, sent)
        while not answer.endswith(b"\0"):
            if not select.select([self.file], [], [], ANSWER_S)[0]:
                sys.exit("link: no answer")
            answer += os.read(self.file, MAX_FRAME)
        return message(answer), (time.perf_counter_ns() - began) / 1000


def until(what, look):
    limit = time.monotonic() + LIMIT_S
    while time.monotonic() < limit:
        if (found := look()) is not None:
            return found
        time.sleep(0.05)
    sys.exit(f"link: {what} took more than {LIMIT_S} s")


def connected(path):
    try:
        line = socket.socket(socket.AF_UNIX)
        line.connect(str(path))
        return line
    except OSError:
        return None


def round_trips(line, questions):
    until("an answer to the greeting", lambda: True if line.ask(HELLO)[0][0] == 0 else None)
    times = []
    for n in range(WARM_UP + questions):
        answer, took = line.ask(GET_STATUS)
        if answer[0] != STATUS:
            sys.exit(f"link: {answer.hex()} is no status")
        if n >= WARM_UP:
            times.append(round(took, 1))
    return times


def board_programs():
    """Built by Debian's own Rust, as the tests do it."""
    drop = re.compile("CARGO|RUST")
    environment = {name: value for name, value in os.environ.items() if not drop.match(name)}
    target = peers.TARGET / "board"
    environment |= {"RUSTC": "/usr/bin/rustc", "RUSTC_BOOTSTRAP": "1", "CARGO_TARGET_DIR": str(target)}
    build = ["/usr/bin/cargo", "build", "--release", "--locked", "-q"]
    subprocess.run(build, check=True, cwd=BOARD, env=environment)
    return [target / "thumbv7em-none-eabihf/release" / name for name in ("boot", "slot-a", "slot-b")]


def factory(slots, folder):
    """A flash with version 1 in slot A, signed by the key of the bench."""
    seed = re.search(r'VENDOR_SEED: \[u8; 32\] = \*b"(.{32})"', BENCH.read_text())[1]
    key, update, flash = folder / "vendor.key", folder / "update", folder / "flash"
    key.write_bytes(seed.encode())
    sign = [os.environ["SAGITTA_BIN"], "mcu", "sign", "--key", key, "--version", "1", "--oldest", "1"]
    subprocess.run([*sign, *slots, update], check=True, stdout=subprocess.DEVNULL)
    with flash.open("wb") as file:
        file.truncate(PSRAM_BYTES)
        file.write(b"\xff" * FLASH_BYTES)
        file.seek(SLOT_A)
        images = update.read_bytes()
        length = int.from_bytes(images[LENGTH_AT : LENGTH_AT + 4], "little")
        file.write(images[: HEADER_BYTES + length])
    return flash


def in_qemu(folder, questions):
    boot, *slots = board_programs()
    flash, path = factory(slots, folder), folder / "link"
    command = ["qemu-system-arm", "-M", "mps2-an386,memory-backend=flash", "-display", "none", "-monitor", "none"]
    command += ["-object", f"memory-backend-file,id=flash,size={PSRAM_BYTES},share=on,mem-path={flash}"]
    command += ["-kernel", str(boot), "-serial", "chardev:link"]
    command += ["-chardev", f"socket,id=link,path={path},server=on,wait=on"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        line = until("QEMU", lambda: connected(path))
        return round_trips(Line(line.fileno()), questions)
    finally:
        process.kill()
        process.wait()


def in_simulator(folder, questions):
    build = ["cargo", "build", "--release", "--locked", "-q", "-p", "firmware"]
    subprocess.run(build, check=True)
    path = folder / "terminal"
    program = peers.TARGET / "release/firmware"
    process = subprocess.Popen([program, path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        until("the simulator", lambda: path.exists() or None)
        file = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(file, termios.TCSANOW)
        return round_trips(Line(file), questions)
    finally:
        process.stdin.close()
        process.wait()


def percentile(times, percent):
    return sorted(times)[min(len(times) * percent // 100, len(times) - 1)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} questions")
    quick = parser.parse_args().quick
    questions = QUICK if quick else QUESTIONS
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        runs = {"qemu": in_qemu(folder, questions), "simulator": in_simulator(folder, questions)}
    version = subprocess.run(["qemu-system-arm", "--version"], capture_output=True, text=True, check=True)
    run = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": "tests/bench/run link" + (" --quick" if quick else ""),
        "machine": history.machine() | {"qemu": version.stdout.splitlines()[0]},
        "microseconds": runs,
    }
    path = history.keep(run, "link", quick)
    print(f"round trip of GetStatus, {questions} questions to each")
    for name, times in runs.items():
        p50, p99, longest = percentile(times, 50), percentile(times, 99), max(times)
        print(f"  {name:10} p50 {p50:8.0f} us  p99 {p99:8.0f} us  longest {longest:8.0f} us")
    print(f"raw run: {path}")
    for name, times in runs.items():
        print(f"value link.{name}_p50 {percentile(times, 50):.0f} us")
        print(f"value link.{name}_p99 {percentile(times, 99):.0f} us")


main()
