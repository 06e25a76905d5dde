"""Case 1: seconds an epoch, beside peers, of teacher and student; the share of the machine's peak."""

from collections.abc import Sequence

from benchmarks.speed import machine
from benchmarks.speed.measured import Figure, Measured, Ratio, Spread
from benchmarks.speed.options import Options
from benchmarks.speed.peers import FASTEST, TUNED, peer
from benchmarks.speed.turns import Found, Side, ours, take_turns

NAME = "training"
TITLE = "Training"
ASKED_PEER, ASKED_TUNED = 10.0, 5.0
ASKED_TEACHER, ASKED_LIVE = 6.6, 3.0
ASKED_PEAK = 0.4
PEER_EPOCHS, OUR_EPOCHS = 2, 4
"""The first of a peer's is not counted: it warms up."""
PEER_PART = 0.15
"""Of a peer's epoch is trained, to take three turns in an hour and a half: its batches cost alike."""


def measure(options: Options) -> Measured:
    """Train everything in turns."""
    options.prepare(models=True)
    folder = options.folder
    threads = ["--threads", str(options.threads)]
    sides = [
        ours(
            "slmrec SASRec", "epochs", str(folder), "sasrec", "--epochs", f"{OUR_EPOCHS}", *threads
        )
    ]
    peers = [
        peer(name, options, epochs=PEER_EPOCHS, part=PEER_PART, tuned=tuned)
        for name in options.peers
        for tuned in (False, True)
    ]
    chosen = [
        peer(
            name,
            options,
            epochs=PEER_EPOCHS,
            part=PEER_PART,
            tuned=True,
            more=FASTEST[name],
            called=f"{name} with {FASTEST[name]}",
        )
        for name in options.peers
        if name in FASTEST
    ]
    own = [
        ours(name, "epochs", str(folder), name, "--epochs", f"{epochs}", *threads)
        for name, epochs in (("network", 2), ("teacher", 1), ("student", 2), ("student_live", 1))
    ]
    found = take_turns([*sides, *peers, *chosen, *own], options.turns)
    epochs = {name: [epoch_seconds(run) for run in runs] for name, runs in found.items()}
    figures = [Figure(name, "an epoch", "s", Spread.of(runs)) for name, runs in epochs.items()]
    figures += [
        Figure(name, "targets a second", "1/s", Spread.of(rates(runs)))
        for name, runs in found.items()
        if "targets_per_epoch" in runs[0]
    ]
    figures += [
        Figure(name, "memory at most", "MB", Spread.of(run["peak_rss_mb"] for run in runs))
        for name, runs in found.items()
    ]
    limits = machine.describe()
    share = [
        run["flop_per_target"] * rate / 1e9 / limits["peak_gflops"][run["precision"]]
        for run, rate in zip(found["network"], rates(found["network"]), strict=True)
    ]
    ratios = [
        Ratio("teacher network: share of the peak", Spread.of(share), ASKED_PEAK),
        ratio(
            "teacher over student, an epoch", epochs["teacher"], epochs["student"], ASKED_TEACHER
        ),
        ratio("live over cached, an epoch", epochs["student_live"], epochs["student"], ASKED_LIVE),
        *beside_peers(epochs, peers, chosen),
    ]
    return Measured(
        NAME,
        TITLE,
        options.told(),
        limits,
        machine.versions("torch", "numpy") | peer_versions(found, peers),
        figures,
        ratios,
        notes=(
            "SASRec everywhere: length 50, width 64, two layers, two heads, softmax over the whole "
            "catalogue; ours packs histories, so that almost no position is padding.",
            f"A peer's epoch is told by {PEER_PART:.0%} of its batches, after as many that are not "
            "counted.",
            f"{TUNED} is the peer with another setting of the memory allocator, which spares it page "
            "faults from large temporary tensors.",
            "The share of the peak counts each weight of a matrix once forward and twice backward, and "
            "of real positions only, beside the machine's square product in the same type.",
        ),
    )


def epoch_seconds(run: Found) -> float:
    """Of one whole epoch; the peers' first one is left out, ours does not tell its own."""
    seconds: Sequence[float] = run["epoch_seconds"]
    counted = seconds[1:] if "peer" in run and len(seconds) > 1 else seconds
    return sum(counted) / len(counted) / run.get("share_of_epoch", 1.0)


def rates(runs: Sequence[Found]) -> list[float]:
    """Training targets a second."""
    return [run["targets_per_epoch"] / epoch_seconds(run) for run in runs]


def ratio(name: str, slow: Sequence[float], fast: Sequence[float], asked: float | None) -> Ratio:
    """How many times as long one side takes, turn by turn."""
    return Ratio(name, Spread.of(s / f for s, f in zip(slow, fast, strict=True)), asked)


def beside_peers(
    epochs: dict[str, list[float]], peers: Sequence[Side], chosen: Sequence[Side] = ()
) -> list[Ratio]:
    """Of every peer, and of the fastest one in its default settings, as installed and tuned.

    `chosen` are those in other settings of theirs, which stand by themselves.
    """
    mine = epochs["slmrec SASRec"]
    found = [
        ratio(f"{side.name} over slmrec, an epoch", epochs[side.name], mine, None)
        for side in (*peers, *chosen)
    ]
    for words, asked, tuned in (
        ("as installed", ASKED_PEER, False),
        ("as installed but tuned", ASKED_TUNED, True),
    ):
        group = [epochs[side.name] for side in peers if side.name.endswith(TUNED) == tuned]
        if group:
            fastest = [min(turn) for turn in zip(*group, strict=True)]
            found.append(ratio(f"fastest peer {words} over slmrec, an epoch", fastest, mine, asked))
    return found


def peer_versions(found: dict[str, list[Found]], peers: Sequence[Side]) -> dict[str, str]:
    """Of the peers and of the torch that each has."""
    told: dict[str, str] = {}
    for side in peers:
        versions = found[side.name][0]["versions"]
        told |= {f"{side.name.split()[0]}: {name}": text for name, text in versions.items()}
    return told
