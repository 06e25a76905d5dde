"""`python -m pipeline dashboard`: what changed, what serves, and where a person decides."""

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from pipeline.registry import VAR, Home, Place, PublicKey, trusting
from pipeline.terminal import line_console


def dashboard(
    home: Home = VAR,
    place: Place = "",
    host: Annotated[
        str, typer.Option(help="Where to listen; other than loopback only with a login.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Where to listen.", min=1, max=65535)] = 8765,
    token: Annotated[
        str,
        typer.Option(
            envvar="SLMREC_DASHBOARD_TOKEN",
            show_envvar=True,
            help="What people show to get in; better given by the environment, where others on this "
            "machine do not see it.",
        ),
    ] = "",
    identity_header: Annotated[
        str,
        typer.Option(
            help="The header in which a proxy says who somebody is; only that proxy may reach the port."
        ),
    ] = "",
    actor: Annotated[
        str, typer.Option(help="Who decides without a login; default: the user of this process.")
    ] = "",
    export: Annotated[
        Path | None,
        typer.Option(
            help="Write the pages into this new folder instead, and end.", file_okay=False
        ),
    ] = None,
    public_key: PublicKey = "",
) -> None:
    """Show drift, models, data, runs and decisions, and take decisions.

    Example: python -m pipeline dashboard
    """
    from pipeline.home import Home as Local
    from slmrec.dashboard.security import Access

    registry = trusting(Local(home, place).registry, public_key)
    console = line_console()
    if export is not None:
        from slmrec.dashboard.export import export as write_pages
        from slmrec.dashboard.records import Records

        written = write_pages(Records(home, registry, lambda: datetime.now(UTC)), export)
        console.print(f"{export}: {written} pages; open {export / 'index.html'}")
        return
    access = Access(host, token, identity_header, actor or getpass.getuser())
    access.check()

    import uvicorn

    from slmrec.dashboard.app import create_app

    app = create_app(home, registry, access)
    shown = f"[{host}]" if ":" in host else host
    console.print(f"http://{shown}:{port} (Ctrl-C ends it)")
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
    )
