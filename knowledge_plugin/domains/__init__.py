"""Following a stream of domains with a frozen encoder, without labels and without keeping old data."""

from knowledge_plugin.domains.config import FollowedConfig, FollowerConfig, FollowSettings
from knowledge_plugin.domains.follower import DomainFollower
from knowledge_plugin.domains.pooling import pooled_features
from knowledge_plugin.domains.prototypes import Prototypes
from knowledge_plugin.domains.report import StreamReport
from knowledge_plugin.domains.stream import Domain, follow_stream

__all__ = [
    "Domain",
    "DomainFollower",
    "FollowSettings",
    "FollowedConfig",
    "FollowerConfig",
    "Prototypes",
    "StreamReport",
    "follow_stream",
    "pooled_features",
]
