"""Print the figures: `python -m benchmarks.figures [SECTION ...]`, all of them by default.

Sections: bounds, certify, large, neurons, instances, relaxations, semidefinite,
first-order, dual-proofs, gaps, domains, cores, milp, members.
"""

from __future__ import annotations

import os
import subprocess
import sys

# Before torch loads: threads that spin on busy cores cost more than they bring.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

SECTIONS = (
    "bounds",
    "certify",
    "large",
    "neurons",
    "instances",
    "relaxations",
    "semidefinite",
    "first-order",
    "dual-proofs",
    "gaps",
    "domains",
    "cores",
    "milp",
    "members",
    "planes",
)


def main() -> None:
    """Run the sections named, or all of them, each in a process of its own for honest memory."""
    wanted = sys.argv[1:] or list(SECTIONS)
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        print(f"error: no section {unknown}; choose from {', '.join(SECTIONS)}", file=sys.stderr)
        raise SystemExit(2)
    if len(wanted) > 1:
        for name in wanted:
            subprocess.run([sys.executable, "-m", "benchmarks.figures", name], check=True)
        return
    _run(wanted[0])


def _run(section: str) -> None:
    from benchmarks import (  # noqa: PLC0415  after the environment is set
        bounds_beside_peers,
        certify_mnist,
        convex_relaxations,
        cores,
        dual_proofs,
        exact_search,
        gap_table,
        large_network,
        plane_proofs,
        semidefinite,
        vnnlib_categories,
    )

    sections = {
        "bounds": bounds_beside_peers.run,
        "certify": certify_mnist.run,
        "large": large_network.run,
        "neurons": large_network.run_neurons,
        "instances": vnnlib_categories.run,
        "relaxations": convex_relaxations.run,
        "semidefinite": semidefinite.run,
        "first-order": semidefinite.run_first_order,
        "dual-proofs": dual_proofs.run,
        "gaps": gap_table.run,
        "domains": exact_search.run_domains,
        "cores": cores.run,
        "milp": exact_search.run_milp,
        "members": exact_search.run_members,
        "planes": plane_proofs.run,
    }
    sections[section]()


if __name__ == "__main__":
    main()
