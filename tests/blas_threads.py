"""With how many threads BLAS computes, told and set."""

from threading import Thread

from threadpoolctl import threadpool_info, threadpool_limits


def blas_threads() -> set[int]:
    """Of the libraries whose number belongs to the process; OpenMP's belong to each thread."""
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return {library["num_threads"] for library in found if library.get("threading_layer") != "openmp"}


def let_blas_have(threads: int) -> None:
    """In a thread that ends: threadpoolctl lets no other change what a living one has set."""
    setting = Thread(target=threadpool_limits, args=(threads, "blas"))
    setting.start()
    setting.join()
