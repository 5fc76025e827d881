"""Callbacks for other trainers: `clino.integrations.transformers`, `.lightning`, `.keras`.

Each module imports the library that it is named after. All of them do the same: they open a run when training begins,
send a snapshot every `every` steps, and end the training only if the run's policy is in mode "enforce" and says STOP.
"""
