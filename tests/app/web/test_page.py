"""The page in a real Chromium, with the real service, which analyses frames that the tests publish."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from app_inference.web.page import policy_for
from edgex_standin.address import Address, free_port

from tests.app.browser import LOOPBACK, Browser, open_browser
from tests.app.light_meter import BOX_WIDTH, TOPICS, filming, gray_jpeg, save_light_meter
from tests.app.page_scripts import READ_CARD, READ_LOW_CONTRAST, READ_PICTURE, READ_ZONE
from tests.conformance.app_process import App, bus_section, configure, run_app

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]
HOSTILE = "<img src=x onerror='window.hit=1'>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def watched(folder: Path, broker: Address, pipelines: dict[str, Any]) -> Path:
    """A configuration whose models lie in `folder`/models."""
    return configure(folder, MessageBus=bus_section(broker, TOPICS.base), Writable={"Pipelines": pipelines})


@pytest.fixture(scope="module")
def app(broker: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One pipeline that detects a person in every picture, one whose model is missing, and one zone."""
    folder = tmp_path_factory.mktemp("app")
    save_light_meter(folder / "models/light-meter/1.0.0")
    watch = {"Cameras": "*", "Model": "light-meter", "Zones": {"doorway": "0.6,0.1,0.95,0.1,0.95,0.9,0.6,0.9"}}
    broken = {"Cameras": "nobody", "Model": "no-such-model"}
    with run_app(watched(folder, broker, {"watch": watch, "broken": broken}), "-s") as running:
        yield running


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


async def test_boxes_are_drawn_on_the_frame_they_belong_to(
    app: App, broker: Address, browser: Browser, unique: str
) -> None:
    async with filming(broker, unique):
        await asyncio.to_thread(browser.open, app.url)
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


async def test_a_card_shows_detections_and_latency(app: App, broker: Address, browser: Browser, unique: str) -> None:
    async with filming(broker, unique):
        await asyncio.to_thread(browser.open, app.url)
        text = await _until(lambda: (it := _card(browser, unique)) and "person" in it and "ms" in it and it)
        assert "90%" in text
        assert "\nlive\n" in text
        find = "return document.querySelector(`canvas[aria-label='${arguments[0]}: person']`) !== null"
        await _until(lambda: browser.run(find, unique))


async def test_a_models_card_shows_the_outcome_of_its_update(broker: Address, browser: Browser, tmp_path: Path) -> None:
    save_light_meter(tmp_path / "models/light-meter/1.0.0")
    (tmp_path / "models/.state").mkdir()
    request = '{"generation": 1, "models": {"light-meter": {"version": "9.9.9"}}}'
    (tmp_path / "models/.state/desired.json").write_text(request, encoding="utf-8")
    with run_app(watched(tmp_path, broker, {"watch": {"Model": "light-meter"}}), "-s") as app:
        await asyncio.to_thread(browser.open, app.url)
        await _until(lambda: "no version '9.9.9'" in _card(browser, "light-meter"))


async def test_every_result_gets_its_picture_at_ten_frames_a_second(
    app: App, broker: Address, browser: Browser, unique: str
) -> None:
    count = "return performance.getEntriesByType('resource').filter(it => it.name.includes(arguments[0])).length"

    def counts() -> tuple[int, int]:
        """Pictures the page has loaded, and results there were."""
        cameras = requests.get(f"{app.url}/api/v3/vision/status", timeout=5).json()["cameras"]
        return browser.run(count, unique), next(row["results"] for row in cameras if row["name"] == unique)

    async with filming(broker, unique):
        await asyncio.to_thread(browser.open, app.url)
        await _until(lambda: "person" in _card(browser, unique))
        shares = []
        for _ in range(4):  # one of them is not disturbed by what else the machine does
            pictures, results = await asyncio.to_thread(counts)
            await asyncio.sleep(2)
            more_pictures, more_results = await asyncio.to_thread(counts)
            shares.append((more_pictures - pictures) / max(10, more_results - results))
            if shares[-1] > 0.6:
                return
    pytest.fail(f"of the results these shares got their pictures: {shares}")


async def test_a_hostile_camera_name_is_only_text(app: App, broker: Address, browser: Browser) -> None:
    async with filming(broker, HOSTILE):
        await asyncio.to_thread(browser.open, app.url)
        await _until(lambda: "person" in _card(browser, HOSTILE))
        found = await asyncio.to_thread(browser.run, "return [document.images.length, window.hit ?? null]")
    assert found == [0, None]


async def test_a_script_that_is_not_the_pages_own_does_not_run(app: App, browser: Browser) -> None:
    await asyncio.to_thread(browser.open, app.url)
    inject = "const it = document.createElement('script'); it.textContent = 'window.hit = 1'; document.body.append(it);"
    assert await asyncio.to_thread(browser.run, f"{inject} return window.hit ?? null") is None
    await _until(lambda: "serving" in browser.text("#facts"))  # while its own does


async def test_a_camera_that_stops_turns_stale_and_keeps_its_last_picture(
    app: App, broker: Address, browser: Browser, unique: str
) -> None:
    async with filming(broker, unique):
        await asyncio.to_thread(browser.open, app.url)
        await _until(lambda: "person" in _card(browser, unique))
    text = await _until(lambda: (it := _card(browser, unique)) and "stale for" in it and it)
    assert "No frame since" in text
    await asyncio.to_thread(browser.open, app.url)  # and so does a page that is opened only now
    await _until(lambda: (browser.run(READ_PICTURE, unique) or {}).get("xs"))
    assert browser.run("return getComputedStyle(document.querySelector('.stale canvas')).filter") != "none"


async def test_a_broken_picture_is_reported_with_its_time(
    app: App, broker: Address, browser: Browser, unique: str
) -> None:
    async with filming(broker, unique, b"\xff\xd8 no picture"):
        await asyncio.to_thread(browser.open, app.url)
        text = await _until(lambda: (it := _card(browser, unique)) and "ImageBroken" in it and it)
        assert time.strftime("%H:") in text
        assert unique in browser.run("return document.querySelector('[role=log]').textContent")


async def test_models_show_their_state_and_a_failed_one_its_reason(app: App, browser: Browser) -> None:
    await asyncio.to_thread(browser.open, app.url)
    failed = await _until(lambda: _card(browser, "no-such-model"))
    assert "failed" in failed
    assert requests.get(f"{app.url}/api/v3/vision/status", timeout=5).json()["models"][1]["reason"] in failed
    serving = _card(browser, "light-meter")
    assert all(word in serving for word in ("serving", "1.0.0", "CPU", "FP32", "watch"))


async def test_a_pipeline_whose_model_cannot_serve_shows_the_reason(app: App, browser: Browser) -> None:
    await asyncio.to_thread(browser.open, app.url)
    await _until(lambda: "cannot serve: no model 'no-such-model'" in _card(browser, "broken"))
    assert "failed" in _card(browser, "broken")
    assert "running" in _card(browser, "watch")


async def test_a_zone_is_drawn(app: App, broker: Address, browser: Browser, unique: str) -> None:
    async with filming(broker, unique, gray_jpeg(0.2)):
        await asyncio.to_thread(browser.open, app.url)
        await _until(lambda: "person" in _card(browser, unique))
        await _until(lambda: browser.run(READ_ZONE, unique))


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_a_phone(app: App, broker: Address, browser: Browser, unique: str, scheme: str) -> None:
    long_name = f"{unique}-{'x' * 60}"
    async with filming(broker, long_name):
        await asyncio.to_thread(browser.open, app.url, 375, scheme)
        await _until(lambda: "person" in _card(browser, long_name))
        assert browser.run("return document.documentElement.scrollWidth") <= 375
        assert browser.run("return document.querySelector('canvas').clientWidth") > 300


async def test_text_is_readable_in_light_and_dark(app: App, browser: Browser) -> None:
    for scheme in ("light", "dark"):
        await asyncio.to_thread(browser.open, app.url, 1280, scheme)
        await _until(lambda: _card(browser, "no-such-model"))
        assert browser.run(READ_LOW_CONTRAST) == [], scheme


async def test_a_service_that_does_not_answer_is_an_alarm_until_it_does(app: App, browser: Browser) -> None:
    await asyncio.to_thread(browser.open, app.url)
    await _until(lambda: "serving" in browser.text("#facts"))
    app.process.send_signal(signal.SIGSTOP)
    try:
        alarm = await _until(lambda: browser.text("[role=alert]"))
    finally:
        app.process.send_signal(signal.SIGCONT)
    assert "does not answer since" in alarm
    await _until(lambda: not browser.text("[role=alert]"))


async def test_an_empty_page_shows_what_to_do_next(browser: Browser, tmp_path: Path) -> None:
    nobody = Address(LOOPBACK, free_port(LOOPBACK))
    with run_app(watched(tmp_path, nobody, {}), "-s") as alone:
        await asyncio.to_thread(browser.open, alone.url, 375)
        text = await _until(lambda: (it := browser.text("main")) and "no camera yet" in it and it)
        assert "curl -X POST" in text
        assert "vision-camera" in text
        assert "No pipeline uses a model" in text
        assert f"message broker at {nobody}" in browser.text("[role=alert]")
        assert browser.run("return document.documentElement.scrollWidth") <= 375


def test_the_policy_names_every_inline_script_and_style_and_nothing_else() -> None:
    html = "<style>a{}</style><script>1</script><script>2</script>"
    policy = policy_for(html)
    assert "default-src 'self'" in policy
    assert policy.count("'sha256-") == 3
    assert "unsafe-inline" not in policy
    assert policy_for(html.replace("2", "3")) != policy


def test_the_page_loads_nothing_from_elsewhere(app: App) -> None:
    answer = requests.get(app.url, timeout=5)
    outside = [word for word in ("https://", "http://", "//cdn", "@import", "url(") if word in _markup(answer.text)]
    assert outside == []
    assert answer.headers["Content-Security-Policy"] == policy_for(answer.text)
    assert 'rel="icon" href="data:' in answer.text


def _markup(html: str) -> str:
    """The page without the texts of its script and the name of SVG's namespace."""
    return html.partition("<main>")[0].replace("http://www.w3.org/2000/svg", "")


def test_a_picture_opened_by_itself_can_run_nothing(app: App, broker: Address, unique: str) -> None:
    async def one_frame() -> None:
        async with filming(broker, unique):
            await _until(lambda: requests.get(url, timeout=5).ok)

    url = f"{app.url}/api/v3/vision/picture/{unique}"
    asyncio.run(one_frame())
    headers = requests.get(url, timeout=5).headers
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
