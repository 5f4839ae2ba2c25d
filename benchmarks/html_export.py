"""Pages of ``chargen export --html``: size, agreement with our engine, speed in Chromium.

    python -m benchmarks.html_export english my-run --text FILE

Agreement is the largest difference of a probability, over 1,000 characters of the text and all
tokens, from our engine in float32; beside it that of our own engine in int8. In parentheses is what
the loss is higher by, in nats per token. Speed is what the page says when it has written 20,000
characters, the best of three.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, sync_playwright

from chargen.engine import open_engine
from chargen.engine.html import to_html
from chargen.model.saved import SavedModel, open_model
from chargen.sampling.filters import probabilities

LENGTH, SKIPPED, WRITTEN = 1000, 5000, 20_000  # characters
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

Probabilities = NDArray[np.float64]

# The engine of the page, outside of its worker.
PROBABILITIES = """async ([code, about, weights, text]) => {
  const names = "{Model, openArrays, openTokenizer, softmax}";
  const program = new Function("self", `${code}; return ${names}`);
  const {Model, openArrays, openTokenizer, softmax} = program({});
  const model = new Model(about = JSON.parse(about), await openArrays(weights, about));
  return openTokenizer(about.tokenizer).encode(text).map(id => {
    model.read(id);
    return Array.from(softmax(model.scores()));
  });
}"""


def in_browser(browser: Browser, page: str, text: str) -> Probabilities:
    """Return the probabilities after each character of a text (T, V), by the engine of a page."""
    parts = dict(re.findall(r'id="(worker|about|weights)">(.*?)</script>', page, re.DOTALL))
    blank = browser.new_page()
    given = [parts["worker"], parts["about"], parts["weights"], text]
    found = blank.evaluate(PROBABILITIES, given)
    blank.close()
    return np.array(found)


def in_engine(model: SavedModel, text: str, *, int8: bool) -> Probabilities:
    """Return the same by our engine."""
    engine = open_engine(model, "cpu", 1, int8=int8)
    ids = model.tokenizer.encode(text).astype(np.int64)[None]
    return probabilities(engine.run(ids, engine.init_state(1))[0][0])


def speed(browser: Browser, file: Path) -> int:
    """Return the characters per second that a page says."""
    page: Any = browser.new_page()
    page.goto(file.as_uri())
    page.locator("#generate:enabled").wait_for()
    page.fill("#length", str(WRITTEN))
    page.focus("#text")
    found = []
    for seed in "123":
        page.fill("#text", "The ")
        page.fill("#seed", seed)
        page.focus("#text")
        page.keyboard.press("Control+Enter")
        page.locator(f"#status:has-text('seed {seed}')").wait_for(timeout=120_000)
        said = re.search(r"([\d,]+) characters/s", page.inner_text("#status"))
        assert said
        found.append(int(said[1].replace(",", "")))
    page.close()
    return max(found)


def difference(exact: Probabilities, other: Probabilities, ids: NDArray[np.int64]) -> str:
    """Return the largest difference of two engines (T, V), and that of the loss in nats."""
    places = np.arange(len(ids) - 1), ids[1:]
    loss = np.log(exact[places]).mean() - np.log(other[places]).mean()
    return f"{np.abs(other - exact).max():.1e} ({loss:+.5f})"


def row(browser: Browser, name: str, text: str) -> str:
    """Return the row of a model."""
    model = open_model(name)
    exported = to_html(model)
    page = exported.page.decode()
    ids = model.tokenizer.encode(text).astype(np.int64)
    exact = in_engine(model, text, int8=False)
    told = in_browser(browser, page, text), in_engine(model, text, int8=True)
    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder) / "page.html").write_bytes(exported.page)
        rate = speed(browser, file)
    size = len(exported.page)
    cells = (
        *(f"`{name}`", f"{exported.weights:,}", f"{size / 1e6:.1f} MB"),
        *(f"{size / exported.weights:.2f}", str(exported.bits or "int8 before")),
        *(difference(exact, other, ids) for other in told),
        f"{rate:,}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--text", type=Path, required=True)
    given = parser.parse_args()
    text = given.text.read_text("utf-8")[SKIPPED : SKIPPED + LENGTH]
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        print("| model | weights | file | bytes/weight | bits | page | our int8 | characters/s |")
        print(f"|---|---|---|---|---|---|---|---|  (Chromium {browser.version})")
        for name in given.models:
            print(row(browser, name, text), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
