"""Certificates: their published form, and their verification by independent code.

Nothing here imports skdpal.privacy: what made a certificate cannot vouch for it. A test reads the imports.
"""

from skdpal.audit.certificate.form import schema
from skdpal.audit.certificate.verification import Check, Verification
from skdpal.audit.certificate.verify import verify_certificate

__all__ = ["Check", "Verification", "schema", "verify_certificate"]
