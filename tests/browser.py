"""A headless Chromium driven over its DevTools pipe, with nothing but the standard library: for the tests of the page at /."""
import base64
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40, " ": 32}
SHIFT = 8


def program():
    """The path of a Chromium, None when there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab. Every wait ends after `patience` seconds with a TimeoutError that says what was waited for."""

    def __init__(self, folder, patience=20.0):
        self.patience = patience
        self.number = 0
        self.left = b""
        self.events = []
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()

        def place_pipes():  # the browser reads descriptor 3 and writes descriptor 4
            a, b = os.dup(to_browser), os.dup(from_browser)
            spare = max(a, b, 4) + 1
            a2, b2 = os.dup2(a, spare), os.dup2(b, spare + 1)
            os.dup2(a2, 3)
            os.dup2(b2, 4)
            os.closerange(5, 64)

        self.process = subprocess.Popen(
            [program(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe",
             "--user-data-dir=" + folder, "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=place_pipes, close_fds=False)
        os.close(to_browser)
        os.close(from_browser)
        tab = next(t for t in self.call("Target.getTargets", session=None)["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", {"targetId": tab["targetId"], "flatten": True}, session=None)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")

    def close(self):
        self.process.kill()
        self.process.wait()

    # --- the protocol

    def receive(self, until):
        while b"\0" not in self.left:
            ready, _, _ = select.select([self.read_end], [], [], max(0.0, until - time.monotonic()))
            part = os.read(self.read_end, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError("the browser does not answer")
            self.left += part
        text, self.left = self.left.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, parameters=None, session=""):
        """The result of a method; session None: of the browser, otherwise of the tab."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters or {}}
        if session is not None:
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + self.patience
        while True:
            answer = self.receive(until)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(method + ": " + answer["error"]["message"])
                return answer["result"]
            self.events.append(answer)

    # --- what a person does

    def open(self, url):
        self.call("Page.navigate", {"url": "about:blank"})  # another fragment alone would not load the page anew
        self.call("Page.navigate", {"url": url})
        self.wait("document.readyState === 'complete'")

    def look(self, width, height=900, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
        self.call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def press(self, key, times=1, modifiers=0):
        for _ in range(times):
            event = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key], "modifiers": modifiers}
            text = {"Enter": "\r", " ": " "}.get(key)
            self.call("Input.dispatchKeyEvent", {"type": "keyDown" if text else "rawKeyDown", **event, **({"text": text} if text else {})})
            self.call("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    def type(self, text):
        self.call("Input.insertText", {"text": text})

    # --- what a person sees

    def value(self, expression):
        """The value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in answer:
            raise RuntimeError(expression + ": " + answer["exceptionDetails"]["exception"].get("description", "thrown"))
        return answer["result"].get("value")

    def wait(self, expression):
        """Wait until the expression holds; its value. An element is none: compare it with null."""
        until = time.monotonic() + self.patience
        while time.monotonic() < until:
            value = self.value(expression)
            if value:
                return value
            time.sleep(0.03)
        raise TimeoutError("never held: " + expression)

    def problems(self):
        """What the page's scripts threw since it was started."""
        return [e["params"]["exceptionDetails"]["exception"].get("description", "thrown")
                for e in self.events if e.get("method") == "Runtime.exceptionThrown"]

    def picture(self, path):
        """A PNG of the whole page, as long as it is."""
        data = self.call("Page.captureScreenshot", {"captureBeyondViewport": True})["data"]
        with open(path, "wb") as out:
            out.write(base64.b64decode(data))
