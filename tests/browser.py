"""A headless Chromium on this machine, and what a page must be like in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

OTHER = "SKDPAL_TEST_CHROMIUM"  # the path of another Chromium
MISSING = f"Chromium is not installed: apt-get install chromium, or name one in {OTHER}."
WIDTHS = (400, 1400)
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]

# What is looked at, in the page. Every problem is a line: rule, element, what is wrong.
_LOOK = r"""
(rules) => {
  const found = [];
  const name = (e) => {
    const words = (e.textContent || e.alt || "").trim().replace(/\s+/g, " ").slice(0, 40);
    return "<" + e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + "> " + words;
  };
  const say = (rule, e, what) => { if (rules.includes(rule)) found.push(rule + ": " + name(e) + ": " + what); };
  const root = document.documentElement;
  const all = [...document.querySelectorAll("body, body *")].filter((e) => !["SCRIPT", "STYLE", "TEMPLATE"].includes(e.tagName));
  const seen = (e) => {
    if (e.checkVisibility && !e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) return false;
    const box = e.getBoundingClientRect();
    return box.width > 1 && box.height > 1;
  };
  const style = (e) => getComputedStyle(e);
  const scrolls = (e) => ["auto", "scroll"].includes(style(e).overflowX);
  const inside = (e) => { for (let up = e.parentElement; up && up !== document.body; up = up.parentElement) if (scrolls(up) || ["hidden", "clip"].includes(style(up).overflowX)) return true; return false; };

  if (!root.lang) say("language", root, "no lang");
  if (!document.title.trim()) say("title", root, "no title");

  if (root.scrollWidth > root.clientWidth)
    for (const e of all) if (seen(e) && !inside(e) && e.getBoundingClientRect().right > root.clientWidth + 1) say("overflow", e, "reaches beyond the page, to " + Math.round(e.getBoundingClientRect().right) + " of " + root.clientWidth + " px");
  if (root.scrollWidth > root.clientWidth) say("overflow", root, "is " + root.scrollWidth + " px wide, of " + root.clientWidth);

  for (const image of document.images) {
    if (!(image.getAttribute("alt") || "").trim()) say("alternative", image, "no alternative text");
    if (!image.complete || image.naturalWidth === 0) say("image", image, "did not load");
    else if (image.currentSrc.includes("image/svg") && image.clientWidth < 0.85 * image.naturalWidth) say("shrunk", image, "drawn " + image.naturalWidth + " px wide, shown at " + image.clientWidth);
  }
  for (const drawing of document.querySelectorAll("svg")) {
    const words = drawing.getAttribute("aria-label") || (drawing.querySelector("title") || {}).textContent || drawing.getAttribute("aria-labelledby");
    if (seen(drawing) && drawing.getAttribute("aria-hidden") !== "true" && !(words || "").trim()) say("alternative", drawing, "a drawing without a label");
  }

  const headings = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((e) => [Number(e.tagName[1]), e]);
  if (rules.includes("headings")) {
    if (headings.filter(([level]) => level === 1).length !== 1) say("headings", root, "not exactly one h1");
    let last = 0;
    for (const [level, e] of headings) { if (level > last + 1) say("headings", e, "h" + level + " after h" + last); last = level; }
  }
  for (const table of document.querySelectorAll("table")) {
    const heads = [...table.querySelectorAll("th")];
    if (seen(table) && (!heads.length || heads.some((e) => !e.scope))) say("tables", table, "no headers, or headers without scope");
  }
  for (const e of all) {
    const reach = e.scrollWidth > e.clientWidth + 1 && scrolls(e);
    if (reach && seen(e) && e.tabIndex < 0 && !e.querySelector("a, button, input, summary")) say("keyboard", e, "scrolls, and no key reaches it");
  }

  const colour = (text) => { const n = text.match(/[\d.]+/g).map(Number); const unit = text.startsWith("color(srgb") ? 255 : 1; return { r: n[0] * unit, g: n[1] * unit, b: n[2] * unit, a: n.length > 3 ? n[3] : 1 }; };
  const over = (top, under) => ({ r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a), b: top.b * top.a + under.b * (1 - top.a), a: 1 });
  const behind = (e) => {
    const layers = [];
    for (let up = e; up; up = up.parentElement) {
      if (style(up).backgroundImage !== "none") return null;
      const layer = colour(style(up).backgroundColor);
      layers.push(layer);
      if (layer.a === 1) break;
    }
    return layers.reduceRight((under, top) => over(top, under), { r: 255, g: 255, b: 255, a: 1 });
  };
  const light = (c) => { const f = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }; return 0.2126 * f(c.r) + 0.7152 * f(c.g) + 0.0722 * f(c.b); };
  const done = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || done.has(e) || ["SCRIPT", "STYLE", "TEMPLATE", "TITLE"].includes(e.tagName) || !seen(e)) continue;
    done.add(e);
    const drawn = e.closest("svg") !== null && e.closest("foreignObject") === null;
    let size = parseFloat(style(e).fontSize);
    if (drawn && e.getScreenCTM) size *= e.getScreenCTM().a;
    if (size < 11.95) say("small", e, size.toFixed(1) + " px");
    const under = behind(e);
    if (!under) continue;
    const paint = drawn ? style(e).fill : style(e).color;
    if (!paint.startsWith("rgb") && !paint.startsWith("color(srgb")) continue;
    const ink = light(over(colour(paint), under)), paper = light(under);
    const contrast = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    const large = size >= 24 || (size >= 18.66 && Number(style(e).fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5)) say("contrast", e, contrast.toFixed(2));
  }
  return found;
}
"""
_LOUD = ("error", "warning")
RULES = (
    "language",
    "title",
    "overflow",
    "alternative",
    "image",
    "shrunk",
    "headings",
    "tables",
    "keyboard",
    "contrast",
    "small",
)


class Browser:
    """One Chromium for many pages. It is offline: a page that asks for anything does not get it, and is reported."""

    def __init__(self, running: Any) -> None:
        self._running = running

    def problems(
        self, page: Path | str, width: int, *, without: tuple[str, ...] = (), beside: bool = False
    ) -> list[str]:
        """What is wrong with a page, a line each.

        Parameters
        ----------
        page : path or str
            A file, or markup.
        width : int
            Of the screen, in pixels.
        without : tuple of str
            Rules that do not apply to it.
        beside : bool
            Whether it may load files of its own site, which lie on this machine, too.
        """
        said: list[str] = []
        context = self._running.new_context(viewport={"width": width, "height": 900}, offline=True)
        try:
            tab = context.new_page()
            tab.on(
                "console", lambda message: said.append(f"console: {message.text}") if message.type in _LOUD else None
            )
            tab.on("pageerror", lambda error: said.append(f"console: {error}"))
            own = page.resolve().as_uri() if isinstance(page, Path) else "about:blank"
            free = ("data:", "about:", *(["file:"] if beside else []))

            def note(request: Any) -> None:
                if request.url.split("#")[0] != own and not request.url.startswith(free):
                    said.append(f"request: {request.url[:200]}")

            tab.on("request", note)
            if isinstance(page, Path):
                tab.goto(own)
            else:
                tab.set_content(page)
            tab.wait_for_load_state("load")
            return said + tab.evaluate(_LOOK, [rule for rule in RULES if rule not in without])
        finally:
            context.close()


@contextmanager
def browser() -> Iterator[Browser]:
    """A running browser. Without Chromium the test is skipped; where REQUIRE_ALL is set, it fails.

    Its event loop runs in this thread, so it must be closed before other files' tests begin: no wider than a module.
    """
    path = os.environ.get(OTHER) or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        (pytest.fail if os.environ.get("REQUIRE_ALL") else pytest.skip)(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=_QUIET)
        try:
            yield Browser(running)
        finally:
            running.close()
