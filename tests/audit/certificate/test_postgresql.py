"""The ledger of a certificate may be in PostgreSQL."""

import pytest

from skdpal.audit import verify_certificate
from skdpal.privacy import PrivacyBudget, PrivacyLedger
from tests.audit.certificate.conftest import run_study
from tests.postgresql import server


@pytest.mark.slow
def test_a_ledger_on_a_server_is_compared_row_by_row():
    with server() as running, running.database() as url:
        ledger = PrivacyLedger.create(url, PrivacyBudget(2.0, 1e-5))
        run_study(ledger)
        certificate = ledger.certificate()
        found = verify_certificate(certificate, ledger=url)
        assert found.passed, str(found)
        certificate["receipts"][0]["label"] = "nothing"
        assert [check.name for check in verify_certificate(certificate, ledger=url).failed] == ["ledger"]
