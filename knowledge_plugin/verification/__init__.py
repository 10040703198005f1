"""Everything that is wrong with a plugin or a knowledge base, where opening one stops at the first error."""

from knowledge_plugin.verification.findings import Finding
from knowledge_plugin.verification.freshness import looks_untrained
from knowledge_plugin.verification.verify import Verification, verify

__all__ = ["Finding", "Verification", "looks_untrained", "verify"]
