"""The bodies that the service reads. Unknown fields and loose types are refused."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict, JsonValue
from pydantic_core import PydanticCustomError

from app.vector_field import VectorField

MAX_QUERY_CHARACTERS = 32_768
MAX_IDS = 10_000

QueryText = Annotated[str, Field(min_length=1, max_length=MAX_QUERY_CHARACTERS)]
Stage = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]
Filter = Annotated[
    dict[str, Any],
    Field(
        description='Conditions on metadata, such as {"section": "perl", "size": {"$gte": 100}}: '
        "$eq $ne $in $nin $gt $gte $lt $lte $exists $contains $and $or $not."
    ),
]
QUESTIONS = ("query", "queries", "vector", "vectors", "id")


def one_of_schema(*names: str, or_none: bool = False) -> JsonDict:
    """What the OpenAPI document says of `Body.one_of`; with `or_none` no name need have a value."""
    given: list[JsonValue] = [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names]
    none: list[JsonValue] = [{"properties": {name: {"type": "null"} for name in names}}] if or_none else []
    return {"oneOf": given + none}


def both_given(**schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object whose members are all there with these schemas."""
    return {"required": list(schemas), "properties": schemas}


WORDS: Any = [  # where those of a hybrid search come from; the first: there is none
    {"properties": {"hybrid": {"type": "null"}}},
    both_given(query={"type": "string"}),
    both_given(queries={"type": "array"}),
    both_given(hybrid={"type": "object", **both_given(text={"type": "string"})}),
]


class Body(BaseModel):
    """Nothing is converted and nothing is ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)

    def given(self, names: tuple[str, ...]) -> list[str]:
        """Those of `names` that have a value."""
        return [name for name in names if getattr(self, name) is not None]

    def one_of(self, names: tuple[str, ...]) -> None:
        """Refuse the body unless exactly one of `names` has a value."""
        found = self.given(names)
        if len(found) != 1:
            raise refuse(f"exactly one of {', '.join(names)} is needed, got {' and '.join(found) or 'none'}")


class HybridRequest(Body):
    """What is looked for by its words, too, and how both orders become one."""

    model_config = ConfigDict(json_schema_extra={"not": both_given(method={"const": "rrf"}, weight={"type": "number"})})

    method: Literal["rrf"] | None = Field(None, description="Ranks of both orders, fused; the default.")
    weight: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="Instead: the share of the words in a sum of both scores."
    )
    text: QueryText | None = Field(None, description="The words, where they are not those of the query.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method is not None and self.weight is not None:
            raise refuse(f"method {self.method} goes by ranks and weight {self.weight} by scores, send one of them")
        return self


class SearchRequest(Body):
    """What to look for, how wide the funnel is, and what comes back."""

    model_config = ConfigDict(
        json_schema_extra={**one_of_schema(*QUESTIONS), "not": {"required": ["limit", "top_k"]}, "anyOf": WORDS}
    )

    query: QueryText | None = Field(None, description="A text, embedded with the model's query prompt.")
    queries: list[QueryText] | None = Field(None, min_length=1, description="Several texts, searched alike.")
    vector: VectorField | None = None
    vectors: list[VectorField] | None = Field(None, min_length=1)
    id: str | None = Field(None, description="More like this document, which is itself left out.")
    limit: int = Field(10, ge=1, description="The number of results.")
    top_k: int | None = Field(None, ge=1, description="Another name of limit.")
    offset: int = Field(0, ge=0, description="Results to skip.")
    shortlist: int | None = Field(None, ge=1, description="Candidates of the first stage that are reranked.")
    oversampling: float | None = Field(
        None, ge=1, allow_inf_nan=False, description="The shortlist as a multiple of limit + offset."
    )
    stages: list[Stage] | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="A cascade of [dimensions, rows kept]; the last rerank at full width is implied.",
    )
    target_recall: float | None = Field(
        None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="The share of the exact results that should be found on average, instead of a shortlist.",
    )
    confidence: float | None = Field(
        None,
        gt=0,
        lt=1,
        allow_inf_nan=False,
        description="With target_recall: how sure it should be that the average is met, such as 0.95.",
    )
    exact: bool = Field(False, description="Compare all full vectors that pass the filter.")
    rescore: bool = Field(True, description="False answers with the scores of the first stage.")
    filter: Filter | None = None
    score_threshold: float | None = Field(None, allow_inf_nan=False, description="The least score of a result.")
    with_text: bool = Field(True, description="Results carry title and text.")
    with_metadata: bool = True
    with_vector: bool = False
    hybrid: HybridRequest | None = Field(
        None, description="Look for the words, too: BM25, fused with the order by vectors. {} is enough."
    )
    explain: bool = Field(False, description="Results carry their ranks in both stages, the answer the work it took.")
    timeout_ms: float | None = Field(
        None,
        gt=0,
        le=600_000,
        allow_inf_nan=False,
        description="Answer within this time, with less if need be.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.one_of(QUESTIONS)
        if {"limit", "top_k"} <= self.model_fields_set:
            raise refuse("limit and top_k mean the same, send one of them")
        if self.hybrid and self.hybrid.text is None and self.query is None and self.queries is None:
            raise refuse("hybrid needs words: a query, queries, or a text of its own; vector, vectors and id have none")
        return self

    @property
    def wanted(self) -> int:
        """The number of results, by either name."""
        return self.limit if self.top_k is None else self.top_k


class DocumentBody(Body):
    """One document of an ingest."""

    id: str
    text: str = Field("", description="May be missing when there is a title or a vector.")
    title: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    vector: VectorField | None = None


class IngestRequest(Body):
    """Documents to store; each is validated on its own, so that a bad one fails alone."""

    documents: list[Any]


class PatchRequest(Body):
    """What changes of a document; metadata is a JSON merge patch (RFC 7396)."""

    text: str = ""
    title: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict, description="A null removes a key.")


class DeleteRequest(Body):
    """Which documents to delete."""

    model_config = ConfigDict(json_schema_extra=one_of_schema("ids", "filter"))

    ids: list[str] | None = Field(None, max_length=MAX_IDS)
    filter: Filter | None = Field(
        None, description="Never empty: {} would match everything.", json_schema_extra={"minProperties": 1}
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.one_of(("ids", "filter"))
        return self


class CountRequest(Body):
    """Which documents to count; all of them without a filter."""

    filter: Filter | None = None


class ScrollRequest(Body):
    """A page of documents in the order of their ids."""

    limit: int = Field(100, ge=1)
    after: str | None = Field(None, description="The `next` of the page before.")
    filter: Filter | None = None
    with_text: bool = True
    with_metadata: bool = True
    with_vector: bool = False


def refuse(message: str) -> PydanticCustomError:
    """An error of the body as a whole. Braces would be read as placeholders, and no message has any."""
    return PydanticCustomError("refused", message)
