"""What goes wrong, as a page that says what to do."""

from slmrec.dashboard.rendering import Page


class ProblemError(Exception):
    """A request that is answered with an explanation."""

    def __init__(self, status: int, title: str, message: str) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.message = message


def problem_page(problem: ProblemError) -> Page:
    """The explanation."""
    data = {"status": problem.status, "problem": problem.title, "message": problem.message}
    return Page(problem.title, "", "problem.html", data)
