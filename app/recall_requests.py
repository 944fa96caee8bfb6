"""The body of POST /recall."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from app.requests import Body, Filter, QueryText, Stage, one_of_schema, refuse
from app.vector_field import VectorField

FEWEST, MOST = 20, 10_000  # queries
MOST_PLANS = 32
PLACES = ("queries", "vectors", "source")  # of queries
Source = Literal["live", "titles", "documents"]
Length = Annotated[int, Field(ge=1)]


class RecallRequest(Body):
    """Whose recall is measured, at which k, for which ways to search. Everything has a default."""

    model_config = ConfigDict(json_schema_extra=one_of_schema(*PLACES, or_none=True))

    queries: list[QueryText] | None = Field(
        None, min_length=FEWEST, max_length=MOST, description="Texts that are asked, such as those of last month."
    )
    vectors: list[VectorField] | None = Field(
        None, min_length=FEWEST, max_length=MOST, description="Query vectors, instead of texts."
    )
    source: Source | None = Field(
        None,
        description="Where queries come from when none are given: recent live ones, titles of documents, or documents"
        " themselves. Unset takes the first of these that there is.",
    )
    sample: int | None = Field(
        None, ge=FEWEST, le=MOST, description="How many queries; unset takes 1,000, or 2,000 of large collections."
    )
    k: int = Field(10, ge=1, description="Of how many results recall is measured.")
    shortlists: list[Length] | None = Field(
        None, max_length=MOST_PLANS, description="Lengths that are measured; unset takes 50, 100, 200 and so on."
    )
    stages: list[Annotated[list[Stage], Field(min_length=1, max_length=16)]] | None = Field(
        None, max_length=MOST_PLANS, description="Cascades that are measured, such as [[[64, 800], [256, 200]]]."
    )
    filter: Filter | None = None
    calibrate: bool = Field(True, description="Learn from the queries what a target_recall takes.")
    seed: int | None = Field(None, ge=0, lt=1 << 31, description="Draws the same queries again.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = self.given(PLACES)
        if len(given) > 1:
            raise refuse(f"queries come from one place: {' and '.join(given)} exclude each other")
        return self
