"""Sessions of onnxruntime: quiet, whatever the file says."""

from __future__ import annotations

import pytest

from models import ModelImportError
from models.onnx_file.session import open_session
from tests.helpers.networks import mlp


def test_names_that_are_no_text_are_refused_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Standard output may be a report that somebody reads by machine."""
    odd = mlp().replace(b"Relu", b"R\xfflu")
    with pytest.raises(ModelImportError, match="onnxruntime cannot run this network: 'utf-8'"):
        open_session(odd)
    assert capfd.readouterr() == ("", "")
