"""What all tests share: chance is the same in every run, unless new cases are looked for."""

import os

from hypothesis import settings

from streams import defences

settings.register_profile("fixed", derandomize=True)
settings.register_profile("explore", print_blob=True)
settings.load_profile("fixed")

# `tests/faults/test_defences.py` runs tests without a defence and wants them to fail.
defences.switch_off(os.environ.get("ORDERFLOW_TEST_WITHOUT", ""))
