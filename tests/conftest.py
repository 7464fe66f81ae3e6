"""Settings of all tests: quiet on a machine that others use, and nothing depends on its cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
