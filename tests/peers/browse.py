"""Opens the page in headless Chromium, waits until it is drawn, takes its picture wide and narrow, prints its DOM.

Usage: browse.py URL OUT_DIR
Drawn: the device is online, a job is done, and the canvas shows a picture with colours of the overlay in it. Speaks
the DevTools protocol over pipes (--remote-debugging-pipe): a plain --screenshot comes before the pictures do, and
virtual time would wait for the end of the event stream. Python only.
"""

import base64
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

LIMIT_S = 60
SIZES = {"wide": (1400, 900), "narrow": (420, 900)}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"]
FLAGS += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
# Pixels of the canvas whose colours differ by this are the overlay's: the picture below it is grey.
DRAWN = """(() => {
  const canvas = document.getElementById("canvas");
  if (document.getElementById("presence").dataset.state !== "online") return "the device is not online";
  if (!document.querySelector('#jobs [data-state="done"]')) return "no job is done";
  if (!canvas.width || !canvas.height) return "the canvas is empty";
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let coloured = 0, grey = 0;
  for (let i = 0; i < data.length; i += 4) {
    const range = Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]);
    if (range > 40) coloured += 1; else if (data[i] > 20) grey += 1;
  }
  return coloured > 1000 && grey > 1000 ? "" : `${coloured} coloured and ${grey} grey pixels`;
})()"""


class Browser:
    """One Chromium with one tab."""

    def __init__(self, profile):
        # Chromium reads commands from descriptor 3 and answers on 4.
        (command_read, self.write), (self.read, answer_write) = os.pipe(), os.pipe()
        command_read, answer_write = (os.dup2(fd, n) for fd, n in ((command_read, 103), (answer_write, 104)))
        shell = 'exec 3<&103 4>&104; exec chromium "$@"'
        flags = [*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "chromium", *flags], pass_fds=(103, 104), stderr=subprocess.DEVNULL
        )
        os.close(command_read)
        os.close(answer_write)
        self.answers = os.fdopen(self.read, "rb")
        self.numbers = itertools.count(1)
        self.session = None

    def message(self):
        text = bytearray()
        while (byte := self.answers.read(1)) not in (b"\0", b""):
            text += byte
        assert text, "the browser ended"
        return json.loads(text)

    def call(self, method, **parameters):
        number = next(self.numbers)
        request = {"id": number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.write, json.dumps(request).encode() + b"\0")
        while (answer := self.message()).get("id") != number:
            pass  # an event
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def open(self, url):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.navigate", url=url)

    def evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value")


def picture(browser, path, width, height):
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
    time.sleep(0.3)  # two frames of layout; the canvas keeps what it drew
    path.write_bytes(base64.b64decode(browser.call("Page.captureScreenshot", format="png")["data"]))


def main():
    url, out = sys.argv[1], pathlib.Path(sys.argv[2])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(profile)
        try:
            browser.open(url)
            end = time.monotonic() + LIMIT_S
            while (missing := browser.evaluate(DRAWN)) != "":
                assert time.monotonic() < end, f"the page is not drawn: {missing}"
                time.sleep(0.1)
            for name, size in SIZES.items():
                picture(browser, out / f"{name}.png", *size)
            print(browser.evaluate("document.documentElement.outerHTML"))
        finally:
            browser.process.kill()
            browser.process.wait()


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"browse: {error}")
