"""Somebody works: uploads, asks, compares, trains and cancels, at a service that computes."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import EXPECTED
from tests.e2e.conftest import Visitor
from tests.e2e.test_serve import serving
from tests.helpers.browser import Reader, reading
from tests.helpers.small_files import write_data, write_mlp, write_three, write_two_class

# Starts a worker, which loads torch and its solvers.
LONG = 120_000
_DROP = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], name));
  return carried;
}"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """Run `tightrope serve`, with its worker."""
    with serving(tmp_path_factory.mktemp("working") / "data") as (_, visitor):
        yield visitor


@pytest.fixture
def reader(browser: Browser, service: Visitor) -> Iterator[Reader]:
    with reading(browser, str(service.http.base_url).rstrip("/")) as opened:
        yield opened
        # A refused file is answered 422, which the browser notes.
        told = [one for one in opened.complaints if "status of 422" not in one]
        assert [one for one in told if not any(e in one for e in EXPECTED)] == []


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return write_two_class(tmp_path / "two.onnx")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One input that is safe within 0.1, one that is not, one with the wrong label."""
    return write_three(tmp_path / "three.npz")


def drop(page: Page, path: Path) -> None:
    """Let a file fall where files may be dropped."""
    content = base64.b64encode(path.read_bytes()).decode()
    carried = page.evaluate_handle(_DROP, [path.name, content])
    page.locator("form.drop").dispatch_event("drop", {"dataTransfer": carried})


def test_a_network_is_dropped_certified_and_its_proof_checked(
    reader: Reader, network: Path, data: Path
) -> None:
    page = reader.open("/networks")
    drop(page, network)
    expect(page.get_by_role("status").filter(has_text="Recognised")).to_contain_text("two.onnx")
    drop(page, data)
    told = page.get_by_role("status").filter(has_text="Recognised")
    expect(told).to_contain_text("3 inputs of shape 2 in 2 classes")
    page.get_by_role("link", name="Certify on it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New certification")
    page.get_by_label("Radius ε").fill("-1")
    page.get_by_label("Radius ε").press("Tab")
    expect(page.locator('[data-problem="epsilon"]')).not_to_be_empty()
    page.get_by_label("Radius ε").fill("0.1")
    expect(page.locator("#curl")).to_contain_text('"epsilon": 0.1')
    page.get_by_text("Advanced").click()
    page.get_by_label("Proofs").check()
    page.get_by_role("button", name="Start the certification").click()
    expect(page).to_have_url(re.compile("/certifications/job_"))
    page.evaluate("window.untouched = true")
    expect(page.locator("#state .badge")).to_have_text("succeeded", timeout=LONG)
    assert page.evaluate("window.untouched")
    rows = page.locator("#inputs tbody tr")
    expect(rows.locator(".badge")).to_have_text(["verified", "falsified", "misclassified"])
    rows.first.get_by_role("link").click()
    page.get_by_role("button", name="Check this proof").click()
    expect(page.locator("#proof")).to_contain_text("Accepted", timeout=LONG)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the proof").click()
    assert download.value.path().stat().st_size > 0
    page.get_by_role("link", name="Input 1").click()
    page.get_by_role("button", name="Run this counterexample again").click()
    expect(page.locator("#example")).to_contain_text("Confirmed", timeout=LONG)


def test_a_file_that_is_none_is_refused_in_words(reader: Reader, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no network")
    page = reader.open("/networks")
    page.get_by_label("A network as").set_input_files(broken)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("broken.onnx was not stored")


def test_two_networks_are_compared(
    reader: Reader, service: Visitor, network: Path, data: Path, tmp_path: Path
) -> None:
    other = write_mlp(tmp_path / "other.onnx", [([[1.0, 0.0], [0.0, 1.0]], [0.2, 0.0])] * 2)
    first, second = (service.upload("networks", path) for path in (network, other))
    asked = f"?baseline_id={first}&candidate_ids={second}&epsilon=0.05"
    page = reader.open(f"/new/comparison{asked}&dataset_id={service.upload('datasets', data)}")
    page.get_by_role("button", name="Start the comparison").click()
    expect(page).to_have_url(re.compile("/comparisons/job_"))
    expect(page.locator("#state .badge")).to_have_text("succeeded", timeout=LONG)
    expect(page.locator("main")).to_contain_text("Verdicts that changed")


def test_a_training_is_started_followed_and_cancelled(
    reader: Reader, service: Visitor, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    x = generator.uniform(size=(400, 4)).astype(np.float32)
    points = write_data(tmp_path / "points.npz", x, (x[:, 0] > x[:, 1]).astype(np.int64))
    page = reader.open(f"/new/training?dataset_id={service.upload('datasets', points)}")
    page.get_by_label("Architecture").fill("mlp:8")
    page.get_by_role("textbox", name="Epochs").fill("10000")
    page.get_by_role("button", name="Start the training").click()
    expect(page).to_have_url(re.compile("/trainings/job_"))
    expect(page.locator("#state .badge")).to_have_text("running", timeout=LONG)
    expect(page.locator("#charts svg").first).to_be_visible(timeout=LONG)
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Cancel the training").click()
    expect(page).to_have_url(re.compile("/trainings/job_[^/]*$"))
    expect(page.locator("#state .badge")).to_have_text("cancelled", timeout=LONG)
