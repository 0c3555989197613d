"""A real browser without a window: Debian's Chromium, driven by Selenium."""

import base64
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

BROWSERS = "chromium", "google-chrome", "chrome"
DRIVER = "chromedriver"
PATIENCE_SECONDS = 60.0
_ON_ITS_WAY = (WebDriverException,)
"""Raised while one page goes and another comes."""
FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions",
    "--disable-dev-shm-usage", "--force-prefers-reduced-motion",
)  # fmt: skip
LONG_TASKS = """
window.longTasks = [];
new PerformanceObserver((list) => list.getEntries().forEach((entry) => window.longTasks.push(entry.duration)))
  .observe({ type: "longtask", buffered: true });
"""


def browser_path() -> str | None:
    """Return where Chromium is, if its driver is there too."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    return found if shutil.which(DRIVER) else None


class Browser:
    """One window of a browser."""

    def __init__(self, driver: Chrome) -> None:
        """Drive `driver`."""
        self.driver = driver
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LONG_TASKS})

    def open(self, url: str) -> None:
        """Go to an address, and wait until the page is there."""
        self.run("window.before = true")
        self.driver.get(url)
        self.until(lambda: self.run("return !window.before && document.readyState === 'complete'"))

    def forget(self) -> None:
        """Forget cookies and what the page was told of the person."""
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.speak("en")
        self.look("light")
        self.resize(1280)

    def speak(self, language: str) -> None:
        """Ask for a language from now on."""
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Accept-Language": language}})

    def look(self, scheme: str) -> None:
        """Prefer `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def resize(self, width: int, height: int = 900) -> None:
        """Have a screen of so many CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def picture(self, path: Path) -> None:
        """Save the whole page as PNG."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path.write_bytes(base64.b64decode(shot["data"]))

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page, and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        """Return an element that is there."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """Return all elements."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "body") -> str:
        """Return what is shown of an element; nothing if it is not there."""
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector) or ""

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        WebDriverWait(self.driver, PATIENCE_SECONDS, 0.05, _ON_ITS_WAY).until(lambda _: condition())

    def shown(self, text: str, selector: str = "body") -> None:
        """Wait until an element shows a text."""
        try:
            self.until(lambda: text in self.text(selector))
        except Exception as error:
            raise AssertionError(f"{text!r} is not in: {self.text(selector)}") from error

    def not_shown(self, text: str, selector: str = "body") -> None:
        """Wait until an element shows a text no more."""
        self.until(lambda: text not in self.text(selector))

    def faults(self) -> list[str]:
        """Return what the browser has complained of since the last call: faults, blocked requests."""
        entries: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser with an empty profile, in the block."""
    path = browser_path()
    assert path is not None, "no browser"
    profile = tempfile.mkdtemp(prefix="browser-")
    options = ChromeOptions()
    options.binary_location = path
    options.page_load_strategy = "none"  # the driver waits for nothing: tests wait for what they need
    for flag in (*FLAGS, *(["--no-sandbox"] if os.getuid() == 0 else []), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(shutil.which(DRIVER)))
    assert isinstance(driver.command_executor, RemoteConnection)
    driver.command_executor.client_config.timeout = PATIENCE_SECONDS
    try:
        yield Browser(driver)
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)
