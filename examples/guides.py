"""Runs the stories of the guides, and takes their pictures.

    python -m examples.guides [--folder FOLDER] [--pictures docs/guides/pictures]

makes the data, trains the networks, starts the service with a fresh data folder, asks what the
guides ask, and takes pictures of the pages with Chromium, which has to be installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from examples import scans, sensors
from examples.client import Service
from examples.demo import certify, running_service

_METHODS = ["ibp", "crown", "alpha-crown", "exact"]
_COUNT = 60
_RADII = (0.02, 0.04, 0.06, 0.08, 0.1)
_WIDTH = 1100
_COLOURS = 160


def main() -> int:
    """Run all stories."""
    parser = argparse.ArgumentParser(description="Take the pictures of the guides.")
    parser.add_argument("--folder", type=Path, default=Path("guides-output"), help="for the files")
    parser.add_argument("--pictures", type=Path, default=Path("docs/guides/pictures"))
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    arguments.pictures.mkdir(parents=True, exist_ok=True)
    prepare(folder)
    with (
        tempfile.TemporaryDirectory(prefix="tightrope-guides-") as store,
        running_service(Path(store), folder / "service.log") as url,
    ):
        service = Service(url)
        with httpx.Client(base_url=url, timeout=60) as http:
            pages = ask(service, http, folder)
        service.close()
        gate(url, folder)
        take(url, pages, arguments.pictures)
        take(url, {"sensors-radius": (folder / "radius.html").as_uri()}, arguments.pictures)
    return 0


def prepare(folder: Path) -> None:
    """Make data and networks with the commands of the guides."""
    scans.make(folder)
    sensors.make(folder)
    commands = (
        "train --architecture mlp:32,32 --data scans-train.npz --method standard --epsilon 0.03 "
        "--epochs 30 --out plain.onnx",
        "train --network plain.onnx --data scans-train.npz --method crown-ibp --epsilon 0.03 "
        "--epochs 40 --feasibility-weight 0.2 --slack-weight 0.2 --out tight.onnx",
        "train --architecture mlp:24,24 --data sensors-train.npz --method standard --epsilon 0.02 "
        "--epochs 60 --learning-rate 0.01 --out sensors.onnx",
        f"radius sensors.onnx --data sensors-test.npz --count {_COUNT} --timeout 5 --quiet "
        "--html radius.html --json radius.json",
    )
    for command in commands:
        print(f"tightrope {command}", flush=True)
        run(command.split(), folder)


def gate(url: str, folder: Path) -> None:
    """Let the gate pass what was made tight, and stop what was not."""
    for name, status in (("tight", 0), ("plain", 1)):
        command = (
            f"gate --server {url} --network {name}.onnx --data scans-test.npz --epsilon 0.03 "
            f"--count {_COUNT} --timeout 10 --min-certified 0.75 --baseline plain.onnx"
        )
        print(f"tightrope {command}", flush=True)
        run(command.split(), folder, status=status)


def run(arguments: Sequence[str], folder: Path, *, status: int = 0) -> None:
    """Run `tightrope` in a folder; it has to end with this status."""
    root = Path(__file__).resolve().parents[1]
    start = f"import sys; sys.path.insert(0, {str(root)!r})"
    script = f"{start}; from cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", script, *arguments]
    ended = subprocess.run(command, cwd=folder, check=False).returncode
    if ended != status:
        raise SystemExit(f"tightrope {arguments[0]} ended with status {ended}, not {status}")


def ask(service: Service, http: httpx.Client, folder: Path) -> dict[str, str]:
    """Ask what the guides ask; return the paths of the pages to take pictures of."""
    data = service.upload("datasets", folder / "scans-test.npz")
    options: dict[str, Any] = {
        "epsilon": 0.03, "methods": _METHODS, "count": _COUNT, "timeout_seconds": 10.0,
    }  # fmt: skip
    found = {
        name: certify(service, folder / f"{name}.onnx", data, {**options, "proofs": True})
        for name in ("plain", "tight")
    }
    names = {name: service.upload("networks", folder / f"{name}.onnx") for name in found}
    body = {"baseline_id": names["plain"], "candidate_ids": [names["tight"]],
            "dataset_id": data, **options}  # fmt: skip
    comparison = finished(http, "comparisons", body)
    machine = service.upload("datasets", folder / "sensors-test.npz")
    for epsilon in _RADII:
        certify(service, folder / "sensors.onnx", machine, {**options, "epsilon": epsilon})
    sensing = service.upload("networks", folder / "sensors.onnx")
    relaxed = certify(
        service, folder / "plain.onnx", data,
        {**options, "methods": ["fast-lin", "crown", "alpha-crown", "alpha-fastc2v", "exact"]},
    )  # fmt: skip
    plain = found["plain"]["id"]
    items = http.get(f"/v1/certifications/{plain}/items").raise_for_status().json()["items"]
    refuted = next(item["index"] for item in items if item["verdict"] == "falsified")
    proved = next(item["index"] for item in items if item["verdict"] == "verified")
    return {
        "overview": "/",
        "scans-plain": f"/certifications/{plain}",
        "scans-tight": f"/certifications/{found['tight']['id']}",
        "scans-counterexample": f"/certifications/{plain}/inputs/{refuted}",
        "scans-proof": f"/certifications/{plain}/inputs/{proved}",
        "scans-comparison": f"/comparisons/{comparison}",
        "scans-form": "/new/certification",
        "sensors-network": f"/networks/{sensing}",
        "relaxations": f"/certifications/{relaxed['id']}",
    }


def finished(http: httpx.Client, kind: str, body: dict[str, Any]) -> str:
    """Ask for a job, wait until it is finished, and return its id."""
    made = http.post(f"/v1/{kind}", json=body).raise_for_status().json()
    identifier: str = made["id"]
    while made["state"] in ("queued", "running"):
        path = f"/v1/{kind}/{identifier}"
        made = http.get(path, params={"wait": 30}).raise_for_status().json()
    return identifier


def take(url: str, pages: dict[str, str], pictures: Path) -> None:
    """Take a picture of each page, without what lies far below."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        page = browser.new_page(viewport={"width": _WIDTH, "height": 800}, locale="en-GB")
        for name, path in pages.items():
            page.goto(path if "://" in path else url + path)
            snap(page, pictures / f"{name}.png")
        browser.close()


def snap(page: Page, path: Path) -> None:
    """Write a picture of the upper part of a page, in few colours: it has no more."""
    height = min(int(page.evaluate("document.documentElement.scrollHeight")), 1150)
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": _WIDTH,
                                                     "height": height})  # fmt: skip
    with Image.open(path) as image:
        image.convert("RGB").quantize(_COLOURS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
