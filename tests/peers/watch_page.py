"""A technologist and an engineer at the page of a running service, played in headless Chromium.

Usage: watch_page.py URL DICOM_PORT SERIES_DIR OUT_DIR
The service has users vera (viewer) and egon (engineer) with the passwords below, and a supervisor MCU that is not there: its
alarm comes by itself. A series is sent by DCMTK's `storescu` while the page is open. Nothing is done by mouse. Pictures go to
OUT_DIR. Ends with 1 and a sentence where the page does not do what it should.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

from browse import COLOURS, DRAWN, ONLINE
from chromium import Browser

PASSWORDS = {"vera": "look only please", "egon": "may acknowledge"}
ALARM = "mcu link"
# For a series on a busy machine; for the alarm, which wants thirty seconds of silence.
JOB_S, ALARM_S = 180, 90
# The session of a stream is asked for every five seconds, and the browser tries again after three.
SESSION_S = 30
LOGIN = 'document.querySelector("dialog[open]") !== null'
HAS_ALARM = f'document.getElementById("alarms")?.innerText.includes({ALARM!r})'
ACKNOWLEDGE = "#alarms button"
# Every state that a job was shown in, one after the other.
LIFE = """window.unreloaded = true; window.life = [];
new MutationObserver(() => {
  const state = document.querySelector("#jobs .state")?.dataset.state;
  if (state && life.at(-1) !== state) life.push(state);
}).observe(document.getElementById("jobs"), { childList: true, subtree: true });"""
ORDER = ["receiving", "complete", "running", "sending", "done"]
GUARDED = ["/api/jobs", "/api/health", "/api/history", "/api/fleet", "/api/alarms", "/api/me", "/events", "/metrics"]
# What an answer of 401 or 403 leaves in the console is wanted here.
REFUSED = re.compile(r"network: .* status of 40[13] ")


def status(tab, path, method="GET"):
    options = f'{{ method: {method!r}, headers: {{ "X-Sagitta": "1" }} }}'
    return tab.evaluate(f"fetch({path!r}, {options}).then((answer) => answer.status)")


def log_in(tab, name, password):
    tab.wait("the login", LOGIN)
    tab.evaluate('document.querySelectorAll("dialog input").forEach((input) => (input.value = ""))')
    tab.evaluate('document.querySelector("dialog input").focus()')
    tab.type(name)
    tab.press("Tab")
    tab.type(password)
    tab.press("Enter")


def nobody_is_let_in_without_a_login(tab):
    tab.wait("the login", LOGIN)
    for path in GUARDED:
        assert status(tab, path) == 401, f"{path} is answered to nobody"
    for key in ("Escape", "Escape"):
        tab.press(key)
    tab.wait("the login after Escape", LOGIN)
    log_in(tab, "vera", "a wrong password")
    tab.wait("the refusal", 'document.getElementById("login-error").textContent.includes("wrong")')
    assert tab.evaluate('document.querySelectorAll("#jobs li").length') == 0, "jobs before the login"
    log_in(tab, "vera", PASSWORDS["vera"])
    tab.wait("the name of who is here", 'document.getElementById("logout").innerText.includes("vera (viewer)")')
    tab.wait("the device", ONLINE)


def a_series_lives_before_ones_eyes(tab, port, series):
    tab.evaluate(LIFE)
    send = ["storescu", "+sd", "+r", "-R", "-aec", "SAGITTA", "-aet", "SCANNER", "127.0.0.1", port, series]
    subprocess.run(send, check=True, timeout=JOB_S)
    tab.wait("the end of the job", 'window.life.at(-1) === "done"', JOB_S)
    life = tab.evaluate("window.life")
    # On a quick machine the first states pass between two drawings of the page.
    assert life == [state for state in ORDER if state in life] and len(life) >= 2, f"its life was {life}"
    tab.wait("the slice with its overlay", DRAWN)
    tab.wait("the result in the messages", """document.querySelector('#messages [data-state="result"]') !== null""")
    assert tab.evaluate("window.unreloaded") is True, "the page was loaded again"


def keys_reach_everything(tab):
    tab.tab_to("#canvas")
    label = 'document.getElementById("canvas").getAttribute("aria-label")'
    before = tab.evaluate(label)
    assert re.fullmatch(r"Slice \d+ of \d+ with overlay", before), before
    tab.press("ArrowUp")
    tab.wait("another slice", f"{label} !== {before!r} && {DRAWN}")
    tab.press("o")
    tab.wait("the slice without its overlay", f"{COLOURS}[0] === 0 && !{label}.includes('overlay')")
    tab.press("o")
    tab.wait("the overlay again", DRAWN)
    for _ in range(3):
        tab.press("ArrowRight")
    tab.wait("a vertebra", r'/Vertebra .+/.test(document.getElementById("vertebra-title").innerText)')
    tab.wait("its measures", 'document.querySelectorAll("#measures dd").length >= 5')
    for control in ("#slice", "#overlay", "#opacity", "#reset-window", "#jobs button", "nav a"):
        tab.tab_to(control)


def a_viewer_sees_the_alarm_and_cannot_acknowledge(tab):
    tab.wait("the alarm", HAS_ALARM, ALARM_S)
    assert tab.evaluate("window.unreloaded") is True, "the page was loaded again"
    assert tab.evaluate(f'document.querySelector("{ACKNOWLEDGE}")') is None, "a viewer has the button"
    assert status(tab, "/api/alarms/mcu_link/acknowledge", "POST") == 403, "a viewer may acknowledge"


def the_other_pages(browser, url, out):
    """Health and wall, in a tab of their own; returns it."""
    tab = browser.open(f"{url}health")
    tab.size(1400, 900)
    plots = 'document.querySelectorAll(".plot:not([hidden])").length'
    tab.wait("the plots", f"{plots} >= 3")
    tab.wait("their curves", """[...document.querySelectorAll(".plot:not([hidden]) canvas")].every((canvas) =>
        canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte > 0))""")
    tab.tab_to(".plot canvas")
    tab.press("ArrowLeft")
    tab.wait("the time at the cursor", r"""/\d\d:\d\d/.test(document.querySelector(".plot:not([hidden]) time").innerText)""")
    tab.wait("the alarm", HAS_ALARM)
    look(tab, out, "health")
    tab.go(f"{url}wall")
    tab.wait("the device", """document.getElementById("devices")?.innerText.includes("mr1")""")
    tab.wait("its alarm", f"""document.querySelector('[data-level="warn"]')?.innerText.includes({ALARM!r})""")
    tab.wait("another device of the site", """document.querySelector('[data-level="bad"]')?.innerText.includes("mr2")""")
    look(tab, out, "wall")
    return tab


def look(tab, out, name):
    """Pictures wide and narrow, dark and light; on a phone nothing is wider than it."""
    for size, (width, height) in {"wide": (1400, 900), "narrow": (420, 900)}.items():
        for scheme in ("light", "dark"):
            tab.size(width, height, scheme)
            tab.picture(out / f"{name}-{size}-{scheme}.png")
        wide = tab.evaluate("document.scrollingElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} wide where the screen is {width}"
    tab.size(1400, 900)


def a_session_that_ends_leads_to_the_login(tab, other):
    other.tab_to("#logout")
    other.press("Enter")
    other.wait("the login", LOGIN)
    tab.wait("the login where nobody logged out", LOGIN, SESSION_S)
    assert tab.evaluate('document.querySelectorAll("#jobs li").length') == 0, "jobs are left on the screen"
    assert not tab.evaluate('document.getElementById("canvas").width > 300 && ' + DRAWN), "a picture is left"


def an_engineer_acknowledges(tab):
    log_in(tab, "egon", PASSWORDS["egon"])
    tab.wait("the button", f'document.querySelector("{ACKNOWLEDGE}") !== null')
    tab.tab_to(ACKNOWLEDGE)
    tab.press("Enter")
    tab.wait("the alarm without it", f'{HAS_ALARM} && document.querySelector("{ACKNOWLEDGE}") === null')
    kept = 'fetch("/api/alarms").then((answer) => answer.json())'
    alarms = {alarm["code"]: alarm["acknowledged"] for alarm in tab.evaluate(kept)}
    assert alarms["mcu_link"] is True, alarms


def nothing_is_complained_of(tabs):
    for tab in tabs:
        unwanted = [complaint for complaint in tab.complaints if not REFUSED.match(complaint)]
        assert not unwanted, f"the console says {unwanted}"


def complaints_would_be_seen(tab):
    """Or else their absence would say nothing."""
    tab.complaints.clear()
    tab.evaluate("""document.body.setAttribute("style", "color: red"); console.error("a complaint");
        setTimeout(() => { throw new Error("a fault") })""")
    tab.evaluate("new Promise((done) => setTimeout(done, 200))")
    for word in ("policy: style-src", "a complaint", "a fault"):
        assert any(word in complaint for complaint in tab.complaints), f"{word} was not seen: {tab.complaints}"


def main():
    url, port, series, out = sys.argv[1:5]
    out = pathlib.Path(out)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(profile) as browser:
        tab = browser.open(url)
        tab.size(1400, 900)
        nobody_is_let_in_without_a_login(tab)
        a_series_lives_before_ones_eyes(tab, port, series)
        keys_reach_everything(tab)
        a_viewer_sees_the_alarm_and_cannot_acknowledge(tab)
        look(tab, out, "jobs")
        other = the_other_pages(browser, url, out)
        a_session_that_ends_leads_to_the_login(tab, other)
        an_engineer_acknowledges(tab)
        nothing_is_complained_of([tab, other])
        complaints_would_be_seen(tab)


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"watch_page: {error}")
