"""A follower learns a source, goes on without labels, and is saved."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from knowledge_plugin.domains import DomainFollower
from knowledge_plugin.errors import SaveError, TrainingError
from tests.domains.common import QUICK, classes, fitted, share_right

SPACES = ("encoder", "adapted")


@pytest.fixture(params=SPACES)
def follower(request):
    return fitted(request.param)


def test_the_source_is_learned_and_the_adapter_rests(follower):
    assert share_right(follower, *classes(seed=7)) == 1
    features = torch.randn(5, 4)
    assert torch.equal(follower.adapter(features), features)
    assert follower.predict(torch.tensor([[-2.0, 0, 0, 0], [2.0, 0, 0, 0]])) == ["left", "right"]
    assert [(d.name, d.rows, d.labelled) for d in follower.config.history] == [("source", 80, True)]


def turned(degrees: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    features, labels = classes(seed=seed)
    angle = torch.tensor(degrees).deg2rad()
    turn = torch.eye(4)
    turn[:2, :2] = torch.stack([torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])])
    return features @ turn, labels


def test_it_follows_a_domain_that_turns_away_step_by_step():
    # Known: turned by 100 degrees, classes lie on the wrong sides of the source's boundary, and 25 at a time never do.
    frozen, follower = fitted(), fitted()
    for i, degrees in enumerate((25.0, 50.0, 75.0, 100.0)):
        follower.follow(turned(degrees, seed=i + 1)[0], replace(QUICK, steps=60), seed=i)
    for degrees, least in ((0.0, 0.95), (50.0, 0.95), (100.0, 0.8)):
        assert share_right(follower, *turned(degrees, seed=50)) > least
    assert share_right(frozen, *turned(100.0, seed=50)) < 0.5


def test_replay_keeps_what_pseudo_labels_alone_forget():
    # A new domain whose left class lies where the source's right one was, and that is labelled wrongly with certainty.
    moved = torch.cat([classes(4.0, seed=1)[0], classes(8.0, seed=2)[0]])
    source = classes(seed=9)
    kept = fitted().follow(moved, replace(QUICK, steps=100))
    lost = fitted().follow(moved, replace(QUICK, steps=100, replay=0, keep=0))
    assert share_right(kept, *source) == 1
    assert share_right(kept, *source) >= share_right(lost, *source)


def test_prototypes_in_the_encoders_space_grow_with_the_domains_and_others_do_not(follower):
    before = follower.config.weights
    follower.follow(classes(1.0)[0], QUICK, name="next").follow(classes(2.0)[0], QUICK)
    grown = follower.config.space == "encoder"
    assert len(follower.prototypes) == (3 if grown else 1)
    assert (follower.config.weights > before) == grown
    assert [d.name for d in follower.config.history] == ["source", "next", "domain 2"]
    assert not any(parameter.requires_grad for parameter in follower.parameters())


def test_prototypes_of_a_followed_domain_are_where_it_is():
    follower = fitted().follow(classes(1.0, rows=400)[0], QUICK)
    means = follower.prototypes[-1].mu * follower.scale + follower.center
    assert means[:, 0].tolist() == pytest.approx([-1.0, 3.0], abs=0.2)


def test_the_same_seed_comes_to_the_same(follower):
    again = fitted(follower.config.space)
    features = classes(1.0)[0]
    for each in (follower, again):
        each.follow(features, replace(QUICK, adversarial=0.3), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(follower.parameters(), again.parameters(), strict=True))


def test_nobodys_random_numbers_are_used(follower):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    fitted().follow(classes(1.0)[0], replace(QUICK, adversarial=0.3))
    assert torch.equal(torch.rand(3), expected)


def test_it_is_saved_and_goes_on_from_there(follower, tmp_path):
    follower.follow(classes(1.0)[0], QUICK, name="next")
    follower.save_pretrained(tmp_path / "follower")
    again = DomainFollower.from_pretrained(tmp_path / "follower")
    assert again.config == follower.config
    features = classes(1.0, seed=5)[0]
    assert torch.equal(again.probabilities(features), follower.probabilities(features))
    for each in (follower, again):
        each.follow(classes(2.0)[0], QUICK)
    assert torch.equal(again.probabilities(features), follower.probabilities(features))
    again.save_pretrained(tmp_path / "follower")
    assert len(DomainFollower.from_pretrained(tmp_path / "follower").config.history) == 3


def test_no_feature_is_in_what_is_saved(tmp_path):
    follower = fitted().follow(classes(1.0)[0], QUICK)
    follower.save_pretrained(tmp_path / "follower")
    assert sorted(path.name for path in (tmp_path / "follower").iterdir()) == ["config.json", "follower.safetensors"]
    numbers = sum(tensor.numel() for tensor in follower.state_dict().values())
    # Of 160 rows of 4 numbers: two Gaussians of two classes, a scale, an adapter and a head.
    assert numbers == follower.config.weights == 8 + (4 * 8 + 8 + 8 * 4 + 4) + (2 * 4 + 2) + 2 * 2 * 9


def test_a_checkpoint_is_not_overwritten(follower, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(SaveError, match="transformers model"):
        follower.save_pretrained(tmp_path)


def test_what_diverges_changes_nothing(follower):
    before = {name: tensor.clone() for name, tensor in follower.state_dict().items()}
    with pytest.raises(TrainingError, match="diverged"):
        follower.follow(classes(1.0)[0], replace(QUICK, learning_rate=1e30))
    assert {name: tensor.tolist() for name, tensor in follower.state_dict().items()} == {
        name: tensor.tolist() for name, tensor in before.items()
    }
    assert len(follower.config.history) == 1


def test_a_fit_that_diverges_can_be_done_again():
    follower = DomainFollower.for_features(4, ["left", "right"], hidden=8)
    with pytest.raises(TrainingError, match="diverged"):
        follower.fit(*classes(), replace(QUICK, learning_rate=1e30))
    assert follower.config.history == []
    assert share_right(follower.fit(*classes(), QUICK), *classes(seed=7)) == 1


def test_what_never_varied_in_the_source_does_not_drown_the_rest():
    features, labels = classes()
    features[:, 3] = 1.0
    follower = DomainFollower.for_features(4, ["left", "right"], hidden=8).fit(features, labels, QUICK)
    moved, labels = classes(seed=5)
    moved[:, 3] = 1.5
    assert share_right(follower, moved, labels) == 1


def test_a_domain_of_one_class_and_of_few_rows_is_followed(follower):
    features, labels = classes(0.5)
    follower.follow(features[labels == 0], QUICK).follow(features[:1], QUICK)
    assert share_right(follower, *classes(seed=3)) > 0.9


def test_wrong_use_is_refused(follower):
    features, labels = classes()
    empty = DomainFollower.for_features(4, ["left", "right"])
    for use in (lambda: empty.follow(features), lambda: empty.predict(features)):
        with pytest.raises(TrainingError, match="expected a fitted follower"):
            use()
    with pytest.raises(TrainingError, match="'source' in its history"):
        follower.fit(features, labels)
    for wrong in (torch.zeros(3, 5), torch.zeros(4), torch.zeros(0, 4), torch.full((2, 4), float("nan"))):
        with pytest.raises(TrainingError, match="features: expected"):
            follower.follow(wrong)
        with pytest.raises(TrainingError, match="features: expected"):
            follower.predict(wrong)
    for wrong in (labels[:3], labels.float(), labels + 1, labels - 1):
        with pytest.raises(TrainingError, match="labels: expected"):
            empty.fit(features, wrong)
    with pytest.raises(TrainingError, match="none of class 1"):
        empty.fit(features, torch.zeros_like(labels))
    assert empty.config.history == []
