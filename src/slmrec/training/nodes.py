"""`torchrun` on one of several machines that only know of each other what Vertex AI tells them.

    python -m slmrec.training.nodes PROCESSES MODULE ARGUMENT…

Vertex describes the machines of a job in `CLUSTER_SPEC`; `torchrun` wants to know how many there are,
which one this is and where the first one answers. A Kubeflow `TrainJob` needs no such help: it sets the
variables that `torchrun` reads itself.
"""

import json
import os
import sys
from collections.abc import Sequence

from slmrec.errors import ConfigError

CLUSTER_VARIABLE = "CLUSTER_SPEC"
"""Set by Vertex AI: the machines of each worker pool as HOST:PORT, and which one this is."""


def rendezvous(cluster_spec: str | None) -> list[str]:
    """Options by which `torchrun` on every machine finds the others; of one machine alone without.

    Raises `ConfigError` for a description that does not say what is needed.
    """
    if not cluster_spec:
        return ["--standalone"]
    try:
        spec = json.loads(cluster_spec)
        pools = {name: spec["cluster"][name] for name in sorted(spec["cluster"])}
        mine, index = spec["task"]["type"], int(spec["task"]["index"])
        machines = [(pool, n) for pool, names in pools.items() for n in range(len(names))]
        host, _, port = pools[machines[0][0]][0].rpartition(":")
        rank = machines.index((mine, index))
        number = int(port)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise ConfigError(
            f"{CLUSTER_VARIABLE}: found {cluster_spec:.200}, expected JSON with cluster (HOST:PORT of "
            "each machine by worker pool) and task (type and index), as Vertex AI sets it"
        ) from None
    return [
        f"--nnodes={len(machines)}",
        f"--node-rank={rank}",
        f"--master-addr={host}",
        f"--master-port={number}",
    ]


def main(arguments: Sequence[str]) -> None:
    """Become `torchrun`; `arguments` are the processes of this machine, a module and its arguments."""
    processes, module, *rest = arguments
    try:
        found = rendezvous(os.environ.get(CLUSTER_VARIABLE))
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    torchrun = ["-m", "torch.distributed.run", *found, f"--nproc-per-node={processes}"]
    os.execv(sys.executable, [sys.executable, *torchrun, "-m", module, *rest])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
