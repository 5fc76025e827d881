"""Any torch module as a graph that clino evaluates and differentiates.

    exported = clino.graph.export(model, inputs, loss=None)
    exported.save("model.clino")

Flow: `_twin` makes a copy that can be changed, `_whole_layers` keeps recurrent layers whole, `_trace` makes a program
with torch.export, `_convert` folds it node by node into operators by the table in `_fold`, and `_build` numbers what is
needed. `_loss` and `_heads` say what is lost. `_handshake` computes what the daemon compares, and `_compare` does so
for the rows of a run.
"""

from clino.graph._errors import ExportError
from clino.graph._export import Exported, export
from clino.graph._handshake import Handshake, handshake

__all__ = ["ExportError", "Exported", "Handshake", "export", "handshake"]
