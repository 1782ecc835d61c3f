"""The engine turns stored settings and files into items."""

from __future__ import annotations

import dataclasses
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.errors import InvalidInputError
from models.network import Normalization
from solvers.certification import CertifyOptions
from solvers.methods import Method
from solvers.proof import check_proof
from tests.helpers.service import SETTINGS
from tests.helpers.small_files import write_data, write_two_class
from worker import certification
from worker.certification import WarmCertifiers, certify, options_of
from worker.work import CertificationWork


def test_every_setting_arrives() -> None:
    settings: dict[str, Any] = {
        **SETTINGS,
        "methods": ["ibp", "exact"],
        "targets": [1, 2],
        "normalization": {"mean": [0.5], "std": [0.25]},
        "seed": 9,
    }
    assert options_of(settings, device="cpu") == CertifyOptions(
        epsilon=0.1,
        methods=(Method.IBP, Method.EXACT),
        timeout_seconds=60.0,
        valid_range=(0.0, 1.0),
        targets=(1, 2),
        device="cpu",
        seed=9,
        normalization=Normalization((0.5,), (0.25,)),
    )
    bare = options_of({**settings, "valid_range": None, "normalization": None}, device="auto")
    assert (bare.valid_range, bare.normalization) == (None, None)


@pytest.fixture
def work(tmp_path: Path) -> CertificationWork:
    """Class 0 wins by 2 x0 − 2 x1 − 0.1."""
    data = write_data(tmp_path / "d.npz", np.asarray([[0.9, 0.1], [0.5, 0.4]], np.float32), [0, 0])
    return CertificationWork(
        network=write_two_class(tmp_path / "n.onnx"),
        network_name="n",
        dataset=data,
        dataset_name="d",
        settings={**SETTINGS, "methods": ["ibp", "crown"]},
        indices=[0, 1],
        device="cpu",
    )


def test_answers_and_the_input_beside_a_counterexample(work: CertificationWork) -> None:
    items = list(certify(work, lambda: False))
    assert [item["verdict"] for item in items] == ["verified", "falsified"]
    assert "input" not in items[0]
    assert items[1]["input"] == pytest.approx([0.5, 0.4])
    assert set(items[0]["lower"]) == {"ibp", "crown"}


def test_verified_inputs_are_proved_where_that_is_asked(work: CertificationWork) -> None:
    settings = {**work.settings, "proof_timeout_seconds": 20.0}
    first, second = certify(dataclasses.replace(work, settings=settings), lambda: False)
    assert (first["verdict"], first["evidence"]) == ("verified", "checked")
    content = b64decode(first["proof_file"])
    assert len(content) == first["proof"]["bytes"]
    path = work.network.with_suffix(".proof")
    path.write_bytes(content)
    assert check_proof(path, work.network.read_bytes()).accepted
    assert second["proof"] is None
    assert "proof_file" not in second
    assert all("proof_file" not in item for item in certify(work, lambda: False))


def test_only_the_inputs_asked_for(work: CertificationWork) -> None:
    chosen = dataclasses.replace(work, indices=[1])
    assert [item["index"] for item in certify(chosen, lambda: False)] == [1]


def test_a_cancelled_engine_stops(work: CertificationWork) -> None:
    assert list(certify(work, lambda: True)) == []


def test_what_does_not_fit_is_refused(work: CertificationWork) -> None:
    beyond = dataclasses.replace(work, indices=[7])
    with pytest.raises(InvalidInputError, match="7"):
        list(certify(beyond, lambda: False))


def test_a_network_stays_loaded_between_chunks(
    work: CertificationWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    real = certification.load_network

    def counted(path: Path, *, name: str) -> object:
        loads.append(name)
        return real(path, name=name)

    monkeypatch.setattr(certification, "load_network", counted)
    warm = WarmCertifiers(kept=2)
    parts = [dataclasses.replace(work, indices=[index]) for index in (0, 1)]
    apart = [item for part in parts for item in warm(part, lambda: False)]
    assert len(loads) == 1
    whole = list(certify(dataclasses.replace(work, indices=[0, 1]), lambda: False))
    for one, other in zip(apart, whole, strict=True):
        kept = [{**entry, "seconds": None} for entry in (one, other)]
        assert kept[0] == kept[1]
    loads.clear()
    others = [
        dataclasses.replace(part, settings={**work.settings, "epsilon": epsilon})
        for part in parts
        for epsilon in (0.01, 0.02, 0.1)
    ]
    for part in others:
        list(warm(part, lambda: False))
    assert len(loads) == 6  # of three that take turns, two are kept: each comes too late


def test_threads_are_set_for_a_chunk(work: CertificationWork) -> None:
    before = torch.get_num_threads()
    try:
        list(WarmCertifiers()(dataclasses.replace(work, threads=2), lambda: False))
        assert torch.get_num_threads() == 2
        list(WarmCertifiers()(work, lambda: False))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
