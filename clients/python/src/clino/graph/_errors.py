"""Why a model does not become a graph.

Owns: the error of the exporter. May not touch: anything else.
"""

from __future__ import annotations


class ExportError(ValueError):
    """A model that cannot be exported: what stands in the way, where, and what to do."""
