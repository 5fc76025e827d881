"""What each ATen operator is in the graph: a table of small functions, by family.

Owns: the meaning of ATen names. May not touch: how programs are made, numbers of values.
"""

from clino.graph._fold import (
    attention as attention,
    elements as elements,
    fresh as fresh,
    norms as norms,
    pairs as pairs,
    picks as picks,
    products as products,
    puts as puts,
    recurrent as recurrent,
    reductions as reductions,
    refused as refused,
    shapes as shapes,
    windows as windows,
)
from clino.graph._fold._table import FOLDS, REFUSED

__all__ = ["FOLDS", "REFUSED"]
