"""Parts of ``two_sample_speed.py`` and ``two_sample_power.py``: the tests, measuring, reporting."""
