"""A few calls to a real browser, without a dependency: chromedriver speaks JSON over HTTP (W3C WebDriver).

with Browser() as browser, served(folder) as root:
    browser.open("file:///home/me/index.html")         # or f"{root}/index.html"
    browser.click("#token-3")
    browser.wait_for("document.title === 'done'")
    browser.run("return document.title")
"""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEYS = {
    "Right": "\ue014",
    "Left": "\ue012",
    "Down": "\ue015",
    "Up": "\ue013",
    "End": "\ue010",
    "Home": "\ue011",
}
KEYS |= {"Tab": "\ue004", "Space": " ", "Enter": "\ue007", "Escape": "\ue00c"}
FLAGS = (
    "headless",
    "no-sandbox",
    "disable-gpu",
    "disable-quic",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "hide-scrollbars",
)
# Contrast of every text against what lies behind it, as WCAG 2.2 computes it from the colours in use.
CONTRASTS = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, c) => {
  const value = channels(colour)[c] / 255;
  return sum + weight * (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
}, 0);
const background = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (colour.startsWith("rgb(")) return colour;
  }
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest("script")) continue;
  const inks = getComputedStyle(node);
  const both = [luminance(node.closest("svg") ? inks.fill : inks.color), luminance(background(node))];
  const [low, high] = both.sort((a, b) => a - b);
  found.push([(high + 0.05) / (low + 0.05), node.textContent.slice(0, 40)]);
}
return found;
"""
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that the standard gives to element references


def missing_browser() -> str | None:
    """Why there is no browser to test with; None where there is one."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else None


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder over HTTP, as long as the block runs; gives the address of its root."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Browser:
    """One headless Chromium with a profile of its own, gone at the end."""

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._root = f"http://127.0.0.1:{port}"
        try:
            self._wait_for_driver()
            options = {
                "args": [*(f"--{flag}" for flag in FLAGS), f"--user-data-dir={self.profile}"],
                "binary": shutil.which("chromium"),
            }
            logs = {"browser": "ALL", "performance": "ALL"}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
            session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
            self._root += f"/session/{session['sessionId']}"
        except BaseException:
            self._driver.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait()
            self._profile.cleanup()

    @property
    def profile(self) -> str:
        """The folder of its profile, which every process of it names in its command line."""
        return self._profile.name

    def open(self, address: str) -> None:
        """Load a page anew, even where only its hash differs."""
        self._call("POST", "/url", {"url": "about:blank"})
        self._call("POST", "/url", {"url": address})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function of this body returns; a promise is waited for."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait_for(self, expression: str) -> None:
        """Until the expression is true in the page, five seconds at most."""
        met = self.run(
            f"const end = performance.now() + 5000; const met = () => Boolean({expression});"
            "const rest = () => new Promise((done) => setTimeout(done, 5)).then(wait);"
            "const wait = () => met() || (performance.now() < end && rest());"
            "return Promise.resolve(wait()).then(() => met())"
        )
        if not met:
            raise TimeoutError(f"not within five seconds: {expression}")

    def hover(self, selector: str) -> None:
        """Move the mouse to the middle of an element's first line."""
        place = self.run(
            "const node = document.querySelector(arguments[0]);"
            "node.scrollIntoView({block: 'nearest'});"
            "const box = node.getClientRects()[0];"
            "return {x: Math.round(box.left + box.width / 2), y: Math.round(box.top + box.height / 2)}",
            selector,
        )
        move = [{"type": "pointerMove", "duration": 0, **place}]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": move}
        self._call("POST", "/actions", {"actions": [mouse]})

    def click(self, selector: str) -> None:
        """A click of the mouse, refused by the browser where something else lies on top."""
        self._call("POST", f"/element/{self._find(selector)}/click", {})

    def press(self, *keys: str) -> None:
        """Keys of the keyboard, to whatever has the focus: a name in `KEYS`, or a letter."""
        strokes = [
            {"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")
        ]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def emulate(self, *, dark: bool = False, width: int = 1440, height: int = 1000) -> None:
        """Choose the colour scheme and the size of the window."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What the console ("browser") or the network ("performance") said since the last call."""
        return self._call("POST", "/se/log", {"type": kind})

    def _find(self, selector: str) -> str:
        return self._call("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT]

    def _wait_for_driver(self) -> None:
        for _ in range(100):
            try:
                if self._call("GET", "/status")["ready"]:
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise RuntimeError("chromedriver did not start within 10 s")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._root + path, data, {"Content-Type": "application/json"}, method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the driver is on this machine
        try:
            with opener.open(request, timeout=30) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {json.load(error)['value']['message']}") from error
