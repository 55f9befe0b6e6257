"""The pages that `--report` writes, in a real browser: whole without a network, light and dark, on paper."""

import base64
import os
import shutil
import subprocess

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from conftest import ROOT, encoded

SCREENSHOTS = ROOT / ".interop/screenshots"
CLASSES = ["airplane", "cat", "dog"]


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server", "--window-size=1280,1400"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir()
        for i in range(14):
            (folder / name / f"{i}<i>&.png").write_bytes(encoded(100 * number + i))
    return folder


def run(*arguments, codes=(0,)):
    binary = os.environ.get("REPSERVE", ROOT / "target/debug/repserve")
    done = subprocess.run([binary, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in codes, done.stderr


def look(browser, page, name, sections):
    """Opens the page light and dark, checks that nothing is missing, and prints it."""
    for scheme in ["light", "dark"]:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get_log("browser")
        browser.get(page.as_uri())
        assert {s.get_attribute("id") for s in browser.find_elements(By.TAG_NAME, "section")} >= set(sections)
        broken = "return [...document.images].filter(i => !i.naturalWidth).length"
        assert browser.execute_script(broken) == 0
        loaded = "return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length"
        assert browser.execute_script(loaded) == 0, "something is loaded from elsewhere"
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(246, 247, 249)") == (scheme == "light"), ground
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert not browser.get_log("browser")
        browser.save_screenshot(SCREENSHOTS / f"report-{name}-{scheme}.png")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"]
    pdf = base64.b64decode(printed)
    assert pdf.startswith(b"%PDF")
    (SCREENSHOTS / f"report-{name}.pdf").write_bytes(pdf)


def test_inspect_and_convert(browser, tmp_path):
    model = ROOT / "models/repvgg-cifar10"
    run("inspect", model, "--report", tmp_path / "inspect.html")
    look(browser, tmp_path / "inspect.html", "inspect", ["size", "parameters", "operations", "blocks"])
    assert len(browser.find_elements(By.CSS_SELECTOR, "#blocks .block svg")) == 9
    run("convert", model, "--out", tmp_path / "deploy.onnx", "--report", tmp_path / "convert.html")
    look(browser, tmp_path / "convert.html", "convert", ["size", "equivalence", "blocks"])


def test_eval(browser, images, tmp_path):
    page = tmp_path / "eval.html"
    run("eval", "--images", images, "--variants", "train,int8", "--report", page)
    look(browser, page, "eval", ["summary", "differences", "reliability", "classes-train", "classes-int8", "changed-int8"])
    assert len(browser.find_elements(By.CSS_SELECTOR, "#reliability svg")) == 2
    assert len(browser.find_elements(By.CSS_SELECTOR, "#changed-int8 figure img")) == len(
        browser.find_elements(By.CSS_SELECTOR, "#changed-int8 figure")
    )


def test_calibrate(browser, images, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(ROOT / "models/repvgg-cifar10", model, ignore=shutil.ignore_patterns("model.*.onnx"))
    page = tmp_path / "calibrate.html"
    run("calibrate", "--model", model, "--images", images, "--report", page, codes=(0, 1))
    look(browser, page, "calibrate", ["judgement", "layers", "method"])
    assert len(browser.find_elements(By.CSS_SELECTOR, "#layers svg rect")) == 10
