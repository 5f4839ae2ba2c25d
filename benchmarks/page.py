"""Size of the page of ``chargen heat --html``, and time of a browser to open it.

    python -m benchmarks.page TEXT [-m MODEL] [--sizes 3000 100000 250000]

Headless Chromium opens the page of the beginning of a text and dumps the DOM. The time of an empty
page, the browser's own start, is subtracted.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 3


def seconds_to_open(browser: str, page: Path) -> float:
    """Return the median time in which the browser opens a page."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        subprocess.run([*command, page.as_uri()], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    """Print a row per size: characters, bytes, bytes per character, seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    parser.add_argument("-m", "--model")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3_000, 100_000, 250_000])
    options = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no chromium, and no google-chrome")
    model = [] if options.model is None else ["-m", options.model]
    text = options.text.read_text()
    print("| characters | bytes | bytes per character | seconds to open |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        part, page = Path(folder, "part.txt"), Path(folder, "page.html")
        page.write_text("<!doctype html>")
        empty = seconds_to_open(browser, page)
        for size in options.sizes:
            part.write_text(text[:size])
            command = [sys.executable, "-m", "chargen", "heat", str(part), "--html", str(page)]
            subprocess.run([*command, "--force", *model], check=True, capture_output=True)
            count, page_size = len(text[:size]), page.stat().st_size
            opened = seconds_to_open(browser, page) - empty
            print(
                f"| {count:,} | {page_size:,} | {page_size / count:.1f} | {opened:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
