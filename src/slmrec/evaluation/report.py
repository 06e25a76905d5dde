"""The evaluation as one HTML page without scripts or outside resources."""

from base64 import b64encode

from jinja2 import Environment, PackageLoader, StrictUndefined

from slmrec.config import EvaluateModels
from slmrec.evaluation.bootstrap import MIN_USERS
from slmrec.evaluation.evaluate import Evaluation, headline, short
from slmrec.evaluation.metrics import HEADLINE, metric_names

_PAGES = Environment(
    loader=PackageLoader("slmrec.evaluation", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters["short"] = short


def render(evaluation: Evaluation, quality_figure: str, config: EvaluateModels) -> str:
    """Write the page for an evaluation; `quality_figure` is the SVG text of its plot.

    The figure is embedded as an image, in which a browser runs nothing.
    """
    return _PAGES.get_template("report.html").render(
        results=evaluation.results,
        title=headline(evaluation),
        metrics=metric_names(config.cutoffs),
        headline=HEADLINE,
        quality_figure=b64encode(quality_figure.encode()).decode(),
        resamples=config.resamples,
        min_users=MIN_USERS,
    )
