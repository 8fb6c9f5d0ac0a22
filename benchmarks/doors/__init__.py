"""How long the commands take that people type: see `run.py`."""
