"""What all tests share: chance is the same in every run, unless new cases are looked for."""

from hypothesis import settings

settings.register_profile("fixed", derandomize=True)
settings.register_profile("explore", print_blob=True)
settings.load_profile("fixed")
