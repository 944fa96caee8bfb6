"""Every setting of the service: name, default, one sentence. Read from FUNNEL_* variables and a .env file."""

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from index.options import StoreOptions

MIB = 1 << 20
ENV_FILE = ".env"
OTHER_VARIABLES = {"CLIENT_KEY", "DEMO", "URL"}  # of the start script and of the command line
KEYS = {f"{kind}_KEY{end}" for kind in ("API", "INGEST", "READ") for end in ("", "_FILE")}
PROTECTING = KEYS | {"ALLOWED_HOSTS", "CORS_ORIGINS", "RATE_LIMIT", "RATE_BURST", "METRICS", "DOCS"}
SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "AUTH")


class SettingsError(ValueError):
    """A setting has a wrong value; the message has a line for each: name, what is allowed, what was given."""


def none_of(given: Any) -> Any:
    """None for the word, however it is written."""
    return None if isinstance(given, str) and given.strip().lower() == "none" else given


def parted(given: Any) -> Any:
    """The parts of a text that commas separate."""
    return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(parted)]


class Settings(BaseSettings):
    """Frozen settings; `FUNNEL_PORT=8080` sets `port`. The sentence under a field is its description."""

    model_config = SettingsConfigDict(
        env_prefix="FUNNEL_",
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # of an error that is raised as it is: it might be a key
    )

    model: str = Field("bundled", min_length=1)
    """The embedding model: "bundled", "none" (documents and queries bring vectors), a hub id or a folder."""
    model_revision: str | None = None
    """Branch, tag or commit of a hub model; the hub's default if unset."""
    device: str | None = None
    """Where the model runs, such as "cpu" or "cuda"; chosen by itself if unset."""
    trust_remote_code: bool = False
    """Allow a hub model to run Python code of its own."""
    dim: int | None = Field(None, ge=2, le=65_536)
    """Width of the vectors when there is no model; below a model's width it truncates the full vector too."""
    prefix_dim: int | Literal["auto"] = "auto"
    """Width of the first stage, trained or learned by `funnel adapt`; "auto" takes 64, or the smallest there is."""
    allow_untrained_prefix: bool = False
    """Use a prefix even though the model was not trained for that width."""

    data_dir: Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))] = Path("data")
    """The folder that holds the index; one process at a time may open it."""
    storage: Literal["float32", "int16", "bfloat16", "int8"] = "float32"
    """How full vectors are kept on disk, fixed with a new index: docs/storage.md says what each costs."""
    shortlist_index: Literal["auto", "flat", "hnsw", "packed"] = "auto"
    """The first stage: exact "flat", graph "hnsw", or "auto", chosen by the size; "packed" scans codes of 4 bits."""
    shortlist_codes: Literal["auto", "float32", "int8"] = "auto"
    """How prefixes are kept in the graph."""
    flat_limit: int = Field(100_000, ge=0)
    """Above this many rows an automatic first stage becomes a graph."""

    host: str = "127.0.0.1"
    """The address the server listens on."""
    port: int = Field(8000, ge=0, le=65_535)
    """The port the server listens on."""
    api_key: SecretStr | None = None
    """Keys that may do everything, separated by commas, each of 16 characters or more: `funnel key` makes one."""
    api_key_file: Path | None = None
    """A file with such keys, such as a Docker secret; more than one are separated by commas or lines."""
    ingest_key: SecretStr | None = None
    """Keys that may only ingest."""
    ingest_key_file: Path | None = None
    """A file with such keys."""
    read_key: SecretStr | None = None
    """Keys that may search and read, and change nothing."""
    read_key_file: Path | None = None
    """A file with such keys."""
    allow_no_key: bool = False
    """Listen on other addresses than those of this machine alone although there is no key."""
    allowed_hosts: Names = ()
    """Names the service may be asked by, besides localhost and 127.0.0.1; with a key any will do if this is unset."""
    cors_origins: Names = ()
    """Origins whose web pages may use the service, such as https://app.example.com, separated by commas."""
    docs: bool = True
    """Serve the page at / and the interface's description at /docs and /openapi.json, which need no key."""
    metrics: Literal["key", "open", "closed"] = "key"
    """/metrics needs a read key where there are keys ("key"), none ("open"), or is not there ("closed")."""
    rate_limit: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Requests a second that each key may make in the long run, or each address without one; unset, any number."""
    rate_burst: int = Field(20, ge=1)
    """Requests at once before the rate counts."""
    max_limit: int = Field(1_000, ge=1)
    """The largest limit + offset of a search."""
    max_shortlist: int = Field(10_000, ge=1)
    """The largest shortlist of a search, unless it covers the whole collection."""
    default_recall: Annotated[float | None, BeforeValidator(none_of)] = Field(0.99, gt=0, le=1, allow_inf_nan=False)
    """The target recall of a search that names none, once calibrated; "none" keeps the default shortlist."""
    auto_calibrate: bool = True
    """Calibrate target recalls by itself in the background, once there are enough documents and when they changed."""
    calibrate_from: int = Field(5_000, ge=100)
    """Documents from which on the service calibrates by itself; a default shortlist serves fewer well."""
    max_queries: int = Field(64, ge=1)
    """The most queries in one search request."""
    max_body_bytes: int = Field(64 * MIB, ge=1_024)
    """The largest request body in bytes; NDJSON bodies have no limit but that of a line."""
    max_document_bytes: int = Field(4 * MIB, ge=1_024)
    """The largest NDJSON line, which is one document, in bytes."""
    max_requests: int = Field(64, ge=1)
    """Requests inside at the same time before further ones are answered with a 503; health checks always pass."""
    max_connections: int = Field(1_000, ge=1)
    """Connections open at the same time before further ones are answered with a 503 and closed."""
    body_memory_bytes: int = Field(128 * MIB, ge=1_024)
    """Bytes of JSON bodies in memory at the same time before further ones are answered with a 503."""
    head_seconds: float = Field(10, gt=0)
    """How long address and headers of a request may take to arrive."""
    upload_idle_seconds: float = Field(60, gt=0)
    """How long a body may pause before it is answered with a 408; what has come of an NDJSON ingest is stored."""
    unread_seconds: float = Field(60, gt=0)
    """How long a client may take nothing of its answer before its connection is closed."""
    batch_size: int = Field(64, ge=1, le=10_000)
    """Documents embedded and committed together while a stream runs; more when they arrive faster."""
    query_queue: int = Field(256, ge=1)
    """Requests whose queries may wait for the model before further ones are answered with a 503."""
    ingest_queue: int = Field(16, ge=1)
    """Ingests that may be at work at the same time before further ones are answered with a 503."""
    query_cache: int = Field(1_024, ge=0)
    """Query texts whose vectors are remembered; 0 remembers none."""
    encode_threads: int | None = Field(None, ge=1)
    """Threads the model computes with; all cores if unset."""
    search_threads: int = Field(2, ge=1, le=256)
    """Searches that run at the same time."""
    search_queue: int = Field(256, ge=1)
    """Searches that may wait for a thread before further ones are answered with a 503."""
    ease_recall: float | None = Field(None, gt=0, lt=1, allow_inf_nan=False)
    """The least recall that searches by a target may step down to while many wait; unset, load changes no target."""
    keep_queries: int = Field(0, ge=0, le=100_000)
    """Recent query vectors, never texts, that are kept in memory to measure and calibrate recall with; 0 keeps none."""
    truth_share: float = Field(0.01, ge=0, le=1, allow_inf_nan=False)
    """The share of live queries whose answers are compared with exact search when nobody searches; 0 compares none."""
    truth_budget: float = Field(0.01, gt=0, le=1, allow_inf_nan=False)
    """The share of the time that these comparisons may take at most; queries beyond it are left out."""
    scrub_days: float = Field(1, ge=0, le=365, allow_inf_nan=False)
    """Days between two looks for damage at everything stored, in idle time, the first after a start; 0 never looks."""
    shutdown_seconds: int = Field(20, ge=1)
    """How long requests in flight may take to finish at shutdown."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe messages that are logged."""
    log_format: Literal["text", "json"] = "text"
    """A line of the log is plain text, or a JSON object."""
    log_slow_seconds: float = Field(1, ge=0)
    """Requests that took as long are logged, as those are that failed; 0 logs all."""


def load_settings(**values: Any) -> Settings:
    """Settings from arguments, then the environment, then .env; SettingsError when one has a wrong value, or one that
    protects the service has a wrong name or none."""
    check_protection(variables())
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsError("\n".join(_line(item) for item in error.errors(include_url=False))) from None
    try:
        store_options(settings)
    except ValueError as error:
        raise SettingsError(f"FUNNEL_* of the index exclude each other: {error}") from None
    return settings


def variables() -> dict[str, str]:
    """The environment, and what .env has beside it; a name that .env has no value for is empty."""
    try:
        in_file = dotenv_values(ENV_FILE)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{ENV_FILE} cannot be read: {error}") from None
    return {name: value or "" for name, value in {**in_file, **os.environ}.items()}


def check_protection(given: Mapping[str, str]) -> None:
    """SettingsError for a key that would not be applied: a name like that of a key which is no setting, or no value."""
    for variable, meant in sorted(_unknown(given).items()):
        if meant in PROTECTING or any(word in variable.upper() for word in SECRET):
            raise SettingsError(_told(variable, meant) + ": no such setting, and nothing would be protected by it")
    for variable, value in sorted(given.items()):
        if variable.upper() in {f"FUNNEL_{name}" for name in KEYS} and not value.strip():
            raise SettingsError(f"{variable}: there is nothing in it; take it away, or make a key: funnel key")


def unknown_variables(names: Iterable[str]) -> str | None:
    """What to say about FUNNEL_* variables that are no setting, with the setting each may have meant; None for none."""
    said = [_told(variable, meant) for variable, meant in sorted(_unknown(names).items())]
    return f"not a setting, and ignored: {', '.join(said)}" if said else None


def _unknown(names: Iterable[str]) -> dict[str, str | None]:
    """FUNNEL_* variables that are no setting, and the setting each may have meant."""
    known = {name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    found = [name for name in names if name[:7].upper() == "FUNNEL_" and name[7:].upper() not in known]
    return {name: next(iter(get_close_matches(name[7:].upper(), known, 1)), None) for name in found}


def _told(variable: str, meant: str | None) -> str:
    return f"{variable} (did you mean FUNNEL_{meant}?)" if meant else variable


def store_options(settings: Settings) -> StoreOptions:
    """The part of the settings that belongs to the store."""
    return StoreOptions(
        storage=settings.storage,
        shortlist_index=settings.shortlist_index,
        shortlist_codes=settings.shortlist_codes,
        flat_limit=settings.flat_limit,
        max_limit=settings.max_limit,
        max_shortlist=settings.max_shortlist,
        default_recall=settings.default_recall,
    )


def described() -> str:
    """Every setting as a Markdown table: docs/settings.md, which a test compares with this."""
    rows = ["# Settings", "", "From the environment, or a `.env` file in the working directory.", ""]
    rows += ["| Variable | Default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        rows.append(f"| `FUNNEL_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _line(item: Any) -> str:
    """`FUNNEL_PORT: Input should be a valid integer, ... (got 'abc')`; never a key."""
    name = str(item["loc"][0]).upper()
    return f"FUNNEL_{name}: {item['msg']}" + ("" if name in KEYS else f" (got {item['input']!r})")
