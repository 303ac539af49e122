"""Take the pictures of docs/images but groups.png: a run's page, the page of `grpo watch`, and the site of docs/.

    python tools/pictures.py runs/two_grpo runs/grpo_16

The first run is finished, the second one may be running. The site is the one that `make docs` has built. Wide pictures
are half light and half dark, narrow ones have both beside each other. It needs Chromium. Look at what it has written.
"""

import argparse
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from grpo_jax.reporting.watch import make_server

ROOT = Path(__file__).parent.parent
SITE = ROOT / "build" / "site"
IMAGES = ROOT / "docs" / "images"
WIDE, NARROW = (1280, 900), (390, 844)
GAP = 16  # between narrow pictures
COLORS = 256  # which keep the files small


def take(address: str, size: tuple[int, int], *, dark: bool) -> Image.Image:
    """Return what Chromium shows of a page in a window of this size."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "chromium")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "picture.png")
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
        flags += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--window-size={},{}".format(*size)]
        flags += [f"--user-data-dir={folder}/profile", f"--screenshot={file}"]
        subprocess.run([browser, *flags, address], check=True, capture_output=True, timeout=120)
        return Image.open(file).convert("RGB")


def save(picture: Image.Image, name: str) -> None:
    """Write a picture with few colors."""
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(IMAGES / f"{name}.png", optimize=True)


def wide(name: str, address: str) -> None:
    """Write a wide picture of a page, whose left half is light and whose right half is dark."""
    picture, half = take(address, WIDE, dark=False), (WIDE[0] // 2, 0)
    picture.paste(take(address, WIDE, dark=True).crop((*half, *WIDE)), half)
    save(picture, name)


def narrow(name: str, addresses: Sequence[str]) -> None:
    """Write narrow pictures of pages beside each other, each light and dark."""
    taken = [take(address, NARROW, dark=dark) for address in addresses for dark in (False, True)]
    step = NARROW[0] + GAP
    picture = Image.new("RGB", (len(taken) * step - GAP, NARROW[1]), "gray")
    for index, one in enumerate(taken):
        picture.paste(one, (index * step, 0))
    save(picture, name)


def main() -> None:
    """Write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs=2)
    runs = parser.parse_args().runs
    with make_server(runs, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        watch, report = f"http://127.0.0.1:{server.server_port}/", (runs[0] / "report.html").resolve().as_uri()
        wide("watch", watch)
        wide("report", report)
        narrow("narrow", [report, watch])
        server.shutdown()
    start, concepts, results = ((SITE / f"{page}.html").as_uri() for page in ("index", "concepts", "results"))
    wide("site", concepts)
    narrow("site_narrow", [start, results])


if __name__ == "__main__":
    main()
