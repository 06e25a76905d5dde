"""The evaluation as one HTML page without scripts or outside resources."""

from base64 import b64encode
from collections.abc import Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined

from slmrec.config import EvaluateModels
from slmrec.evaluation.bootstrap import MIN_USERS
from slmrec.evaluation.metrics import HEADLINE, metric_names
from slmrec.evaluation.outcome import TEACHER, Evaluation, headline, short
from slmrec.evaluation.plots.segments import shown_models
from slmrec.evaluation.selection import Choice
from slmrec.evaluation.speed import Timings
from slmrec.evaluation.trainings import Trainings
from slmrec.models.machine import Machine, describe
from slmrec.visible import shown

_PAGES = Environment(
    loader=PackageLoader("slmrec.evaluation", "templates"),
    autoescape=True,
    finalize=shown,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters["short"] = short
_CARDS = Environment(
    loader=PackageLoader("slmrec.evaluation", "templates"),
    autoescape=False,  # noqa: S701 - Markdown, where names are escaped one by one
    finalize=shown,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_CARDS.filters["short"] = short


def render(
    evaluation: Evaluation,
    timings: Timings,
    choice: Choice,
    machine: Machine,
    trainings: Trainings,
    figures: Mapping[str, str],
    config: EvaluateModels,
) -> str:
    """Write the page for an evaluation; `figures` are the SVG texts of its plots by file name.

    Figures are embedded as images, in which a browser runs nothing.
    """
    return _PAGES.get_template("report.html").render(
        results=evaluation.results,
        timings=timings,
        choice=choice,
        machine=describe(machine),
        threads=machine["threads"],
        trainings=trainings,
        title=headline(evaluation),
        metrics=metric_names(config.cutoffs),
        headline=HEADLINE,
        figures={name: b64encode(text.encode()).decode() for name, text in figures.items()},
        resamples=config.resamples,
        drawn=[model["name"] for model in shown_models(evaluation, choice.name)],
        few_groups=not all(group["enough_users"] for group in evaluation.results["segments"]),
        batch_users=config.batch_users,
        load_processes=config.load_processes,
        min_users=MIN_USERS,
    )


def render_card(
    evaluation: Evaluation,
    timings: Timings,
    choice: Choice,
    machine: Machine,
    config: EvaluateModels,
) -> str:
    """Write the candidate's model card, as Markdown: what it is, how good, for whom, and its limits."""
    models = evaluation.results["models"]
    return _CARDS.get_template("card.md").render(
        results=evaluation.results,
        model=evaluation.model(choice.name),
        teacher=next(
            (one for one in models if one["kind"] == TEACHER), evaluation.model(choice.name)
        ),
        timings=timings,
        choice=choice,
        machine=describe(machine),
        batch_users=config.batch_users,
        headline=HEADLINE,
    )
