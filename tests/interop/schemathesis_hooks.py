"""Bodies that are images, which no JSON schema can describe."""

import schemathesis
from hypothesis import strategies

from conftest import encoded


def image(kind):
    return strategies.integers(0, 2**32 - 1).map(lambda seed: encoded(seed, kind))


schemathesis.openapi.media_type("image/png", image("PNG"))
schemathesis.openapi.media_type("image/jpeg", image("JPEG"))
