"""Parts of the benchmark ``step_vs_official.py``: one module for each side, and what both share."""
