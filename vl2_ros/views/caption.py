"""Draw the strip of text below an image: question, answer, notes, counts and times."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from vl2_ros.structures import Result

Color = tuple[int, int, int]

STRIP_COLOR: Color = (24, 26, 31)
STRIP_TEXT_COLOR: Color = (240, 242, 246)
STRIP_SOFT_COLOR: Color = (150, 156, 168)
#: Border and line of an image that is unlike those of training.
UNLIKE_COLOR: Color = (255, 176, 32)


@lru_cache(maxsize=16)
def load_font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of all texts, 9 pixels high at least."""
    return ImageFont.load_default(max(9.0, size))


def draw_caption(width: int, question: str, result: Result, text_px: float) -> Image.Image:
    """Draw the question in grey, the answer in white, and counts and times in small grey.

    Args:
        width: of the strip in pixels.
        question: the command; empty where it is not known.
        result: the answer; what a person should know beside it is a coloured line.
        text_px: height of the texts.
    """
    large, small = load_font(1.15 * text_px), load_font(0.9 * text_px)
    margin = round(0.8 * text_px)
    rows = [
        (line, large, STRIP_SOFT_COLOR) for line in _wrap_text(question, large, width - 2 * margin)
    ]
    answer = result.text.strip() or "(no text)"
    rows += [
        (line, large, STRIP_TEXT_COLOR) for line in _wrap_text(answer, large, width - 2 * margin)
    ]
    notes = _wrap_text(result.message, small, width - 2 * margin)
    rows += [(line, small, UNLIKE_COLOR) for line in notes]
    rows.append((_summarise(result), small, STRIP_SOFT_COLOR))
    height = 2 * margin + sum(_line_height(font) for _, font, _ in rows)
    strip = Image.new("RGB", (width, height), STRIP_COLOR)
    draw, top = ImageDraw.Draw(strip), margin
    for line, font, color in rows:
        draw.text((margin, top), line, font=font, fill=color)
        top += _line_height(font)
    return strip


def _line_height(font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    _, _, _, bottom = font.getbbox("Ág")
    return int(bottom * 1.25)


def _wrap_text(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, max_lines: int = 4
) -> list[str]:
    if not text:
        return []
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], lines[max_lines - 1] + " …"]
    return lines


def _summarise(result: Result) -> str:
    count = sum(len(branch.detections) for branch in result.branches)
    routes = " ".join(route.value for route in result.routes if route.value) or "text only"
    parts = [routes, f"{count} found"] if result.branches else [routes]
    parts += [f"seed {one.seed}, {one.steps} steps of {one.scheduler}" for one in result.images]
    if result.stage_ms:
        parts.append(f"{sum(result.stage_ms.values()):.0f} ms")
    return "   ·   ".join(parts)
