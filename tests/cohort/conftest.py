"""What the tests of cohorts share."""

import os

import pytest


@pytest.fixture
def omics_packages():
    """anndata and mudata, which are extras; without them the test is skipped, where REQUIRE_ALL is set it fails."""
    if os.environ.get("REQUIRE_ALL"):
        import anndata
        import mudata
    else:
        anndata, mudata = pytest.importorskip("anndata"), pytest.importorskip("mudata")
    with mudata.set_options(pull_on_update=False):  # the default of its next release, and without its warnings
        yield anndata, mudata
