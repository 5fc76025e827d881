"""Callbacks for the trainers of others: `clino.integrations.transformers`, `.lightning`, `.keras`.

Each module needs the library that it is named after and imports it when it is imported itself. All of them do the
same: they open a run when training begins, leave a snapshot every so many steps, and end the training only where the
run's policy is to be enforced and says STOP.
"""
