from __future__ import annotations

from tests.transports.conftest import dds_domain

__all__ = ["dds_domain"]
