"""Checks reports in headless Chromium at the widths of phones, tablets and desktops, and takes screenshots.

    python tests/screenshots.py run/report.html compare.html --out shots/

writes `<folder>-<width>-<light|dark>.png` for each page, prints its faults, and exits with 1 if there are any. It needs
Chromium, such as Debian's package; `CHROMIUM` may name its program. The picture in the README is created by

    advisor demo --out demo/
    python tests/screenshots.py demo/report.html --out docs/ --widths 1000 --schemes light --top 1300 --format webp
"""

import argparse
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS = (400, 800, 1400)
SCHEMES = {"dark": 0, "light": 1}  # the numbers that Blink uses
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MAX_HEIGHT = 16_000  # pixels that Chromium can paint at once
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
    "--virtual-time-budget=2000",
)  # fmt: skip

# Each page is loaded into a frame of each width, since a window cannot be as narrow as a phone. Pages forbid scripts,
# so they are inspected from the outside.
HARNESS = """<!doctype html><meta charset="utf-8"><title>harness</title>
<style>html, body {{ margin: 0; background: #888 }} iframe {{ border: 0; display: block; height: {height}px }}</style>
<body><script type="application/json" id="pages">{pages}</script>
<script>
const inspect = frame => {{
  const page = frame.contentDocument, width = frame.clientWidth, wrong = [];
  const root = page.documentElement;
  if (root.scrollWidth > width) wrong.push(`is ${{root.scrollWidth}} px wide`);
  for (const element of page.querySelectorAll("main *, header *, footer *")) {{
    if (element.closest(".scroll, nav, svg, .skip")) continue;
    const box = element.getBoundingClientRect();
    if (box.right > width + 1 || box.left < -1) wrong.push(`${{element.tagName}} reaches to ${{box.right}}`);
  }}
  for (const image of page.images)
    if (!image.complete || !image.naturalWidth || !image.clientWidth) wrong.push(`does not show ${{image.alt}}`);
  const active = page.querySelectorAll("script, iframe, object, embed, form, base, [onerror], [onload], [onclick]");
  if (active.length) wrong.push(`holds ${{active[0].outerHTML.slice(0, 80)}}`);
  const dark = getComputedStyle(page.body.firstElementChild).backgroundColor;
  return {{width, height: root.scrollHeight, images: page.images.length, background: dark, wrong}};
}};
const found = [], pages = JSON.parse(document.getElementById("pages").textContent);
for (const [index, text] of pages.entries()) for (const width of {widths}) {{
  const frame = document.createElement("iframe");
  frame.style.width = `${{width}}px`;
  frame.srcdoc = text;
  frame.onload = () => {{
    found.push({{page: index, ...inspect(frame)}});
    if (found.length === pages.length * {widths}.length) {{
      const result = document.createElement("pre");
      result.id = "found";
      result.textContent = JSON.stringify(found);
      if ({tell}) document.body.replaceChildren(result);
    }}
  }};
  document.body.append(frame);
}}
</script>"""


def find_browser() -> str | None:
    """Returns the path of Chromium, or `None` if it is not installed."""
    named = os.environ.get("CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


def inspect(browser: str, pages: list[Path], *, scheme: str = "light", widths: tuple[int, ...] = WIDTHS) -> list[dict]:
    """Loads every page at every width. Returns `page`, `width`, `height`, `images` and the faults `wrong` of each."""
    printed, logged = _load(browser, pages, widths, scheme, "--dump-dom")
    match = re.search(r'<pre id="found">(.*?)</pre>', printed, re.DOTALL)
    if match is None:
        raise RuntimeError(f"Expected the findings of the browser. Received: {printed[-500:]!r}, {logged[-2000:]!r}.")
    found = json.loads(html.unescape(match[1]))
    errors = re.findall(r"CONSOLE.*", logged)
    for result in found:
        result["page"] = pages[result["page"]]
        result["wrong"] += errors
    return sorted(found, key=lambda result: (str(result["page"]), result["width"]))


def shoot(browser: str, page: Path, out: Path, *, width: int, height: int, scheme: str) -> None:
    """Writes a screenshot of a whole page of a given width and height."""
    from PIL import Image

    height = min(height, MAX_HEIGHT)
    size = f"--window-size={max(width, 500)},{height}"
    with tempfile.TemporaryDirectory(prefix="advisor-shot-") as folder:
        shot = Path(folder) / "shot.png"
        _load(browser, [page], (width,), scheme, f"--screenshot={shot}", size, height=height, tell=False)
        with Image.open(shot) as image:
            image.convert("RGB").crop((0, 0, width, min(height, image.height))).save(out, quality=80)


def _load(browser, pages, widths, scheme, *options, height=900, tell=True) -> tuple[str, str]:
    texts = json.dumps([page.read_text(encoding="utf-8") for page in pages]).replace("<", "\\u003c")
    with tempfile.TemporaryDirectory(prefix="advisor-browser-") as folder:
        harness = Path(folder) / "harness.html"
        filled = HARNESS.format(pages=texts, widths=json.dumps(widths), height=height, tell=json.dumps(tell))
        harness.write_text(filled, encoding="utf-8")
        done = subprocess.run(
            [browser, *FLAGS, f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
             f"--user-data-dir={folder}/profile", *options, harness.as_uri()],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
    return done.stdout, done.stderr


def main() -> None:
    """Takes the screenshots and prints the faults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="+", type=Path, help="report.html of a folder, or another page")
    parser.add_argument("--out", type=Path, required=True, help="folder for the screenshots")
    parser.add_argument("--widths", nargs="+", type=int, default=WIDTHS, help="widths of the frames in pixels")
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=list(SCHEMES))
    parser.add_argument("--top", type=int, default=MAX_HEIGHT, help="height of the screenshot from the top, in pixels")
    parser.add_argument("--format", choices=("png", "webp"), default="png")
    given = parser.parse_args()
    browser = find_browser()
    if browser is None:
        sys.exit("Expected Chromium. Received: no such program. Install it, or give its path in CHROMIUM.")
    if missing := [str(page) for page in given.pages if not page.is_file()]:
        sys.exit(f"Expected pages. Received: {', '.join(missing)}, which do not exist. Check the paths.")
    given.out.mkdir(parents=True, exist_ok=True)
    wrong = False
    for scheme in given.schemes:
        for found in inspect(browser, given.pages, scheme=scheme, widths=tuple(given.widths)):
            page, width, height = found["page"], found["width"], min(found["height"], given.top)
            name = page.parent.name if page.stem == "report" else page.stem
            picture = given.out / f"{name}-{width}-{scheme}.{given.format}"
            shoot(browser, page, picture, width=width, height=height, scheme=scheme)
            print(f"{picture}: {height} px high, {found['images']} images", *found["wrong"], sep="\n  ")
            wrong = wrong or bool(found["wrong"])
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
