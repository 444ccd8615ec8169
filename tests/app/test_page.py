"""The page in a real Chromium, over the real service, which looks at frames that the tests publish."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest
import requests
import yaml
from app_inference.page import policy_for
from edgex_kit import codec
from edgex_kit.bus import BusSettings, open_bus
from edgex_kit.messages import AddEventRequest, Event, Reading, new_id
from edgex_kit.origin import new_origin
from edgex_kit.standin.address import Address, free_port
from edgex_kit.topics import Topics
from openvino import opset13 as op

pytestmark = pytest.mark.timeout(90)

LOOPBACK = "127.0.0.1"
TOPICS = Topics("page")  # a prefix of its own on the broker that all tests share
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
    *("disable-component-update", "disable-sync", "disable-dev-shm-usage", "force-device-scale-factor=1"),
)
HOSTILE = "<img src=x onerror='window.hit=1'>"
BOX_WIDTH, BOX_TOP, BOX_BOTTOM = 0.25, 0.25, 0.75  # parts of the picture

# What scripts look at: the card named arguments[0], brought into view, as pictures that nobody sees are not loaded.
FIND_CARD = """
const isNamed = it => it.querySelector('h3').textContent === arguments[0];
const card = [...document.querySelectorAll('.card')].find(isNamed);
card?.scrollIntoView();
const canvas = card?.querySelector('canvas');
"""
READ_CARD = f"{FIND_CARD} return card?.innerText ?? '';"
# The light of the picture's corner, and where its middle row wears the colour of the label.
READ_PICTURE = f"""{FIND_CARD}
const swatch = card?.querySelector('.chip i');
if (!swatch) return null;
const pen = canvas.getContext('2d'), probe = new OffscreenCanvas(1, 1).getContext('2d');
probe.fillStyle = getComputedStyle(swatch).backgroundColor;
probe.fillRect(0, 0, 1, 1);
const colour = probe.getImageData(0, 0, 1, 1).data;
const row = pen.getImageData(0, canvas.height >> 1, canvas.width, 1).data;
const isLabel = x => [0, 1, 2].every(i => Math.abs(row[4 * x + i] - colour[i]) < 8);
const xs = [...Array(canvas.width).keys()].filter(isLabel);
return {{light: pen.getImageData(2, canvas.height - 3, 1, 1).data[0] / 255, xs, width: canvas.width}};
"""
# Whether there is a dashed white line at the zone's right edge.
READ_ZONE = f"""{FIND_CARD}
const edge = Math.round(canvas.width * 0.95), [top, height] = [canvas.height * 0.3, canvas.height * 0.4];
const column = canvas.getContext('2d').getImageData(edge, top, 1, height).data;
return column.filter((value, index) => index % 4 === 0 && value > 250).length > 10;
"""
# Texts with less contrast to their ground than 4.5, which WCAG 2.2 asks for in 1.4.3.
READ_LOW_CONTRAST = """
const pen = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
const rgb = colour => {
  pen.clearRect(0, 0, 1, 1);
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data];
};
const part = it => (it /= 255) <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const ground = it => {
  const colour = rgb(getComputedStyle(it).backgroundColor);
  return colour[3] === 255 || !it.parentElement ? colour : ground(it.parentElement);
};
const contrast = it => {
  const [a, b] = [light(rgb(getComputedStyle(it).color)), light(ground(it))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const saysSomething = it => [...it.childNodes].some(node => node.nodeType === 3 && node.data.trim());
const isSeen = it => it.checkVisibility() && !it.closest('.stage, .unseen, svg') && saysSomething(it);
const texts = [...document.body.querySelectorAll('*')].filter(isSeen);
return texts.map(it => [it.textContent.slice(0, 40), contrast(it)]).filter(([, ratio]) => ratio < 4.5);
"""


class Browser:
    """A headless Chromium behind chromedriver, which speaks W3C WebDriver: plain HTTP that needs no library."""

    def __init__(self, address: Address, profile: Path) -> None:
        self._http = requests.Session()
        self._http.trust_env = False
        options = {"binary": CHROMIUM, "args": [*(f"--{flag}" for flag in FLAGS), f"--user-data-dir={profile}"]}
        self._root = f"{address.url}/session"
        opened = self._post("", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
        self._root += f"/{opened['sessionId']}"

    def close(self) -> None:
        self._http.delete(self._root, timeout=20)
        self._http.close()

    def open(self, url: str, width: int = 1280, scheme: str = "light") -> None:
        """Show a page on a screen that is `width` CSS pixels wide."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self._devtools("Emulation.setDeviceMetricsOverride", screen)
        self._devtools("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self._post("/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """What a function body returns in the page."""
        return self._post("/execute/sync", {"script": script, "args": arguments})

    def text(self, selector: str) -> str:
        """What a person reads in the first element of that selector; empty where there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def _devtools(self, command: str, parameters: object) -> Any:
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _post(self, path: str, body: object) -> Any:
        answer = self._http.post(self._root + path, json=body, timeout=30).json()["value"]
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not CHROMIUM or not CHROMEDRIVER:
        pytest.skip("chromium or chromedriver is not installed")
    port = free_port(LOOPBACK)
    with _process(CHROMEDRIVER, f"--port={port}", "--silent") as process:
        _await_http(f"http://{LOOPBACK}:{port}/status", process)
        browser = Browser(Address(LOOPBACK, port), tmp_path_factory.mktemp("chromium"))
        yield browser
        browser.close()


@contextlib.contextmanager
def _process(*command: str, environ: dict[str, str] | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **(environ or {})})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(15)


def _await_http(url: str, process: "subprocess.Popen[bytes]", wait: float = 40) -> None:
    deadline = time.monotonic() + wait
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            requests.get(url, timeout=2)
            return
        time.sleep(0.05)
    pytest.fail(f"nothing answers at {url}")


class Eye:
    """A running app-inference."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", broker: Address) -> None:
        self.url = url
        self.process = process
        self.broker = broker


@contextlib.contextmanager
def _eye(folder: Path, broker: Address, pipelines: dict[str, Any]) -> Iterator[Eye]:
    """app-inference with a configuration of its own; its models lie in `folder`/models."""
    settings = yaml.safe_load(files("app_inference").joinpath("res/configuration.yaml").read_text(encoding="utf-8"))
    port = free_port(LOOPBACK)
    settings["Writable"]["Pipelines"] = pipelines
    settings["Service"].update(Host=LOOPBACK, Port=port)
    settings["MessageBus"].update(Host=broker.host, Port=broker.port, BaseTopicPrefix=TOPICS.base)
    settings["MessageBus"]["Optional"]["ClientId"] = f"app-inference-{port}"
    settings["Inference"]["ModelsDir"] = str(folder / "models")
    (folder / "configuration.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = (sys.executable, "-m", "app_inference", "-s", "-cd", str(folder))
    with _process(*command, environ={"EDGEX_SECURITY_SECRET_STORE": "false"}) as process:
        _await_http(f"http://{LOOPBACK}:{port}/api/v3/ping", process)
        yield Eye(f"http://{LOOPBACK}:{port}/", process, broker)


@pytest.fixture(scope="module")
def eye(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Eye]:
    """One pipeline that sees a person in every picture, one whose model is missing, and one zone."""
    folder = tmp_path_factory.mktemp("eye")
    _save_light_meter(folder / "models/light-meter/1.0.0")
    watch = {"Cameras": "*", "Model": "light-meter", "Zones": {"doorway": "0.6,0.1,0.95,0.1,0.95,0.9,0.6,0.9"}}
    broken = {"Cameras": "nobody", "Model": "no-such-model"}
    with _eye(folder, broker, {"watch": watch, "broken": broken}) as running:
        yield running


def _save_light_meter(folder: Path) -> None:
    """A detector whose one box stands the further right the lighter the picture is: at half the light."""
    picture = op.parameter([1, 3, 64, 64], np.float32, name="picture")
    left = op.multiply(op.reduce_mean(picture, np.arange(4)), np.float32(0.5 / 255))
    sides = [0, 0, 0.9, left, BOX_TOP, op.add(left, np.float32(BOX_WIDTH)), BOX_BOTTOM]
    row = op.concat([op.reshape(op.convert(_node(side), "f32"), np.array([1, 1, 1, 1]), False) for side in sides], 3)
    folder.mkdir(parents=True)
    ov.save_model(ov.Model([op.result(row)], [picture], "light-meter"), folder / "model.xml", compress_to_fp16=False)
    facts = {"schema": "vision.model/1", "name": "light-meter", "version": "1.0.0", "type": "ssd", "labels": ["person"]}
    (folder / "manifest.yaml").write_text(yaml.safe_dump(facts), encoding="utf-8")


def _node(side: Any) -> Any:
    return op.constant(np.float32(side)) if isinstance(side, int | float) else side


@contextlib.asynccontextmanager
async def _filming(eye: Eye, camera: str, data: bytes | None = None) -> AsyncIterator[None]:
    """Frames of `camera` for the length of the block, ten a second; every one has another light than the one before."""
    async with open_bus(BusSettings(host=eye.broker.host, port=eye.broker.port)) as bus:
        assert await bus.settle(10)

        async def film() -> None:
            for seq in range(10_000):
                picture = data or _gray_jpeg((seq * 3 % 7) / 7)
                bus.publish(
                    TOPICS.frame("device-camera", "vision-camera", camera, "Frame"), _frame(camera, seq, picture)
                )
                await asyncio.sleep(0.1)

        filming = asyncio.create_task(film())
        try:
            yield
        finally:
            filming.cancel()
            await asyncio.gather(filming, return_exceptions=True)


def _gray_jpeg(light: float) -> bytes:
    return cv2.imencode(".jpg", np.full((180, 320, 3), round(light * 255), np.uint8))[1].tobytes()


def _frame(camera: str, seq: int, data: bytes) -> bytes:
    origin = new_origin()
    reading = Reading(
        id=new_id(), origin=origin, device_name=camera, resource_name="Frame", profile_name="vision-camera",
        value_type="Binary", binary_value=data, media_type="image/jpeg",
    )  # fmt: skip
    event = Event(
        api_version="v3", id=new_id(), device_name=camera, profile_name="vision-camera", source_name="Frame",
        origin=origin, tags={"frameId": new_id(), "seq": seq, "captureOrigin": str(origin)}, readings=(reading,),
    )  # fmt: skip
    return codec.encode(AddEventRequest(event=event))


async def _until(condition: Callable[[], Any], wait: float = 20) -> Any:
    """The first true value of `condition`, which may block; fails after `wait` seconds."""
    deadline = time.monotonic() + wait
    while not (value := await asyncio.to_thread(condition)):
        assert time.monotonic() < deadline, "what was waited for did not come"
        await asyncio.sleep(0.05)
    return value


def _card(browser: Browser, name: str) -> str:
    """The text of a card; empty where there is none."""
    return str(browser.run(READ_CARD, name))


async def test_boxes_are_drawn_on_the_very_frame_they_belong_to(eye: Eye, browser: Browser, unique: str) -> None:
    async with _filming(eye, unique):
        await asyncio.to_thread(browser.open, eye.url)
        await _until(lambda: (browser.run(READ_PICTURE, unique) or {}).get("xs"))
        lights = set()
        for _ in range(40):
            seen = await asyncio.to_thread(browser.run, READ_PICTURE, unique)
            left, right = seen["light"] * 0.5 * seen["width"], (seen["light"] * 0.5 + BOX_WIDTH) * seen["width"]
            assert abs(seen["xs"][0] - left) < 5, "the box stands where the light of another picture would put it"
            assert abs(seen["xs"][-1] - right) < 5
            lights.add(round(seen["light"], 1))
            await asyncio.sleep(0.07)
    assert len(lights) >= 4, "the picture is not live"


async def test_a_card_says_what_was_seen_and_how_fast(eye: Eye, browser: Browser, unique: str) -> None:
    async with _filming(eye, unique):
        await asyncio.to_thread(browser.open, eye.url)
        text = await _until(lambda: (it := _card(browser, unique)) and "person" in it and "ms" in it and it)
        assert "90%" in text
        assert "\nlive\n" in text
        find = "return document.querySelector(`canvas[aria-label='${arguments[0]}: person']`) !== null"
        await _until(lambda: browser.run(find, unique))


async def test_a_models_card_says_in_a_line_what_became_of_its_update(
    broker: Address, browser: Browser, tmp_path: Path
) -> None:
    _save_light_meter(tmp_path / "models/light-meter/1.0.0")
    (tmp_path / "models/.state").mkdir()
    wish = '{"generation": 1, "models": {"light-meter": {"version": "9.9.9"}}}'
    (tmp_path / "models/.state/desired.json").write_text(wish, encoding="utf-8")
    with _eye(tmp_path, broker, {"watch": {"Model": "light-meter"}}) as eye:
        await asyncio.to_thread(browser.open, eye.url)
        await _until(lambda: "no version '9.9.9'" in _card(browser, "light-meter"))


async def test_every_result_gets_its_picture_at_ten_frames_a_second(eye: Eye, browser: Browser, unique: str) -> None:
    count = "return performance.getEntriesByType('resource').filter(it => it.name.includes(arguments[0])).length"

    def counts() -> tuple[int, int]:
        """Pictures the page has loaded, and results there were."""
        cameras = requests.get(f"{eye.url}api/v3/vision/status", timeout=5).json()["cameras"]
        return browser.run(count, unique), next(row["results"] for row in cameras if row["name"] == unique)

    async with _filming(eye, unique):
        await asyncio.to_thread(browser.open, eye.url)
        await _until(lambda: "person" in _card(browser, unique))
        pictures, results = await asyncio.to_thread(counts)
        await asyncio.sleep(3)
        more_pictures, more_results = await asyncio.to_thread(counts)
    assert more_results - results > 10
    assert more_pictures - pictures > 0.6 * (more_results - results)


async def test_a_hostile_camera_name_is_only_text(eye: Eye, browser: Browser) -> None:
    async with _filming(eye, HOSTILE):
        await asyncio.to_thread(browser.open, eye.url)
        await _until(lambda: "person" in _card(browser, HOSTILE))
        found = await asyncio.to_thread(browser.run, "return [document.images.length, window.hit ?? null]")
    assert found == [0, None]


async def test_a_script_that_is_not_the_pages_own_does_not_run(eye: Eye, browser: Browser) -> None:
    await asyncio.to_thread(browser.open, eye.url)
    inject = "const it = document.createElement('script'); it.textContent = 'window.hit = 1'; document.body.append(it);"
    assert await asyncio.to_thread(browser.run, f"{inject} return window.hit ?? null") is None
    await _until(lambda: "serving" in browser.text("#facts"))  # while its own does


async def test_a_camera_that_stops_turns_stale_and_keeps_its_last_picture(
    eye: Eye, browser: Browser, unique: str
) -> None:
    async with _filming(eye, unique):
        await asyncio.to_thread(browser.open, eye.url)
        await _until(lambda: "person" in _card(browser, unique))
    text = await _until(lambda: (it := _card(browser, unique)) and "stale for" in it and it)
    assert "No frame since" in text
    await asyncio.to_thread(browser.open, eye.url)  # and so does a page that is opened only now
    seen = await _until(lambda: browser.run(READ_PICTURE, unique))
    assert seen["xs"]
    assert browser.run("return getComputedStyle(document.querySelector('.stale canvas')).filter") != "none"


async def test_a_broken_picture_is_reported_with_its_time(eye: Eye, browser: Browser, unique: str) -> None:
    async with _filming(eye, unique, b"\xff\xd8 no picture"):
        await asyncio.to_thread(browser.open, eye.url)
        text = await _until(lambda: (it := _card(browser, unique)) and "no frame header" in it and it)
        assert time.strftime("%H:") in text
        assert "ImageBroken" in text  # the reason, among the drops
        assert unique in browser.run("return document.querySelector('[role=log]').textContent")


async def test_models_show_their_state_and_a_failed_one_its_reason(eye: Eye, browser: Browser) -> None:
    await asyncio.to_thread(browser.open, eye.url)
    failed = await _until(lambda: _card(browser, "no-such-model"))
    assert "failed" in failed
    assert requests.get(f"{eye.url}api/v3/vision/status", timeout=5).json()["models"][1]["reason"] in failed
    serving = _card(browser, "light-meter")
    assert all(word in serving for word in ("serving", "1.0.0", "CPU", "FP32", "watch"))


async def test_a_pipeline_whose_model_cannot_serve_says_so(eye: Eye, browser: Browser) -> None:
    await asyncio.to_thread(browser.open, eye.url)
    await _until(lambda: "cannot serve: no model 'no-such-model'" in _card(browser, "broken"))
    assert "failed" in _card(browser, "broken")
    assert "running" in _card(browser, "watch")


async def test_a_zone_is_drawn(eye: Eye, browser: Browser, unique: str) -> None:
    async with _filming(eye, unique, _gray_jpeg(0.2)):
        await asyncio.to_thread(browser.open, eye.url)
        await _until(lambda: "person" in _card(browser, unique))
        await _until(lambda: browser.run(READ_ZONE, unique))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_a_phone(eye: Eye, browser: Browser, unique: str, scheme: str) -> None:
    long_name = f"{unique}-{'x' * 60}"
    async with _filming(eye, long_name):
        await asyncio.to_thread(browser.open, eye.url, 375, scheme)
        await _until(lambda: "person" in _card(browser, long_name))
        assert browser.run("return document.documentElement.scrollWidth") <= 375
        assert browser.run("return document.querySelector('canvas').clientWidth") > 300


async def test_text_is_readable_in_light_and_dark(eye: Eye, browser: Browser) -> None:
    for scheme in ("light", "dark"):
        await asyncio.to_thread(browser.open, eye.url, 1280, scheme)
        await _until(lambda: _card(browser, "no-such-model"))
        assert browser.run(READ_LOW_CONTRAST) == [], scheme


async def test_a_service_that_does_not_answer_is_said_plainly_until_it_does(eye: Eye, browser: Browser) -> None:
    await asyncio.to_thread(browser.open, eye.url)
    await _until(lambda: "serving" in browser.text("#facts"))
    eye.process.send_signal(signal.SIGSTOP)
    try:
        alarm = await _until(lambda: browser.text("[role=alert]"))
    finally:
        eye.process.send_signal(signal.SIGCONT)
    assert "does not answer since" in alarm
    await _until(lambda: not browser.text("[role=alert]"))


async def test_an_empty_page_says_what_to_do_next(browser: Browser, tmp_path: Path) -> None:
    with _eye(tmp_path, Address(LOOPBACK, free_port(LOOPBACK)), {}) as alone:
        await asyncio.to_thread(browser.open, alone.url, 375)
        text = await _until(lambda: (it := browser.text("main")) and "No camera" in it and it)
        assert "curl -X POST" in text
        assert "vision-camera" in text
        assert "No pipeline uses a model" in text
        assert f"message broker at {alone.broker}" in browser.text("[role=alert]")
        assert browser.run("return document.documentElement.scrollWidth") <= 375


def test_the_policy_names_every_inline_script_and_style_and_nothing_else() -> None:
    html = "<style>a{}</style><script>1</script><script>2</script>"
    policy = policy_for(html)
    assert "default-src 'self'" in policy
    assert policy.count("'sha256-") == 3
    assert "unsafe-inline" not in policy
    assert policy_for(html.replace("2", "3")) != policy


def test_the_page_asks_nobody_else_for_anything(eye: Eye) -> None:
    answer = requests.get(eye.url, timeout=5)
    outside = [word for word in ("https://", "http://", "//cdn", "@import", "url(") if word in _markup(answer.text)]
    assert outside == []
    assert answer.headers["Content-Security-Policy"] == policy_for(answer.text)
    assert 'rel="icon" href="data:' in answer.text


def _markup(html: str) -> str:
    """The page without what it only says: its own script's texts, and the name of SVG's namespace."""
    return html.partition("<main>")[0].replace("http://www.w3.org/2000/svg", "")


def test_a_picture_opened_by_itself_can_run_nothing(eye: Eye, unique: str) -> None:
    async def one_frame() -> None:
        async with _filming(eye, unique):
            await _until(lambda: requests.get(url, timeout=5).ok)

    url = f"{eye.url}api/v3/vision/picture/{unique}"
    asyncio.run(one_frame())
    headers = requests.get(url, timeout=5).headers
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
