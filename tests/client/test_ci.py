"""The GitHub action and the GitLab job: parsed, and their steps run as shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.helpers.imports import ROOT
from tests.helpers.junit import check_junit, outcomes
from tests.helpers.sarif import check_sarif

ACTION = yaml.safe_load((ROOT / "ci" / "github" / "action.yml").read_text("utf-8"))
GITLAB = yaml.safe_load((ROOT / "ci" / "gitlab" / "tightrope-gate.yml").read_text("utf-8"))
JOB = GITLAB[".tightrope-gate"]
Ended = subprocess.CompletedProcess[str]
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
INPUT = re.compile(r"\$\{\{ inputs\.([a-z-]+) \}\}")
BIN = Path(sys.executable).parent


def run(script: str, shell: tuple[str, ...], folder: Path, env: Mapping[str, str]) -> Ended:
    """Run a step as its runner does; nothing of this environment but the path comes along."""
    path = f"{BIN}:{os.environ['PATH']}"
    return subprocess.run(
        [*shell, script],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **env},
        capture_output=True,
        text=True,
        check=False,
    )


class Runner:
    """GitHub's runner, as far as a composite action sees it.

    Args:
        folder: Of the repository.
    """

    shell = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outputs = folder.parent / "outputs"
        self.summary = folder.parent / "summary"
        self.path = folder.parent / "path"
        for file in (self.outputs, self.summary, self.path):
            file.touch()

    def step(self, name: str, **inputs: str) -> Ended:
        """Run a step with these inputs, and the action's defaults."""
        stated = {key.replace("_", "-"): value for key, value in inputs.items()}
        known = {key: entry.get("default") for key, entry in ACTION["inputs"].items()}
        assert set(stated) <= set(known)
        given = {**known, **stated}
        env = {
            key: INPUT.sub(lambda found: given[found[1]], value)
            for key, value in STEPS[name]["env"].items()
        }
        runner = {
            "GITHUB_OUTPUT": str(self.outputs),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_PATH": str(self.path),
            "GITHUB_ACTION_PATH": str(ROOT / "ci" / "github"),
            "RUNNER_TEMP": str(self.folder.parent),
        }
        return run(STEPS[name]["run"], self.shell, self.folder, {**env, **runner})


def test_the_action_says_what_github_asks_for() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert {"name", "description", "inputs", "outputs"} <= set(ACTION)
    for name, entry in ACTION["inputs"].items():
        assert entry["description"], name
        assert entry.get("required") or "default" in entry, name
    named = {name for step in STEPS.values() for name in INPUT.findall(str(step["env"]))}
    named |= set(INPUT.findall(str(ACTION["outputs"])))
    assert named == set(ACTION["inputs"])


def test_no_input_becomes_part_of_a_script() -> None:
    for name, step in STEPS.items():
        assert step["shell"] == "bash", name
        assert "${{" not in step["run"], name


@pytest.mark.parametrize("name", list(STEPS))
def test_the_steps_are_shell(name: str) -> None:
    subprocess.run(["bash", "-n", "-c", STEPS[name]["run"]], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-s", "bash", "-"], input=STEPS[name]["run"], text=True,
                       check=True)  # fmt: skip


def test_the_action_with_its_documented_inputs(service: str, repository: Path) -> None:
    runner = Runner(repository)
    asked = {"server": service, "network": "nets/two.onnx", "data": "three.npz", "epsilon": "0.1"}
    more = "--methods crown --min-clean 0.5"
    passed = runner.step("Certify", **asked, min_certified="0.3", arguments=more)
    assert passed.returncode == 0, passed.stderr
    assert passed.stdout.endswith("gate passed\n")
    failed = runner.step(
        "Certify", **(asked | {"network": "nets/worse.onnx"}), baseline="nets/two.onnx",
        max_drop="0.1", arguments="--methods crown",
    )  # fmt: skip
    assert failed.returncode == 1, failed.stderr
    assert runner.outputs.read_text() == "passed=true\npassed=false\n"
    summary = runner.summary.read_text("utf-8")
    assert "**gate passed**" in summary
    assert "**gate failed**" in summary
    root = check_junit((repository / ACTION["inputs"]["junit"]["default"]).read_text("utf-8"))
    assert outcomes(root)["drop"] == "failure"
    run_ = check_sarif((repository / ACTION["inputs"]["sarif"]["default"]).read_text("utf-8"))
    assert run_["artifacts"][0]["location"]["uri"] == "nets/worse.onnx"


def test_bad_input_keeps_its_status(service: str, repository: Path) -> None:
    runner = Runner(repository)
    asked = {"server": service, "data": "three.npz", "epsilon": "0.1", "min_certified": "0.3"}
    hostile = 'nets/two.onnx"; touch broken; echo "'
    ended = runner.step("Certify", **asked, network=hostile)
    assert ended.returncode == 2
    assert "there is no file" in ended.stderr
    assert not (repository / "broken").exists()
    assert runner.outputs.read_text() == "passed=false\n"


def test_the_action_installs_the_client_beside_it(tmp_path: Path) -> None:
    """With a pip that only notes what it was asked, since others need an index."""
    folder = tmp_path / "repository"
    folder.mkdir()
    tools = tmp_path / "tools"
    tools.mkdir()
    python = tools / "python3"
    python.write_text(
        '#!/bin/sh\nmkdir -p "$3/bin"\n'
        'printf \'#!/bin/sh\\nfor word; do echo "$word"; done\\n\' > "$3/bin/pip"\n'
        'chmod +x "$3/bin/pip"\n'
    )
    python.chmod(0o755)
    runner = Runner(folder)
    step = STEPS["Install the gate"]["run"]
    env = {"CLIENT": "", "RUNNER_TEMP": str(tmp_path), "GITHUB_PATH": str(runner.path),
           "GITHUB_ACTION_PATH": str(ROOT / "ci" / "github")}  # fmt: skip
    path = {"PATH": f"{tools}:{os.environ['PATH']}"}
    ended = run(step, Runner.shell, folder, {**env, **path})
    assert ended.returncode == 0, ended.stderr
    installed = Path(ended.stdout.splitlines()[-1])
    assert (installed / "pyproject.toml").resolve() == ROOT / "client" / "pyproject.toml"
    assert runner.path.read_text() == f"{tmp_path}/tightrope-gate/bin\n"
    runner.path.write_text("")
    assert run(step, Runner.shell, folder, {**env, **path, "CLIENT": "none"}).returncode == 0
    assert runner.path.read_text() == ""


def test_the_job_of_gitlab(service: str, repository: Path) -> None:
    variables = {
        **JOB["variables"],
        "TIGHTROPE_SERVER": service,
        "NETWORK": "nets/two.onnx",
        "DATA": "three.npz",
        "EPSILON": "0.1",
        "MIN_CERTIFIED": "0.3",
        "ARGUMENTS": "--methods crown",
    }
    script = "\n".join([*JOB["before_script"], *JOB["script"]])
    ended = run(script, ("sh", "-ec"), repository, variables)
    assert ended.returncode == 0, ended.stderr
    for file in JOB["artifacts"]["paths"]:
        assert (repository / file).stat().st_size > 0
    check_junit((repository / JOB["artifacts"]["reports"]["junit"]).read_text("utf-8"))
    strict = variables | {"MIN_CERTIFIED": "0.5"}
    assert run(script, ("sh", "-ec"), repository, strict).returncode == 1
    compared = variables | {"MIN_CERTIFIED": "", "BASELINE": "nets/two.onnx", "MAX_DROP": "0.0"}
    assert run(script, ("sh", "-ec"), repository, compared).returncode == 0


def test_the_variables_of_the_job_are_those_of_its_script() -> None:
    script = "\n".join([*JOB["before_script"], *JOB["script"]])
    used = set(re.findall(r"\$\{?([A-Z_]+)", script))
    assert used == set(JOB["variables"])
    assert "tightrope-gate" in shlex.split(JOB["script"][0])[0]
