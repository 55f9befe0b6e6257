"""The page at `/` and the reader at `/docs`, in a real browser."""

import shutil

import pytest
import requests
from PIL import Image, ImageDraw
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from conftest import MODEL, ROOT, encoded

SCREENSHOTS = ROOT / ".interop/screenshots"


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
    for _ in range(8):
        webdriver.ActionChains(page).send_keys(Keys.TAB).perform()
        focused = page.switch_to.active_element
        seen.add(focused.get_attribute("id") or focused.text)
    assert {"files", "camera", "API"} <= seen


def test_names_for_those_who_hear_the_page(page):
    unnamed = page.execute_script(
        """
        return [...document.querySelectorAll("section, svg[role=img], input, button, video, a")]
          .filter((e) => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.textContent.trim()
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
    browser.find_element(By.ID, "key").send_keys("page-0123456789abcdef", Keys.ENTER)
    until(browser, lambda b: MODEL in b.find_element(By.ID, "card").text)
    upload(browser, picture(tmp_path, "one.png", lambda d: None))
    until(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "ol.classes"))


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
