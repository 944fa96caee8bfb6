"""The funnel's curve comes from a real store, and agrees with the arithmetic of vectors."""

from app.funnel_curve import covering, filled_store
from app.plans import parse_plan
from app.relevance import best
from evaluation_cases import planted
from index.matryoshka import prefixes
from index.options import StoreOptions


def test_a_store_answers_as_the_vectors_do() -> None:
    """Exact search, the prefix alone, and a shortlist that covers the collection; stages are those that ran."""
    collection, subject = planted(carrying=32)
    documents, queries = subject.documents(collection.documents), subject.queries(collection.queries)
    with filled_store(subject.space, StoreOptions(), collection.ids, collection.documents, documents) as searcher:
        exact, prefix, default = (way(queries) for way in (searcher.exact, searcher.prefix, searcher.default))
        points = list(searcher.curve(queries, parse_plan("8,16"), (10, 20, 100, 200)))
    assert exact.found == best(queries, documents).tolist()
    assert prefix.found == best(prefixes(queries, 8), prefixes(documents, 8)).tolist()
    assert (default.found, default.shortlist) == (exact.found, 200)
    assert [point.stages for point in points] == [
        [(8, 10), (16, 10), (32, 10)],
        [(8, 20), (16, 10), (32, 10)],
        [(8, 100), (16, 25), (32, 10)],
    ]
    assert points[0].plan == "8 -> 16 -> 32"
    assert points[0].found != exact.found


def test_shortlists_stop_where_they_cover_the_collection() -> None:
    """Those below the ten results wanted cannot be asked for."""
    assert covering((400, 50, 5, 100, 200), 90) == [50, 100]
    assert covering((50, 100), 1000) == [50, 100]
