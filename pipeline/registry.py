"""`python -m pipeline registry …`: what was made, what serves, who decided it, and the way back."""

import getpass
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from pipeline.terminal import line_console, print_json, table_console
from slmrec.errors import ArtifactError, ConfigError
from slmrec.registry.store import Registry
from slmrec.registry.versions import TIMINGS, Version
from slmrec.signing import read_private_key, read_public_key

app = typer.Typer(
    no_args_is_help=True,
    help="Registered models: look, compare, promote, roll back. "
    "Example: python -m pipeline registry diff production candidate",
)

Place = Annotated[
    str,
    typer.Option(
        "--registry", help="A folder or gs://BUCKET/PREFIX; default: 'registry' in --home."
    ),
]
Home = Annotated[Path, typer.Option(help="Where runs, cache and registry live.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Which = Annotated[
    str, typer.Argument(help="A number of 'registry list', 'production' or 'candidate'.")
]
Actor = Annotated[str, typer.Option(help="Who decides; default: the user of this process.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in the decision log.")]
PublicKey = Annotated[
    str,
    typer.Option(
        envvar="SLMREC_PUBLIC_KEY",
        show_envvar=True,
        help="PEM file of the key that models have to be signed with; without it nobody looks.",
    ),
]
VAR = Path("var")


@app.command(name="list")
def list_(home: Home = VAR, place: Place = "", as_json: AsJson = False) -> None:
    """List every version, what it was measured with, and which one serves.

    Example: python -m pipeline registry list
    """
    registry = _registry(home, place)
    versions = [_facts(registry, version) for version in registry.versions()]
    production, candidate = (
        version.number if version else None
        for version in (registry.production(), registry.candidate())
    )
    if as_json:
        print_json({"production": production, "candidate": candidate, "versions": versions})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (
        ("version", "right"),
        ("model", "left"),
        ("NDCG@10", "right"),
        ("MB", "right"),
        ("p50 ms", "right"),
        ("interactions", "right"),
        ("added", "left"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for facts in versions:
        serves = facts["version"] == production
        role = " *" if serves else " +" if facts["version"] == candidate else ""
        table.add_row(
            f"{facts['version']}{role}",
            facts["name"],
            _number(facts["ndcg@10"], ".4f"),
            _number(facts["megabytes"], ".2f"),
            _number(facts["batch1_p50_ms"], ".2f"),
            f"{facts['interactions']:,}",
            facts["added"],
            style="bold" if serves else "",
        )
    console = table_console()
    console.print(table)
    console.print("* production" if production else "nothing serves yet")
    if candidate not in (None, production):
        console.print("+ candidate: what the newest run would have serve")


@app.command()
def show(which: Which, home: Home = VAR, place: Place = "", public_key: PublicKey = "") -> None:
    """Print all that is known of a version, as JSON.

    Example: python -m pipeline registry show 3
    """
    registry = _registry(home, place, public_key)
    version = registry.find(which)
    where = {"place": registry.uri(version.number)}
    signature = {"signature": registry.signatures.describe(version.number)}
    print_json({**asdict(version), **where, **signature, "measured": _facts(registry, version)})


@app.command()
def diff(one: Which, other: Which, home: Home = VAR, place: Place = "") -> None:
    """Print what differs between two versions, as JSON: one against the other.

    Example: python -m pipeline registry diff production candidate
    """
    registry = _registry(home, place)
    first, second = (_flat(registry, registry.find(which)) for which in (one, other))
    print_json(
        {
            name: [first.get(name), second.get(name)]
            for name in sorted({*first, *second})
            if first.get(name) != second.get(name)
        }
    )


@app.command()
def sign(
    which: Which,
    key: Annotated[
        str,
        typer.Option(
            envvar="SLMREC_SIGNING_KEY",
            show_envvar=True,
            help="PEM file of a private key on the curve P-256, without a password.",
        ),
    ],
    home: Home = VAR,
    place: Place = "",
) -> None:
    """Sign a version's model, so that it serves where models have to be signed.

    Example: python -m pipeline registry sign candidate --key signing.pem
    """
    registry = _registry(home, place)
    number = registry.find(which).number
    registry.signatures.add(number, read_private_key(key))
    table_console().print(f"version {number} is signed")


@app.command()
def promote(
    which: Which,
    reason: Reason,
    home: Home = VAR,
    place: Place = "",
    actor: Actor = "",
    public_key: PublicKey = "",
) -> None:
    """Make a version production, whatever its gates said; the decision names you.

    Example: python -m pipeline registry promote 3 --reason "fixed the catalogue"
    """
    registry = _registry(home, place, public_key)
    production = registry.production()
    number = registry.find(which).number
    registry.promote(
        number,
        production.number if production else None,
        reason=reason,
        actor=actor or getpass.getuser(),
        time=_now(),
    )
    table_console().print(f"production is version {number}")


@app.command()
def rollback(
    reason: Reason,
    home: Home = VAR,
    place: Place = "",
    actor: Actor = "",
    public_key: PublicKey = "",
) -> None:
    """Make production what it was before the present version.

    Example: python -m pipeline registry rollback --reason "complaints since Monday"
    """
    registry = _registry(home, place, public_key)
    made = registry.rollback(reason=reason, actor=actor or getpass.getuser(), time=_now())
    table_console().print(
        f"production is version {made.version}, as before version {made.previous}"
    )


@app.command()
def reject(
    which: Which, reason: Reason, home: Home = VAR, place: Place = "", actor: Actor = ""
) -> None:
    """Take a version back from being the candidate; no run promotes its model by itself again.

    Example: python -m pipeline registry reject candidate --reason "too many repeats"
    """
    registry = _registry(home, place)
    number = registry.find(which).number
    made = registry.reject(number, reason=reason, actor=actor or getpass.getuser(), time=_now())
    table_console().print(f"version {number} {'is' if made else 'was already'} rejected")


@app.command()
def retrain(reason: Reason, home: Home = VAR, place: Place = "", actor: Actor = "") -> None:
    """Have the next run train, whatever drift and new data say.

    Example: python -m pipeline registry retrain --reason "new season"
    """
    registry = _registry(home, place)
    made = registry.ask_retraining(reason=reason, actor=actor or getpass.getuser(), time=_now())
    table_console().print(
        "the next run trains" + ("" if made else "; somebody asked for it before")
    )


@app.command()
def snooze(
    until: Annotated[str, typer.Argument(help="A moment, such as 2026-01-31T09:00:00+00:00.")],
    reason: Reason,
    home: Home = VAR,
    place: Place = "",
    actor: Actor = "",
) -> None:
    """Let drift be no reason to train until a moment; other reasons stay.

    'trigger' starts no run for new data either until then. A moment that has passed ends a snooze.

    Example: python -m pipeline registry snooze 2026-01-31T09:00:00+00:00 --reason "a sale"
    """
    registry = _registry(home, place)
    registry.snooze(until, reason=reason, actor=actor or getpass.getuser(), time=_now())
    if datetime.fromisoformat(until) <= datetime.now(UTC):
        table_console().print(f"{until} has passed, so drift is a reason to train again")
    else:
        table_console().print(f"drift is no reason to train until {until}")


@app.command()
def decisions(home: Home = VAR, place: Place = "", as_json: AsJson = False) -> None:
    """List every decision, oldest first: who, when, about which version, and why.

    Example: python -m pipeline registry decisions
    """
    made = _registry(home, place).decisions()
    if as_json:
        print_json([asdict(decision) for decision in made])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("when", "what", "version", "before", "who", "why"):
        table.add_column(name, overflow="fold")
    for decision in made:
        numbers = ("–" if n is None else str(n) for n in (decision.version, decision.previous))
        table.add_row(decision.time, decision.action, *numbers, decision.actor, decision.reason)
    table_console().print(table)


@app.command()
def prune(
    keep: Annotated[int, typer.Option(help="How many of the newest versions stay.", min=1)] = 10,
    home: Home = VAR,
    place: Place = "",
    actor: Actor = "",
) -> None:
    """Remove old versions; both channels and what a rollback would bring back stay.

    Example: python -m pipeline registry prune --keep 5
    """
    removed = _registry(home, place).prune(keep, actor=actor or getpass.getuser(), time=_now())
    listed = ", ".join(map(str, removed)) or "none"
    table_console().print(f"removed versions: {listed}")


def trusting(place: str, public_key: str) -> Registry:
    """The registry at a place, whose models have to be signed where a key is given."""
    return Registry(place, read_public_key(public_key) if public_key else None)


def _registry(home: Path, place: str, public_key: str = "") -> Registry:
    from pipeline.home import Home as Local

    found = trusting(Local(home, place).registry, public_key)
    if not found.exists():
        raise ConfigError(
            f"{found.place}: no registry there; run the pipeline first, or name its --home or "
            "--registry"
        )
    return found


def _facts(registry: Registry, version: Version) -> dict[str, Any]:
    """A version's own figures, as its evaluation and timings recorded them; none where they did not."""
    try:
        metrics = registry.metrics(version)
    except ArtifactError as error:  # the list is needed all the more
        metrics = {}
        line_console(stderr=True).print(f"version {version.number}: {error}", style="yellow")
    timings = registry.document(version.number, f"{TIMINGS}/timings.json")
    models = metrics.get("models", [])
    model = next((one for one in models if one.get("name") == version.name), {})
    size = model.get("bytes")
    return {
        "version": version.number,
        "name": version.name,
        "added": version.added,
        "interactions": version.data.interactions,
        "users_evaluated": metrics.get("users"),
        "megabytes": None if size is None else size / 1e6,
        "batch1_p50_ms": timings.get(version.name, {}).get("batch1_p50"),
        **{name: value["value"] for name, value in model.get("metrics", {}).items()},
        "ndcg@10": model.get("metrics", {}).get("ndcg@10", {}).get("value"),
    }


def _flat(registry: Registry, version: Version) -> dict[str, Any]:
    recorded = asdict(version)
    data = {f"data.{name}": value for name, value in recorded.pop("data").items()}
    return {**recorded, **data, **_facts(registry, version)}


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
