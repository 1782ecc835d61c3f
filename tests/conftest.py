"""Settings of the whole test run."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Small problems: threads cost more than they bring, and runs beside each other would fight for
# cores. Has to stand before torch or numpy load.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# No verdict of a test may hang on how busy the machine is.
settings.register_profile(
    "tightrope",
    deadline=None,
    max_examples=50,
    print_blob=True,
    # Runs of one commit agree with each other; at a desk every run looks elsewhere.
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("tightrope")
