"""One training step from the command line, as several machines start it.

    torchrun --nnodes=2 --nproc-per-node=4 … -m components.run_step train_teacher
        --sequences DIR --items-model DIR --config JSON --teacher DIR

Options are the arguments of the step's `run`. The first process of all writes the outputs and prints
the step's metadata as JSON; without `torchrun` the step runs alone. `python -m pipeline manifest`
writes such commands.
"""

import argparse
import importlib
import inspect
import sys
from collections.abc import Sequence

from slmrec.visible import visible_json

STEPS = ("pretrain_items", "train_teacher", "distill_student")
"""The steps that several processes can do together."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the step; ends as the step ends, with its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="python -m components.run_step",
        allow_abbrev=False,
        add_help=not STEPS.count(next(iter(given), "")),  # else the step's own options are told
    )
    parser.add_argument("step", choices=STEPS)
    chosen, rest = parser.parse_known_args(given)
    run = importlib.import_module(f"components.{chosen.step}.step").run
    options = argparse.ArgumentParser(prog=f"{parser.prog} {chosen.step}", allow_abbrev=False)
    for name, parameter in list(inspect.signature(run).parameters.items())[1:]:  # not the progress
        several = {"nargs": "+"} if parameter.annotation == list[str] else {}
        options.add_argument(f"--{name.replace('_', '-')}", required=True, **several)
    metadata = run(**vars(options.parse_args(rest)))
    if metadata:
        print(visible_json(metadata, sort_keys=True))


if __name__ == "__main__":
    main()
