"""The page in a real browser."""

from __future__ import annotations

import re
import shutil
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.clients.live_stage import FRAME_HW, LiveStage
from tests.node.wire import PATIENCE_S, wait_until
from vl2_ros.structures import PromptKind

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_MS = 1e3 * PATIENCE_S

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def stage():
    with closing(LiveStage()) as stage:
        yield stage


def open_page(browser: Browser, url: str, **options) -> tuple[Page, list[str]]:
    """Open a page; returns it, and what it complained about."""
    page = browser.new_page(**options)
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda one: complaints.append(one.text) if one.type == "error" else None)
    page.goto(url)
    return page, complaints


def wait_for_frames(page: Page) -> None:
    expect(page.locator("body")).to_have_attribute("data-frames", re.compile(r"\d+"))


def find_answer(page: Page, status: str = "OK"):
    return page.locator(f"#answers li[data-status={status}]")


def test_a_sentence_is_typed_and_answered_on_both_pages(browser, stage):
    requested: list[str] = []
    page, complaints = open_page(browser, stage.server.url)
    page.on("request", lambda request: requested.append(request.url))
    second, _ = open_page(browser, stage.server.url)
    page.reload()
    wait_for_frames(page)
    wait_for_frames(second)
    page.get_by_label("Sentence", exact=True).fill("segment the mug")
    page.keyboard.press("Enter")
    for one in (page, second):
        answer = find_answer(one)
        expect(answer.locator(".question")).to_have_text("segment the mug")
        expect(answer.locator(".text")).to_have_text("answer to: segment the mug")
        expect(answer.locator(".found")).to_have_text("mug 0.90, bowl 0.50")
        expect(answer.get_by_alt_text("the image of this answer")).to_be_visible()
    assert not complaints
    assert requested and all(url.startswith((stage.origin, "data:image/")) for url in requested), (
        "nothing comes from elsewhere"
    )
    page.close()
    second.close()


@pytest.mark.parametrize("view_height", [1000, 500])
def test_a_box_and_a_point_are_drawn_with_the_mouse(browser, stage, view_height):
    size = {"width": 1280, "height": view_height}
    page, complaints = open_page(browser, stage.server.url, viewport=size)
    wait_for_frames(page)
    height, width = FRAME_HW

    def go(x: float, y: float) -> None:
        area = page.locator("#image").bounding_box()
        # In a low window there are black bars at the sides.
        scale = min(area["width"] / width, area["height"] / height)
        left = area["x"] + (area["width"] - width * scale) / 2
        page.mouse.move(left + x * scale, area["y"] + y * scale)

    def choose(tool: str) -> None:
        page.get_by_label(tool, exact=True).check()
        page.locator("#image").scroll_into_view_if_needed()

    choose("box")
    go(400, 300)
    page.mouse.down()
    go(250, 200)
    go(100, 60)
    page.mouse.up()
    expect(page.locator("#drawn rect")).to_have_count(1)
    choose("point")
    go(320, 240)
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("#drawn circle")).to_have_count(1)
    page.get_by_label("Sentence", exact=True).fill("find these")
    page.get_by_role("button", name="Ask").click()
    expect(find_answer(page)).to_be_visible()
    box, point = stage.perceiver.seen[-1][1].visual_prompts
    assert (box.kind, point.kind) == (PromptKind.BOX, PromptKind.POINT)
    np.testing.assert_allclose(box.points_xy, [[100, 60], [400, 300]], atol=1.5)
    np.testing.assert_allclose(point.points_xy, [[320, 240]], atol=1.5)
    expect(page.locator("#drawn *")).to_have_count(0)
    assert not complaints
    page.close()


def test_the_keyboard_does_all_of_it(browser, stage):
    page, complaints = open_page(browser, stage.server.url)
    wait_for_frames(page)
    page.get_by_label("box", exact=True).check()
    page.locator("#stage").focus()
    for key in ("Enter", "ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.get_by_label("point", exact=True).check()
    page.locator("#stage").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name=re.compile("Remove point")).focus()
    page.keyboard.press("Enter")
    page.get_by_label("Sentence", exact=True).fill("find this")
    page.get_by_role("button", name="Watch").focus()
    page.keyboard.press("Enter")
    stop = page.get_by_role("button", name="Stop: find this")
    wait_until(lambda: stage.perceiver.seen, "the node was asked")
    (box,) = stage.perceiver.seen[0][1].visual_prompts
    np.testing.assert_allclose(box.points_xy, [[320, 240], [340, 250]])
    expect(page.locator("#age")).to_have_text(re.compile(r"result \d+\.\d s old"))
    stop.focus()
    page.keyboard.press("Enter")
    expect(find_answer(page, "ENDED")).to_be_visible()
    expect(stop).to_have_count(0)
    assert not complaints
    page.close()


def test_what_comes_is_text(browser, stage):
    page, complaints = open_page(browser, stage.server.url)
    wait_for_frames(page)
    attack = '<img src=x onerror="document.title=1"> find <b>it</b>'
    page.get_by_label("Sentence", exact=True).fill(attack)
    page.keyboard.press("Enter")
    expect(find_answer(page).locator(".text")).to_have_text(f"answer to: {attack}")
    assert page.title() == "vl2 view" and not complaints
    assert page.locator("#answers b").count() == 0
    page.close()


def test_errors_are_shown(browser, stage):
    page, _ = open_page(browser, stage.server.url)
    wait_for_frames(page)
    page.get_by_label("Sentence", exact=True).fill("   ")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text(re.compile("1 to 4000 characters"))
    page.get_by_label("Sentence", exact=True).fill("fail")
    page.keyboard.press("Enter")
    expect(find_answer(page, "FAILED")).to_have_class("bad")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser, stage, scheme):
    size = {"width": 360, "height": 740}
    page, complaints = open_page(
        browser, stage.server.url, viewport=size, color_scheme=scheme, has_touch=True
    )
    wait_for_frames(page)
    page.get_by_label("Sentence", exact=True).fill("segment " + "mug" * 80)
    page.get_by_role("button", name="Ask").tap()
    expect(find_answer(page)).to_be_visible()
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= size["width"]
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    red = int(re.findall(r"\d+", ground)[0])
    assert red > 200 if scheme == "light" else red < 60
    assert not complaints
    page.close()


def test_a_page_of_another_origin_can_neither_command_nor_look(browser, stage):
    """The page of a server on another port, as any page of the web is another origin."""
    script = f"""
      const say = (text) => document.body.append(text + ";");
      const socket = new WebSocket("ws://127.0.0.1:{stage.server.port}/live?token=");
      socket.onopen = () => socket.send('{{"type":"ask","text":"find it"}}');
      socket.onmessage = () => say("seen");
      socket.onclose = () => say("closed");
      fetch("{stage.origin}/", {{mode: "cors"}}).then(() => say("read"), () => say("unread"));
    """

    class Attacker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - named by the library
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<body><script>{script}</script></body>".encode())

        def log_message(self, *arguments: object) -> None:
            pass

    own, _ = open_page(browser, stage.server.url)
    wait_for_frames(own)
    with ThreadingHTTPServer(("127.0.0.1", 0), Attacker) as attacker:
        threading.Thread(target=attacker.serve_forever, daemon=True).start()
        page, _ = open_page(browser, f"http://127.0.0.1:{attacker.server_port}/")
        expect(page.locator("body")).to_contain_text("closed;")
        expect(page.locator("body")).to_contain_text("unread;")
        assert "seen" not in page.locator("body").inner_text()
        page.close()
        attacker.shutdown()
    assert not stage.perceiver.seen
    own.close()


def test_a_page_beyond_this_machine_needs_the_token(browser):
    with closing(LiveStage(host="0.0.0.0")) as stage:
        token = stage.server.url.partition("#")[2]
        stranger, _ = open_page(browser, f"{stage.origin}/")
        expect(stranger.locator("#node")).to_contain_text("not connected")
        page, _ = open_page(browser, f"{stage.origin}/#{token}")
        wait_for_frames(page)
        assert stranger.locator("body").get_attribute("data-frames") is None
        page.close()
        stranger.close()
