"""`funnel key`."""

import secrets

import typer

BYTES = 32


def key() -> None:
    """Make an API key: 43 random characters. It is printed and kept nowhere.

    The service takes it as FUNNEL_API_KEY (everything), FUNNEL_INGEST_KEY or FUNNEL_READ_KEY, or from a file, and keeps
    a digest. Clients send it as "Authorization: Bearer KEY"; the command line sends FUNNEL_CLIENT_KEY.

    [bold]export FUNNEL_API_KEY=$(funnel key)[/bold]
    [bold]funnel key > api-key && chmod 600 api-key && FUNNEL_API_KEY_FILE=api-key funnel serve --host 0.0.0.0[/bold]
    [bold]FUNNEL_CLIENT_KEY=$KEY funnel search "parse a date" --url https://search.example.com[/bold]
    """
    typer.echo(secrets.token_urlsafe(BYTES))
