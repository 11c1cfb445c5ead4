"""Headless Chromium for peers that look at the page: tabs, keys, pictures, and everything that a page complains of.

Speaks the DevTools protocol over pipes (--remote-debugging-pipe); needs Debian's `chromium` and nothing of Python but Python.
"""

import base64
import itertools
import json
import os
import subprocess
import time

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"]
FLAGS += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
# For what a page does by itself, on a busy machine.
LIMIT_S = 60
# Key, code and what it types; letters and digits are their own.
KEYS = {"Enter": ("Enter", 13, "\r"), "Tab": ("Tab", 9, ""), "Escape": ("Escape", 27, ""), "ArrowLeft": ("ArrowLeft", 37, ""),
        "ArrowUp": ("ArrowUp", 38, ""), "ArrowRight": ("ArrowRight", 39, ""), "ArrowDown": ("ArrowDown", 40, "")}
# Runs in every document before its own scripts.
WATCH = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));"""


class Browser:
    """One Chromium; ends with its block."""

    def __init__(self, profile):
        # Chromium reads commands from descriptor 3 and answers on 4.
        (command_read, self.write), (read, answer_write) = os.pipe(), os.pipe()
        command_read, answer_write = (os.dup2(fd, n) for fd, n in ((command_read, 103), (answer_write, 104)))
        shell = 'exec 3<&103 4>&104; exec chromium "$@"'
        flags = [*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "chromium", *flags], pass_fds=(103, 104), stderr=subprocess.DEVNULL
        )
        os.close(command_read)
        os.close(answer_write)
        self.read, self.rest = read, b""
        self.numbers = itertools.count(1)
        self.tabs = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def message(self):
        while b"\0" not in self.rest:
            part = os.read(self.read, 1 << 16)
            assert part, "the browser ended"
            self.rest += part
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, session=None, **parameters):
        number = next(self.numbers)
        request = {"id": number, "method": method, "params": parameters}
        if session:
            request["sessionId"] = session
        text = json.dumps(request).encode() + b"\0"
        while text:
            text = text[os.write(self.write, text) :]
        while (answer := self.message()).get("id") != number:
            tab = self.tabs.get(answer.get("sessionId"))
            if tab:
                tab.hear(answer["method"], answer["params"])
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def open(self, url):
        """A new tab; all share their cookies."""
        return Tab(self, url)


class Tab:
    """One tab, and what its pages complained of."""

    def __init__(self, browser, url):
        self.browser, self.complaints = browser, []
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        browser.tabs[self.session] = self
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        # A tab in the background gets no frames otherwise.
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.go(url)

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def hear(self, method, what):
        if method == "Runtime.exceptionThrown":
            details = what["exceptionDetails"]
            self.complaints.append(f"exception: {details.get('exception', {}).get('description', details['text'])}")
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
            self.complaints.append(f"{what['type']}: {' '.join(str(a.get('value', a)) for a in what['args'])}")
        elif method == "Log.entryAdded" and what["entry"]["level"] == "error":
            entry = what["entry"]
            self.complaints.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")

    def go(self, url):
        self.call("Page.navigate", url=url)

    def evaluate(self, expression):
        """The value of JavaScript; of a promise, when it is kept."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait(self, what, expression, limit_s=LIMIT_S):
        """Waits until an expression is true, over pages that come and go; its value."""
        end = time.monotonic() + limit_s
        while True:
            try:
                if value := self.evaluate(expression):
                    return value
            except AssertionError as error:
                if "Cannot find context" not in str(error) and "navigated" not in str(error):
                    if time.monotonic() > end:
                        raise
            assert time.monotonic() < end, f"{what}: not within {limit_s} s; {self.text()[:2000]}"
            time.sleep(0.1)

    def text(self):
        return self.evaluate("document.body.innerText")

    def press(self, key, shift=False):
        """One key down and up: a name of KEYS, or a character."""
        name, number, types = KEYS.get(key, (key, ord(key.upper()) if len(key) == 1 else 0, key))
        parts = {"key": name, "windowsVirtualKeyCode": number, "modifiers": 8 if shift else 0}
        down = {**parts, "text": types} if types else parts
        self.call("Input.dispatchKeyEvent", type="keyDown", **down)
        self.call("Input.dispatchKeyEvent", type="keyUp", **parts)

    def type(self, text):
        for character in text:
            self.press(character)

    def tab_to(self, selector, most=60):
        """Reaches an element by the Tab key, as somebody without a mouse does."""
        for _ in range(most):
            if self.evaluate(f"document.activeElement?.matches({json.dumps(selector)})"):
                return
            self.press("Tab")
        raise AssertionError(f"{selector} is not reached by {most} Tabs; {self.text()[:1000]}")

    def size(self, width, height, scheme="dark"):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        # Two frames of layout; the canvas keeps what it drew.
        time.sleep(0.3)

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
