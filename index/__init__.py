"""Vectors and rows in, ranked documents out: the funnel and its storage.

Nothing in this package knows of HTTP, models or text encoders. Start at `index.store.Store`.
"""
