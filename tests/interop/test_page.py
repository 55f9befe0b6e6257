"""The page at `/` and the API at `/docs`, in a real browser."""

import csv
import importlib.resources
import io
import json
import shutil
import shlex
import subprocess

import pytest
import requests
from PIL import Image, ImageDraw
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait

from conftest import MODEL, ROOT, encoded

SCREENSHOTS = ROOT / ".interop/screenshots"
EXAMPLES = ROOT / "models/repvgg-cifar10/examples"


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    for argument in [
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        "--window-size=1280,1100",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
    ]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    yield browser
    browser.quit()


@pytest.fixture
def page(browser, server):
    browser.get_log("browser")
    browser.get(server.url)
    until(browser, lambda b: b.find_element(By.ID, "state").text == "ready")
    yield browser
    wrong = [line for line in browser.get_log("browser") if "Content Security Policy" in line["message"]]
    assert not wrong


def until(browser, what, seconds=30):
    return WebDriverWait(browser, seconds, 0.1).until(what)


def results(browser):
    return browser.find_elements(By.CSS_SELECTOR, "#results > li")


def upload(browser, *files):
    browser.find_element(By.ID, "files").send_keys("\n".join(map(str, files)))


def picture(folder, name, draw):
    path = folder / name
    image = Image.new("RGB", (64, 64), "#88aadd")
    draw(ImageDraw.Draw(image))
    image.save(path)
    return path


def look(browser, name):
    browser.save_screenshot(SCREENSHOTS / f"{name}.png")


def test_pictures_become_classes(page, server, tmp_path):
    plane = picture(tmp_path, "plane.png", lambda d: d.polygon([(4, 36), (60, 30), (30, 20), (28, 44)], "white"))
    cat = picture(tmp_path, "cat.jpg", lambda d: d.ellipse((12, 12, 52, 60), "#774422"))
    upload(page, plane, cat)
    until(page, lambda b: len(b.find_elements(By.CSS_SELECTOR, "ol.classes")) == 2)
    for item in results(page):
        classes = item.find_elements(By.CSS_SELECTOR, "ol.classes li")
        assert len(classes) == 5
        odds = [float(c.text.split("\n")[-1].removesuffix(" %")) for c in classes]
        assert odds == sorted(odds, reverse=True) and sum(odds) <= 100.5
        bars = [c.find_element(By.CSS_SELECTOR, ".fill").size["width"] for c in classes]
        assert bars == sorted(bars, reverse=True)
        assert "inference" in item.text and "total" in item.text
    assert [item.find_element(By.TAG_NAME, "h3").text for item in results(page)] == ["plane.png", "cat.jpg"]
    reply = requests.post(
        f"{server.url}/classify", plane.read_bytes(), headers={"content-type": "application/octet-stream"}
    )
    best = reply.json()["predictions"][0]["classes"][0]["label"]
    assert results(page)[0].find_element(By.CSS_SELECTOR, "ol.classes li").text.startswith(best)
    spoken = page.find_element(By.ID, "spoken")
    assert spoken.get_attribute("aria-live") == "polite" and "%" in spoken.get_attribute("textContent")
    look(page, "results")


def test_a_broken_picture_is_told_and_the_rest_goes_on(page, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(encoded(1)[:60])
    whole = picture(tmp_path, "whole.tif", lambda d: None)
    upload(page, broken, whole)
    until(page, lambda b: b.find_elements(By.CSS_SELECTOR, "ol.classes"))
    alert = until(page, lambda b: b.find_element(By.CSS_SELECTOR, "#results [role=alert]"))
    assert "422 invalid_image" in alert.text
    assert "no preview" in results(page)[1].text, "browsers cannot show TIFF"
    look(page, "error")
    page.find_element(By.ID, "clear").click()
    assert not results(page) and not page.find_element(By.ID, "results-section").is_displayed()


def test_the_camera(page):
    page.find_element(By.ID, "camera").click()
    until(page, lambda b: b.find_element(By.ID, "camera-view").is_displayed())
    until(page, lambda b: b.execute_script("return document.getElementById('video').videoWidth > 0"))
    page.find_element(By.ID, "shoot").click()
    until(page, lambda b: b.find_elements(By.CSS_SELECTOR, "ol.classes"))
    page.find_element(By.ID, "camera-off").click()
    assert not page.find_element(By.ID, "camera-view").is_displayed()


def give(browser, kind):
    """Hands the page a picture as a paste or a drop does."""
    browser.execute_async_script(
        """
        const [kind, done] = arguments;
        const canvas = Object.assign(document.createElement("canvas"), { width: 32, height: 32 });
        canvas.getContext("2d").fillRect(0, 0, 16, 16);
        canvas.toBlob((blob) => {
          const data = new DataTransfer();
          data.items.add(new File([blob], kind + ".png", { type: "image/png" }));
          const event = kind === "paste"
            ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
            : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
          document.body.dispatchEvent(event);
          done();
        });
        """,
        kind,
    )


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_pasted_and_dropped_pictures(page, kind):
    give(page, kind)
    until(page, lambda b: b.find_elements(By.CSS_SELECTOR, "ol.classes"))
    assert results(page)[0].find_element(By.TAG_NAME, "h3").text == f"{kind}.png"


def test_the_card_shows_what_the_server_says(page, server):
    until(page, lambda b: "sha256" in b.find_element(By.ID, "card").text)
    text = page.find_element(By.ID, "card").text
    model = requests.get(f"{server.url}/v2/models/{MODEL}").json()
    facts = model["parameters"]
    for value in [MODEL, facts["precision"], facts["source"]["sha256"], facts["deploy"]["sha256"]]:
        assert value in text
    assert str(facts["blocks_fused"]) in text
    assert f"{facts['source']['convolutions']} → {facts['deploy']['convolutions']}" in text
    compared, speed = facts["equivalence"], facts["speed"]
    assert f"compared on {compared['images']} random inputs" in text
    assert f"limit {compared['tolerance']['relative_error_max']:.0e}".replace("e-0", "e-") in text
    assert speed["times_as_fast"] == pytest.approx(speed["train_time_ms"] / speed["served_ms"])
    assert f"{speed['times_as_fast']:.2f} times as fast" in text


def test_plots_move(page, server):
    for seed in range(3):
        requests.post(
            f"{server.url}/classify", encoded(seed), headers={"content-type": "application/octet-stream"}
        )
    until(page, lambda b: "a second" in b.find_element(By.ID, "rate-now").text)
    until(page, lambda b: b.find_elements(By.CSS_SELECTOR, "#rate path"))
    assert "a second" in page.find_element(By.ID, "rate").get_attribute("aria-label")


def test_everything_is_reached_by_keyboard(page):
    seen = set()
    for _ in range(12):
        webdriver.ActionChains(page).send_keys(Keys.TAB).perform()
        focused = page.switch_to.active_element
        seen.add(focused.get_attribute("id") or focused.text)
    assert {"files", "camera", "Ship", "top-k", "API: read it, try it"} <= seen


def test_names_for_those_who_hear_the_page(page):
    unnamed = page.execute_script(
        """
        return [...document.querySelectorAll("section, svg[role=img], input, button, video, a")]
          .filter((e) => !e.closest("[hidden]")).filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim()
            || e.labels?.length)).map((e) => e.outerHTML);
        """
    )
    assert unnamed == []
    assert page.find_element(By.TAG_NAME, "html").get_attribute("lang") == "en"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_and_a_phone(page, tmp_path, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    phone = {"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        upload(page, picture(tmp_path, "a picture with a very long name that does not fit.png", lambda d: None))
        until(page, lambda b: b.find_elements(By.CSS_SELECTOR, "ol.classes"))
        assert page.execute_script("return document.documentElement.scrollWidth") <= 360
        assert contrast(page) >= 4.5
        look(page, f"phone-{scheme}")
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    look(page, f"wide-{scheme}")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def contrast(browser):
    """The lowest contrast of text and what is behind it (WCAG's formula)."""
    return browser.execute_script(
        """
        const light = (colour) => {
          const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
            .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const behind = (e) => {
          for (; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if (!/, 0\\)|transparent/.test(colour)) return colour;
          }
          return "rgb(255, 255, 255)";
        };
        return Math.min(...[...document.querySelectorAll("h1, h2, h3, p, dt, dd, button, .button, a, li, #state")]
          .filter((e) => e.offsetParent && e.textContent.trim())
          .map((e) => [light(getComputedStyle(e).color), light(behind(e))])
          .map(([a, b]) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)));
        """
    )


def test_a_key_is_asked_for(browser, start, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("page-0123456789abcdef")
    server = start(**{"security.api_keys_file": keys}).ready()
    browser.get(server.url)
    until(browser, lambda b: b.find_element(By.ID, "keys").is_displayed())
    look(browser, "key")
    upload(browser, picture(tmp_path, "early.png", lambda d: None))
    until(browser, lambda b: "401 unauthorized" in b.find_element(By.ID, "results").text)
    browser.find_element(By.ID, "key").send_keys("page-not-this-key-at-all", Keys.ENTER)
    until(browser, lambda b: "does not accept this key" in b.find_element(By.ID, "key-wrong").text)
    assert browser.execute_script("return sessionStorage.getItem('key')") is None
    look(browser, "key-wrong")
    browser.find_element(By.ID, "key").clear()
    browser.find_element(By.ID, "key").send_keys("page-0123456789abcdef", Keys.ENTER)
    until(browser, lambda b: MODEL in b.find_element(By.ID, "card").text)
    until(browser, lambda b: len(b.find_elements(By.CSS_SELECTOR, "ol.classes")) == 1)
    upload(browser, picture(tmp_path, "one.png", lambda d: None))
    until(browser, lambda b: len(b.find_elements(By.CSS_SELECTOR, "ol.classes")) == 2)
    command = browser.find_element(By.ID, "curl").text
    assert "page-0123456789abcdef" not in command
    assert json.loads(run(f"REPSERVE_KEY=page-0123456789abcdef; {command}", tmp_path))["predictions"]
    browser.get(f"{server.url}/docs")
    until(browser, lambda b: b.find_element(By.ID, "key-form").is_displayed())


def test_a_model_that_loads_is_waited_for(browser, server):
    """The browser's network says that the model is being verified, as long as the test likes."""
    loading = browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument",
        {
            "source": """
            const real = window.fetch;
            const loading = { title: "The server is not ready", detail: "the model is loading (phase: verify)", code: "not_ready" };
            window.fetch = (path, options) => /^\\/(readyz|classify)/.test(path) && !window.loaded
              ? Promise.resolve(new Response(JSON.stringify(loading), { status: 503, headers: { "retry-after": "1" } }))
              : real(path, options);
            """
        },
    )
    try:
        browser.get(server.url)
        until(browser, lambda b: b.find_element(By.ID, "loading").is_displayed())
        told = browser.find_element(By.ID, "loading").text
        assert "The model is not ready yet: the server is comparing the fused graph with the original." in told
        upload(browser, EXAMPLES / "ship.jpg")
        until(browser, lambda b: "waits for it" in b.find_element(By.ID, "results").text)
        look(browser, "loading")
        browser.execute_script("window.loaded = true")
        until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "ol.classes"))
        assert browser.find_element(By.ID, "state").text == "ready"
        assert not browser.find_element(By.ID, "loading").is_displayed()
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", {"identifier": loading["identifier"]})


def test_a_server_that_went_away(browser, start, tmp_path):
    server = start().ready()
    browser.get(server.url)
    until(browser, lambda b: b.find_element(By.ID, "state").text == "ready")
    server.stop()
    upload(browser, picture(tmp_path, "one.png", lambda d: None))
    until(browser, lambda b: "cannot be reached" in b.find_element(By.CSS_SELECTOR, "#results [role=alert]").text)


def test_the_api_reader(browser, server):
    browser.get(f"{server.url}/docs")
    operations = until(browser, lambda b: b.find_elements(By.TAG_NAME, "details"))
    document = requests.get(f"{server.url}/openapi.json").json()
    assert len(operations) == sum(len(methods) for methods in document["paths"].values())
    operations[0].find_element(By.TAG_NAME, "summary").click()
    assert "/classify" in operations[0].text and "429" in operations[0].text
    look(browser, "docs")


def test_docs_tries_a_call(browser, server):
    browser.get(f"{server.url}/docs")
    operation = until(browser, lambda b: b.find_element(By.ID, "classify"))
    operation.find_element(By.TAG_NAME, "summary").click()
    operation.find_element(By.NAME, "top_k").send_keys("2")
    Select(operation.find_element(By.CSS_SELECTOR, "form.try label:has(option) select:not([name])")).select_by_visible_text("image/jpeg")
    operation.find_element(By.CSS_SELECTOR, "form.try input[type=file]").send_keys(str(EXAMPLES / "truck.jpg"))
    operation.find_element(By.CSS_SELECTOR, "form.try button").click()
    until(browser, lambda _: "200" in operation.find_element(By.CSS_SELECTOR, ".answer").text)
    response, headers, command = [e.text for e in operation.find_elements(By.CSS_SELECTOR, ".answer pre")]
    classes = json.loads(response)["predictions"][0]["classes"]
    assert [c["label"] for c in classes][0] == "truck" and len(classes) == 2
    assert "x-total-time" in headers
    assert json.loads(run(command, EXAMPLES))["predictions"][0]["classes"] == classes
    look(browser, "docs-tried")


@pytest.mark.parametrize("operation", ["model_of_version", "infer", "ready", "index"])
def test_docs_tries_calls_of_other_kinds(browser, server, operation):
    """Parameters in the path, a body of JSON that is its example, none at all, and one that may be left out."""
    browser.get(f"{server.url}/docs")
    until(browser, lambda b: b.find_element(By.ID, operation))
    until(browser, lambda b: b.find_element(By.CSS_SELECTOR, "input.model").get_property("value") == MODEL)
    part = browser.find_element(By.ID, operation)
    part.find_element(By.TAG_NAME, "summary").click()
    for version in part.find_elements(By.NAME, "version"):
        version.send_keys("1")
    part.find_element(By.CSS_SELECTOR, "form.try button").click()
    until(browser, lambda _: part.find_elements(By.CSS_SELECTOR, ".answer strong"))
    assert part.find_element(By.CSS_SELECTOR, ".answer strong").text.startswith("200")


def test_drawings_are_classified_as_what_they_show(page):
    for name in ["ship", "airplane", "truck"]:
        page.find_element(By.CSS_SELECTOR, f"#examples button[value='{name}.jpg']").click()
        first = until(page, lambda b: b.find_elements(By.CSS_SELECTOR, "#results > li:first-child ol.classes li"))[0]
        until(page, lambda b: results(b)[0].find_element(By.TAG_NAME, "h3").text == f"{name}.jpg")
        first = until(page, lambda b: b.find_elements(By.CSS_SELECTOR, "#results > li:first-child ol.classes li"))[0]
        label, odds = first.text.split("\n")
        assert label == name and float(odds.removesuffix(" %")) > 90
    assert page.find_element(By.ID, "summary").text == "3 pictures: 3 done, 0 failed."
    assert json.loads(run(page.find_element(By.ID, "curl").text))["predictions"][0]["classes"][0]["label"] == "truck"
    look(page, "examples")


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(600)
OTHERS = {
    "photo.heic": (HEIC, "HEIC (iPhone photo): convert to JPEG"),
    "photo.avif": (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "AVIF: convert to JPEG or PNG"),
    "clip.mp4": (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "A video: take a frame of it as JPEG or PNG"),
    "paper.pdf": (b"%PDF-1.7\n", "A PDF document: export the picture in it as JPEG or PNG"),
    "drawing.svg": (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "An SVG drawing: export it as PNG"),
    "page.jpg": (b"<!DOCTYPE html><html></html>", "A web page: save the picture in it, not the page"),
    "notes.txt": (b"milk, bread", "Not a picture that is read here"),
    "empty.jpg": (b"", "The file is empty"),
}


def requests_for(browser, server):
    text = requests.get(f"{server.url}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("repserve_http_requests_total") and 'route="/classify"' in line]
    return sum(float(line.split()[-1]) for line in lines)


def test_what_is_no_picture_is_told_before_it_is_sent(page, server, tmp_path):
    before = requests_for(page, server)
    files = []
    for name, (content, _) in OTHERS.items():
        (tmp_path / name).write_bytes(content)
        files.append(tmp_path / name)
    large = tmp_path / "large.bmp"
    large.write_bytes(b"BM" + bytes(10 << 20))
    upload(page, *files, large)
    until(page, lambda b: b.find_element(By.ID, "summary").text == f"{len(files) + 1} pictures: 0 done, {len(files) + 1} failed.")
    told = [item.find_element(By.CSS_SELECTOR, "strong.bad").text for item in results(page)]
    assert told == [*(title for _, title in OTHERS.values()), "The file is too large"]
    assert "It has 10.1 MiB; the server takes up to 10 MiB." in results(page)[-1].text
    assert "up to 10 MiB each" in page.find_element(By.ID, "drop").text
    assert requests_for(page, server) == before
    look(page, "refused")


def test_what_the_page_lets_through_is_what_the_server_reads(page, tmp_path):
    kinds = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "BMP": "bmp", "WEBP": "webp", "TIFF": "tif"}
    files = []
    for seed, (kind, ending) in enumerate(kinds.items()):
        files.append(tmp_path / f"picture.{ending}")
        files[-1].write_bytes(encoded(seed, kind))
    upload(page, *files)
    until(page, lambda b: b.find_element(By.ID, "summary").text == f"{len(kinds)} pictures: {len(kinds)} done, 0 failed.")


def run(command, folder=None):
    """What a command prints that the page offers."""
    return subprocess.run(["sh", "-c", command], cwd=folder, check=True, capture_output=True).stdout


def downloaded(browser, folder, button, name):
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    browser.find_element(By.ID, button).click()
    return until(browser, lambda _: (folder / name).exists() and (folder / name).read_text())


def test_a_summary_that_can_be_saved(page, tmp_path):
    odd = "=it's a \"ship\", no?.jpg"
    shutil.copy(EXAMPLES / "ship.jpg", tmp_path / odd)
    (tmp_path / "broken.png").write_bytes(encoded(1)[:60])
    box = page.find_element(By.ID, "top-k")
    box.clear()
    box.send_keys("3")
    upload(page, tmp_path / odd, tmp_path / "broken.png")
    until(page, lambda b: b.find_element(By.ID, "summary").text == "2 pictures: 1 done, 1 failed.")

    saved = tmp_path / "saved"
    saved.mkdir()
    rows = list(csv.DictReader(io.StringIO(downloaded(page, saved, "csv", "predictions.csv"))))
    assert [row["file"] for row in rows] == ["'" + odd, "broken.png"], "no cell is a formula"
    assert (rows[0]["class_1"], rows[0]["state"], rows[0]["error"]) == ("ship", "done", "")
    assert float(rows[0]["probability_1"]) > float(rows[0]["probability_3"]) > 0 and "class_4" not in rows[0]
    assert rows[1]["state"] == "failed" and "decoded" in rows[1]["error"]

    one, other = json.loads(downloaded(page, saved, "json", "predictions.json"))
    assert one["file"] == odd and one["model"] == MODEL and len(one["classes"]) == 3 and one["times_ms"]["total"] > 0
    assert other["error"]["code"] == "invalid_image"

    command = page.find_element(By.ID, "curl").text
    assert shlex.split(command)[:3] == ["curl", "--data-binary", f"@{odd}"]
    assert json.loads(run(command, tmp_path))["predictions"][0]["classes"] == one["classes"]
    page.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    page.find_element(By.ID, "copy").click()
    until(page, lambda b: b.find_element(By.ID, "copied").text == "Copied.")
    assert page.execute_async_script("navigator.clipboard.readText().then(arguments[0])") == command
    look(page, "summary")

    box.clear()
    box.send_keys("7")
    page.find_element(By.ID, "again").click()
    until(page, lambda b: len(b.find_elements(By.CSS_SELECTOR, "ol.classes li")) == 7)


def test_a_busy_server_is_asked_again(page, server, tmp_path):
    """The browser's network answers the first requests in place of the server."""
    page.execute_script(
        """
        const real = window.fetch;
        let refusals = 2;
        window.fetch = (path, options) => String(path).startsWith("/classify") && refusals-- > 0
          ? Promise.resolve(new Response('{"title": "The server is busy", "detail": "so", "code": "overloaded"}',
              { status: 429, headers: { "retry-after": "1" } }))
          : real(path, options);
        """
    )
    upload(page, EXAMPLES / "ship.jpg")
    until(page, lambda b: "trying again in 1 s" in b.find_element(By.ID, "results").text)
    until(page, lambda b: b.find_elements(By.CSS_SELECTOR, "ol.classes"))
    assert page.find_element(By.ID, "summary").text == "1 picture: 1 done, 0 failed."


def test_refused_requests_are_not_in_the_latency(page):
    """Two scrapes between which 90 requests were refused in an instant, and 10 served in about 80 ms."""
    p50 = page.execute_script(
        """
        const scrape = (served, failed) => parse([["served", served], ["failed", failed]].flatMap(([outcome, n]) => [
          ["0.001", outcome === "failed" ? n : 0], ["0.05", outcome === "failed" ? n : 0], ["0.1", n], ["+Inf", n],
        ].map(([le, count]) => `repserve_request_duration_seconds_bucket{le="${le}",outcome="${outcome}",route="/classify"} ${count}`)).join("\\n"));
        return quantile(0.5, scrape(0, 0), scrape(10, 90));
        """
    )
    assert p50 == pytest.approx(0.075)
    served = requests.get(page.execute_script("return location.origin") + "/metrics").text
    assert 'outcome="served",route="/classify"' in served


def axe(browser):
    """What axe-core finds wrong with the page."""
    if not browser.execute_script("return 'axe' in window"):
        browser.execute_script((importlib.resources.files("axe_playwright_python") / "axe.min.js").read_text())
    found = browser.execute_async_script("axe.run(document, {resultTypes: ['violations']}).then((r) => arguments[0](r.violations))")
    return [(rule["id"], node["target"], node["failureSummary"]) for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong(page, server, tmp_path, scheme):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        assert axe(page) == []
        (tmp_path / "notes.txt").write_bytes(b"milk")
        upload(page, EXAMPLES / "ship.jpg", tmp_path / "notes.txt")
        until(page, lambda b: b.find_element(By.ID, "summary").text == "2 pictures: 1 done, 1 failed.")
        page.execute_script("needKey()")
        assert axe(page) == []
        page.get(f"{server.url}/docs")
        until(page, lambda b: b.find_elements(By.TAG_NAME, "details"))
        assert axe(page) == []
        page.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        page.find_element(By.CSS_SELECTOR, "#ready form.try button").click()
        until(page, lambda b: b.find_elements(By.CSS_SELECTOR, "#ready .answer strong"))
        assert axe(page) == []
        look(page, f"docs-{scheme}")
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_docs_on_a_phone(browser, server):
    phone = {"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        browser.get(f"{server.url}/docs")
        until(browser, lambda b: b.find_elements(By.TAG_NAME, "details"))
        browser.find_element(By.CSS_SELECTOR, "#classify summary").click()
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
        look(browser, "docs-phone")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
