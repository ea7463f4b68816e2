"""Chromium over its debugging pipe: load a page, ask it, see what it fetched and what it complained about."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.patience import PATIENCE_SECONDS, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # CI is root in a container; the page is ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
AS_3_AND_4 = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"


class Page:
    """One page of a browser of its own.

    Attributes
    ----------
    fetched
        The address of each request the page made.
    complaints
        What went to the console as a warning or an error, and exceptions nobody caught.
    """

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._numbers = itertools.count(1)
        self._read = b""
        self._session = ""
        self.fetched: list[str] = []
        self.complaints: list[str] = []

    def __enter__(self) -> Self:
        assert CHROMIUM is not None
        (its_in, self._out), (self._in, its_out) = os.pipe(), os.pipe()
        command = [sys.executable, "-c", AS_3_AND_4, str(its_in), str(its_out), CHROMIUM, *OPTIONS, f"--user-data-dir={self._profile}"]
        with open(self._profile.with_suffix(".log"), "wb") as log:
            self._process = subprocess.Popen(command, pass_fds=(its_in, its_out), stdout=log, stderr=log)
        os.close(its_in)
        os.close(its_out)
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)

    def go(self, url: str) -> None:
        """Begin to load a page."""
        self._ask("Page.navigate", url=url)

    def say(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, promises awaited; what it throws is an error here."""
        result = self._ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, expression: str) -> Any:
        """Evaluate until the answer is true, and return it."""
        return until(lambda: self.say(expression), lambda: f"{expression}; the page says {self.say('document.body.innerText')!r}")

    def _attach(self) -> None:
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def _ask(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": self._session} if self._session else {})}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            got = self._message()
            if got.get("id") == number:
                assert "error" not in got, (method, got["error"])
                return got["result"]
            self._note(got.get("method", ""), got.get("params", {}))

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            more = os.read(self._in, 1 << 16)
            assert more, f"the browser is gone: {self._profile.with_suffix('.log').read_text()[-2000:]}"
            self._read += more
        whole, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(whole)
        return message

    def _note(self, event: str, details: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.fetched.append(details["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(details["exceptionDetails"]))
        elif event == "Log.entryAdded" and details["entry"]["level"] in ("warning", "error"):
            self.complaints.append(json.dumps(details["entry"]))
        elif event == "Runtime.consoleAPICalled" and details["type"] in ("warning", "error", "assert"):
            self.complaints.append(json.dumps(details["args"]))
