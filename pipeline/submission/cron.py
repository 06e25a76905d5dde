"""Cron expressions, checked here because neither service's client does, and when they fire next."""

import re
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

from slmrec.errors import ConfigError

_NAMES = {
    4: ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    5: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
}
"""By the field's place where seconds come first."""
_DAYS = (3, 5)
_PART = re.compile(r"(\*|\w+(-\w+)?)(/[1-9]\d*)?")


@dataclass(frozen=True)
class Cron:
    """When a schedule fires: fields as the service reads them, and the zone that they are meant in."""

    fields: tuple[str, ...]
    zone: str

    @property
    def text(self) -> str:
        """The fields, without the zone."""
        return " ".join(self.fields)

    def following(self, after: datetime, count: int = 5) -> list[datetime]:
        """The next times after a moment, in the zone.

        Where clocks are put forward, a time that does not exist is left out by expressions with
        seconds (Kubeflow) and comes when the clocks have been changed by those of Unix (Vertex); where
        they are put back, a time that exists twice fires twice by the former, once by the latter.

        Raises `ConfigError` for an expression that never fires.
        """
        from cronsim import CronSim, CronSimError

        expression = self.text.replace("?", "*")
        try:
            times = list(islice(CronSim(expression, after.astimezone(ZoneInfo(self.zone))), count))
        except CronSimError as error:
            raise ConfigError(f"--cron '{self.text}': {str(error).lower()}") from None
        if len(times) < count:
            raise ConfigError(f"--cron '{self.text}': never fires; no such day comes")
        return times


def kubeflow_cron(text: str, zone: str) -> Cron:
    """An expression for Kubeflow: six fields with seconds first, or five, which fire at second 0.

    Raises `ConfigError` when it is not one.
    """
    fields = text.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ConfigError(
            f"--cron '{text}': {len(fields)} fields; Kubeflow reads six: second, minute, hour, day, "
            "month, weekday (or five, without the second)"
        )
    return _checked(text, fields, zone, any_day="?")


def vertex_cron(text: str, zone: str) -> Cron:
    """An expression for Vertex: five fields. Raises `ConfigError` when it is not one."""
    fields = text.split()
    if len(fields) != 5:
        raise ConfigError(
            f"--cron '{text}': {len(fields)} fields; Vertex reads five: minute, hour, day, "
            "month, weekday"
        )
    cron = _checked(text, ["0", *fields], zone, any_day="")
    return Cron(cron.fields[1:], zone)


def _checked(text: str, fields: list[str], zone: str, any_day: str) -> Cron:
    """What both services read the same way; others' extensions (L, W, #) are refused."""
    from cronsim import CronSim, CronSimError

    upper = [field.upper() for field in fields]
    for place, field in enumerate(upper):
        if any_day and place in _DAYS and field == any_day:
            continue
        for part in field.split(","):
            words = re.findall(r"\w+", part.partition("/")[0])
            known = all(word.isdecimal() or word in _NAMES.get(place, []) for word in words)
            if not part.isascii() or not _PART.fullmatch(part) or not known:
                raise ConfigError(
                    f"--cron '{text}': cannot read '{part}'; expected *, a number, a range, a list "
                    "or a step"
                )
            if place == 5 and "7" in words:
                raise ConfigError(
                    f"--cron '{text}': weekdays are 0 to 6; write 0 or SUN for Sunday"
                )
    try:
        clock = ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ConfigError(
            f"--time-zone '{zone}': no such zone; expected a name such as Europe/Berlin or UTC"
        ) from None
    expression = " ".join(upper).replace("?", "*")
    try:
        CronSim(expression, datetime(2026, 1, 1, tzinfo=clock))
    except CronSimError as error:
        raise ConfigError(
            f"--cron '{text}': {str(error).lower()}; see what a field may hold with "
            "'schedule create --help'"
        ) from None
    return Cron(tuple(upper), zone)
