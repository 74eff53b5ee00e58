"""What the tests of verification share."""

from support.reports import reported  # noqa: F401 - a fixture
