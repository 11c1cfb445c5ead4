"""Opens the page in headless Chromium, waits until it is drawn, takes its picture wide and narrow, prints its DOM.

Usage: browse.py URL OUT_DIR
Drawn: the device is online, a job is done, and the canvas shows a picture with colours of the overlay in it.
"""

import pathlib
import sys
import tempfile

from chromium import Browser

SIZES = {"wide": (1400, 900), "narrow": (420, 900)}
# Pixels of the canvas whose colours differ by so much are the overlay's: the picture below it is grey.
COLOURS = """(() => {
  const canvas = document.getElementById("canvas");
  if (!canvas.width || !canvas.height) return [0, 0];
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let coloured = 0, grey = 0;
  for (let i = 0; i < data.length; i += 4) {
    const range = Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]);
    if (range > 40) coloured += 1; else if (data[i] > 20) grey += 1;
  }
  return [coloured, grey];
})()"""
ONLINE = 'document.getElementById("presence")?.dataset.state === "online"'
DONE = """document.querySelector('#jobs [data-state="done"]') !== null"""
DRAWN = f"{COLOURS}.every((count) => count > 1000)"


def main():
    url, out = sys.argv[1], pathlib.Path(sys.argv[2])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(profile) as browser:
        tab = browser.open(url)
        tab.wait("the device is online", ONLINE)
        tab.wait("a job is done", DONE)
        tab.wait("the slice is drawn with its overlay", DRAWN)
        for name, size in SIZES.items():
            tab.size(*size)
            tab.picture(out / f"{name}.png")
        print(tab.evaluate("document.documentElement.outerHTML"))


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        sys.exit(f"browse: {error}")
