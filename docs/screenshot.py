"""Take the screenshot of docs/view.md: the page of `vl2 demo --view` in Chromium.

python docs/screenshot.py [docs/view.jpg]
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

QUALITY = 70
SIZE = {"width": 1200, "height": 900}
WATCHED = "find every mug, bowl and can"


def use_page(page: Page, url: str) -> None:
    """Open the page, wait for the demo's first answer and start a watch."""
    page.goto(url)
    expect(page.locator("#answers li[data-status=OK]")).to_be_visible()
    page.get_by_label("Sentence", exact=True).fill("where is the orange can?")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#answers img")).to_be_visible()
    page.get_by_label("Sentence", exact=True).fill(WATCHED)
    page.get_by_role("button", name="Watch").click()
    expect(page.locator("#answers li.live .facts")).to_contain_text("answer 5")
    # Of a full span of time.
    page.wait_for_timeout(2500)


def main() -> None:
    """Run the demo, use its page and write the screenshot."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/view.jpg")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is not installed; on Debian: apt-get install chromium")
    words = [sys.executable, "-m", "vl2_ros.cli", "demo", "--view", "--view-port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout is not None
            (url,) = re.findall(r"http://\S+", demo.stdout.readline())
            expect.set_options(timeout=60_000)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium)
                page = browser.new_page(viewport=SIZE)
                use_page(page, url)
                page.screenshot(path=target, type="jpeg", quality=QUALITY)
                browser.close()
        finally:
            demo.terminate()


if __name__ == "__main__":
    main()
