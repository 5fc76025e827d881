"""What each ATen operator is in the graph: a table of small functions, by family.

Owns: the meaning of ATen names. May not touch: how programs are made, numbers of values.
"""

from clino.graph._fold import (
    attention as attention,
)
from clino.graph._fold import (
    elements as elements,
)
from clino.graph._fold import (
    fresh as fresh,
)
from clino.graph._fold import (
    norms as norms,
)
from clino.graph._fold import (
    pairs as pairs,
)
from clino.graph._fold import (
    picks as picks,
)
from clino.graph._fold import (
    products as products,
)
from clino.graph._fold import (
    puts as puts,
)
from clino.graph._fold import (
    recurrent as recurrent,
)
from clino.graph._fold import (
    reductions as reductions,
)
from clino.graph._fold import (
    refused as refused,
)
from clino.graph._fold import (
    shapes as shapes,
)
from clino.graph._fold import (
    windows as windows,
)
from clino.graph._fold._table import FOLDS, REFUSED

__all__ = ["FOLDS", "REFUSED"]
