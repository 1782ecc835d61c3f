"""How long status takes for 200 clients at once, and how soon held requests and streams wake.

Two workers certify on both cores all the while. Every client has a connection of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.service.embedded import serving

CLIENTS = 200
SECONDS = 30.0
PAUSE_SECONDS = 1.0
ROUNDS = 5
_WIDTHS = (64, 100, 100, 100, 10)


def run() -> None:
    """Start a service, keep both cores busy, and print the figures."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(workers=2, worker_threads=1, device="cpu") as service,
    ):
        job = _keep_busy(service.http, Path(folder))
        print(f"{CLIENTS} clients, two workers of one thread certify ({os.cpu_count()} cores)")
        asyncio.run(_figures(job, service.http))


async def _figures(job: str, client: httpx.Client) -> None:
    port = client.base_url.port or 80
    paths = {
        "status, GET /v1/jobs/{id}": f"/v1/jobs/{job}",
        "status, GET /v1/certifications/{id}": f"/v1/certifications/{job}",
    }
    for name, path in paths.items():
        times, errors = await _poll(port, path)
        _print(f"{name}, once a second each", times, errors)
    _print("held request wakes after a change", *await _wake(client, "?wait=30"))
    _print("stream tells of a change", *await _wake(client, "/events"))


def _print(name: str, times: Sequence[float], errors: int) -> None:
    middle, high, most = (1000 * float(np.quantile(times, q)) for q in (0.5, 0.99, 1.0))
    print(
        f"{name}: p50 {middle:.1f} ms, p99 {high:.1f} ms, max {most:.1f} ms, "
        f"{len(times)} answers, {errors} errors"
    )


def _keep_busy(client: httpx.Client, folder: Path) -> str:
    """Queue more certification than will be done meanwhile; return one job once it runs."""
    network, data = _upload(client, folder)
    jobs = []
    for seed in range(2):
        body = {
            "network_id": network,
            "dataset_id": data,
            "epsilon": 0.08,
            "methods": ["crown", "exact"],
            "timeout_seconds": 2,
            "seed": seed,
        }
        made = client.post("/v1/certifications", json=body).raise_for_status().json()
        jobs.append(str(made["id"]))
    while client.get(f"/v1/jobs/{jobs[0]}").json()["progress"]["done"] == 0:
        time.sleep(0.5)
    return jobs[0]


def _upload(client: httpx.Client, folder: Path) -> tuple[str, str]:
    """Upload a random network and random inputs; return their ids."""
    rng = np.random.default_rng(0)
    nodes, constants, name = [], [], "x"
    layers = list(pairwise(_WIDTHS))
    for layer, (inputs, outputs) in enumerate(layers):
        weight = rng.normal(0, 1.4 / np.sqrt(inputs), (inputs, outputs)).astype(np.float32)
        constants += [
            numpy_helper.from_array(weight, f"w{layer}"),
            numpy_helper.from_array(np.zeros(outputs, np.float32), f"b{layer}"),
        ]
        nodes.append(helper.make_node("Gemm", [name, f"w{layer}", f"b{layer}"], [f"z{layer}"]))
        name = f"z{layer}"
        if layer < len(layers) - 1:
            nodes.append(helper.make_node("Relu", [name], [f"a{layer}"]))
            name = f"a{layer}"
    shapes = [("x", _WIDTHS[0]), (name, _WIDTHS[-1])]
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, n]) for end, n in shapes]
    graph = helper.make_graph(nodes, "random", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "random.onnx")
    x = rng.random((400, _WIDTHS[0]), np.float32)
    values = x
    for layer in range(len(layers)):
        values = values @ numpy_helper.to_array(constants[2 * layer])
        values = np.maximum(values, 0) if layer < len(layers) - 1 else values
    np.savez(folder / "random.npz", x=x, y=values.argmax(axis=1))
    ids = []
    for kind, file in (("networks", "random.onnx"), ("datasets", "random.npz")):
        answer = client.post(f"/v1/{kind}", files={"file": (file, (folder / file).read_bytes())})
        ids.append(str(answer.raise_for_status().json()["id"]))
    return ids[0], ids[1]


@asynccontextmanager
async def _connected(
    port: int,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> bytes:
    """Return the body of an answer; a client of a few lines, so that it costs next to nothing."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    if " 200 " not in lines[0]:
        raise OSError(lines[0])
    length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length"))
    return await reader.readexactly(length)


async def _poll(port: int, path: str) -> tuple[list[float], int]:
    """Let every client ask once a second; return the times and the number of errors."""
    times: list[float] = []
    errors = 0

    async def one(number: int) -> None:
        nonlocal errors
        await asyncio.sleep(PAUSE_SECONDS * number / CLIENTS)
        end = time.perf_counter() + SECONDS
        async with _connected(port) as (reader, writer):
            while time.perf_counter() < end:
                began = time.perf_counter()
                try:
                    await _get(reader, writer, path)
                except (OSError, asyncio.IncompleteReadError):
                    errors += 1
                times.append(time.perf_counter() - began)
                await asyncio.sleep(max(PAUSE_SECONDS - (time.perf_counter() - began), 0))

    await asyncio.gather(*(one(number) for number in range(CLIENTS)))
    return times, errors


async def _wake(client: httpx.Client, suffix: str) -> tuple[list[float], int]:
    """Cancel a job that every client waits for; return how long after the answer each heard."""
    times: list[float] = []
    errors = 0
    port = client.base_url.port or 80
    for _ in range(ROUNDS):
        job = await asyncio.to_thread(_queued, client)
        heard: list[float] = []
        waits = [
            asyncio.create_task(_hear(port, f"/v1/jobs/{job}{suffix}")) for _ in range(CLIENTS)
        ]
        await asyncio.sleep(5)
        changed = time.perf_counter()
        await asyncio.to_thread(client.post, f"/v1/jobs/{job}/cancel")
        for wait in waits:
            try:
                heard.append(await wait - changed)
            except (OSError, asyncio.IncompleteReadError):
                errors += 1
        times += heard
    return times, errors


def _queued(client: httpx.Client) -> str:
    """Queue a job behind those that keep the workers busy."""
    first = client.get("/v1/certifications").json()["items"][-1]
    body = {
        "network_id": first["network"]["id"],
        "dataset_id": first["dataset"]["id"],
        "epsilon": 0.01,
        "priority": -10,
        "reuse": False,
    }
    return str(client.post("/v1/certifications", json=body).raise_for_status().json()["id"])


async def _hear(port: int, path: str) -> float:
    """Return when a client hears that its job is cancelled."""
    async with _connected(port) as (reader, writer):
        if path.endswith("/events"):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            await reader.readuntil(b'"state":"cancelled"')
        else:
            state = json.loads(await _get(reader, writer, path))["state"]
            if state != "cancelled":
                raise OSError(f"woken while {state}")
        return time.perf_counter()
