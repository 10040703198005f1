"""What a follower's config holds."""

from __future__ import annotations

import pytest

from knowledge_plugin.domains import DomainFollower, FollowedConfig, FollowerConfig, FollowSettings
from knowledge_plugin.errors import ConfigError


@pytest.mark.parametrize("space", ["encoder", "adapted"])
@pytest.mark.parametrize("domains", [0, 1, 3])
def test_it_knows_how_many_numbers_the_file_holds(space, domains):
    history = [FollowedConfig(f"{i}", 1) for i in range(domains)]
    config = FollowerConfig(["a", "b", "c"], 5, hidden=7, space=space, history=history)
    assert config.weights == sum(tensor.numel() for tensor in DomainFollower(config).state_dict().values())


@pytest.mark.parametrize(
    "changes",
    [{"classes": ["a"]}, {"classes": ["a", "a"]}, {"dim": 0}, {"hidden": 0}, {"space": "moon"}, {"classes": [1, 2]},
     {"dim": 2**16, "hidden": 2**16}, {"history": [{"name": "a", "rows": 0}]}, {"dim": True}],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused(changes):
    with pytest.raises(ConfigError):
        FollowerConfig(**({"classes": ["a", "b"], "dim": 4} | changes))


@pytest.mark.parametrize(
    "changes",
    [{"steps": 0}, {"replay": -1.0}, {"pseudo": float("nan")}, {"confident": 1.5}, {"refresh": 2}, {"keep": True},
     {"learning_rate": "0.1"}, {"steps": 3.0}, {"batch_size": 2.5}],
)  # fmt: skip
def test_settings_out_of_bounds_are_refused(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        FollowSettings(**changes)
