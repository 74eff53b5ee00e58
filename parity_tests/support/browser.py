"""A headless Chromium, driven over its own debugging pipe: nothing to install but the browser."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
         "--remote-debugging-pipe")  # fmt: skip


def executable() -> str:
    """The browser's path (CHROME, or one of `NAMES`: `apt-get install chromium`), or a skip."""
    found = os.environ.get("CHROME") or next((p for name in NAMES if (p := shutil.which(name))), None)
    return found or pytest.skip("needs Chromium")


CODES = {"Tab": 9, "Enter": 13, "Space": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
         "ArrowDown": 40}  # fmt: skip
WRITTEN = {"Enter": "\r", "Space": " "}


class Browser:
    """One tab. `events` holds everything that the browser reported, in order; `flags` stand beside `FLAGS`."""

    def __init__(self, profile: Path, *flags: str):
        to_read, self.write = os.pipe()
        self.read, to_write = os.pipe()
        command = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'  # the browser reads descriptor 3 and writes to 4
        arguments = [executable(), *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["bash", "-c", command, "bash", str(to_read), str(to_write), *arguments],
            pass_fds=[to_read, to_write],
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self.count, self.buffer, self.session = 0, b"", None
        self.events: list[dict[str, Any]] = []
        target = self._page()
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def _page(self) -> str:
        for _ in range(100):
            pages = [t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page"]
            if pages:
                return pages[0]["targetId"]
            time.sleep(0.05)
        raise AssertionError("the browser opened no page")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        self.count += 1
        number = self.count
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self.events.append(answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            part = os.read(self.read, 1 << 16)
            if not part:
                raise AssertionError("the browser ended")
            self.buffer += part
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def open(self, page: Path | str) -> None:
        """A file, or an address."""
        self.send("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        for _ in range(400):
            if self.evaluate("document.readyState") == "complete":
                return
            time.sleep(0.05)
        raise AssertionError(f"{page} does not become complete")

    def evaluate(self, expression: str) -> Any:
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def screen(self, width: int, height: int, mobile: bool = False, scale: int = 1) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": scale}
        self.send("Emulation.setDeviceMetricsOverride", mobile=mobile, **size)
        self.send("Emulation.setTouchEmulationEnabled", enabled=mobile)

    def scheme(self, name: str) -> None:
        """`light` or `dark`."""
        self.prefers("color-scheme", name)

    def prefers(self, what: str, value: str) -> None:
        """One preference of its user, `color-scheme` or `reduced-motion`; others are the browser's own again."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": f"prefers-{what}", "value": value}])

    def mouse(self, kind: str, x: float, y: float) -> None:
        down = 0 if kind == "mouseReleased" else 1
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=down, clickCount=1)

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        self.send("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y} for x, y in points])

    def key(self, name: str, code: int = 0, shift: bool = False) -> None:
        """A key goes down and up: real events, of which the browser makes what it makes of a person's."""
        written = WRITTEN.get(name)  # a key that writes nothing presses no button
        how = {"text": written} if written else {}
        how |= {"modifiers": 8 if shift else 0, "windowsVirtualKeyCode": code or CODES[name], "code": name}
        for kind in ("keyDown" if written else "rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=" " if name == "Space" else name, **how)

    def choose_in_dialog(self, file: Path, ask: Callable[[], None]) -> None:
        """`ask` makes the browser open its dialog for files, which answers with `file`. Fails where none opens."""
        self.send("Page.setInterceptFileChooserDialog", enabled=True)
        before = len(self.events)
        ask()
        end = time.monotonic() + 10
        while not (asked := [e for e in self.events[before:] if e.get("method") == "Page.fileChooserOpened"]):
            assert time.monotonic() < end, "no dialog for files was opened"
            self.evaluate("null")  # what the browser reports comes with an answer
        self.send("DOM.setFileInputFiles", files=[str(file)], backendNodeId=asked[0]["params"]["backendNodeId"])
        self.send("Page.setInterceptFileChooserDialog", enabled=False)

    def choose(self, selector: str, file: Path) -> None:
        """Puts `file` into an input, as the dialog would."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

    def wait_for(self, expression: str, seconds: float = 30) -> Any:
        """The expression's value, once it is true."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < end, f"not true within {seconds} s: {expression}"
            time.sleep(0.05)
        return value

    def complaints(self) -> list[str]:
        """Console errors, exceptions, and log entries so far."""
        loud = {"Runtime.exceptionThrown", "Log.entryAdded"}
        return [
            json.dumps(event["params"])[:300]
            for event in self.events
            if event.get("method") in loud
            or (event.get("method") == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning"))
        ]

    def requested(self) -> list[str]:
        """Addresses that were asked for, data URIs left out."""
        sent = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]

    def close(self) -> None:
        os.close(self.write)
        self.process.kill()
        self.process.wait()
        os.close(self.read)


def luminance(rgb: list[int]) -> float:
    """WCAG 2's relative luminance of 8-bit sRGB."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb[:3])]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
