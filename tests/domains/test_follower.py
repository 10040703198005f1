"""A follower learns a source, goes on without labels, and is saved."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from knowledge_plugin.domains import DomainFollower, config
from knowledge_plugin.domains.layers import Discriminator
from knowledge_plugin.errors import ConfigError, SaveError, TrainingError
from tests.domains.common import QUICK, classes, fitted, numbers, share_right

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
    # Known: in the end the left class lies where the source's right one was, and nobody can read both domains right.
    kept, keep_close, lost = (
        (fitted(), replace(QUICK, **weights)) for weights in ({"keep": 0}, {"replay": 0}, {"replay": 0, "keep": 0})
    )
    source, last = classes(seed=9), classes(4.0, seed=50)
    for i, shift in enumerate((1.0, 2.0, 3.0, 4.0)):
        for follower, settings in (kept, keep_close, lost):
            follower.follow(classes(shift, seed=i + 1)[0], settings, seed=i)
    assert share_right(kept[0], *source) > 0.95
    assert share_right(kept[0], *last) < 0.6
    for follower, _ in (keep_close, lost):
        assert share_right(follower, *source) < 0.7
        assert share_right(follower, *last) > 0.8


def test_keeping_close_holds_the_adapter_where_replay_or_the_domain_is(follower):
    # In the encoder's space on what is replayed, behind the adapter on the domain's own rows.
    features = classes(0.0 if follower.config.space == "encoder" else 1.0, seed=1)[0]
    held = fitted(follower.config.space).follow(classes(1.0, seed=1)[0], replace(QUICK, replay=0, keep=100.0))
    follower.follow(classes(1.0, seed=1)[0], replace(QUICK, replay=0, keep=0))
    moved, barely = (
        float((each.adapter(f) - f).square().mean()) for each in (follower, held) for f in (each._scaled(features),)
    )
    assert barely < moved / 100


def test_the_discriminator_is_heard_more_and_more_and_what_is_replayed_learns_nothing_from_it(follower, monkeypatch):
    heard, strengths = Discriminator.loss, []

    def listen(self, replayed, adapted, strength):
        strengths.append(strength)
        assert not replayed.requires_grad
        assert adapted.requires_grad
        return heard(self, replayed, adapted, strength)

    monkeypatch.setattr(Discriminator, "loss", listen)
    without = numbers(fitted(follower.config.space).follow(classes(1.0)[0], QUICK))
    assert not strengths
    assert numbers(follower.follow(classes(1.0)[0], replace(QUICK, adversarial=0.5))) != without
    assert len(strengths) == QUICK.steps
    assert strengths[0] == 0
    assert strengths == sorted(strengths)
    assert 0.49 < strengths[-1] < 0.5


@pytest.mark.parametrize("refresh", [0.0, 0.5, 1.0])
def test_prototypes_behind_the_adapter_move_as_far_as_they_are_told(refresh):
    follower, features = fitted("adapted"), classes(1.0, seed=1)[0]
    before = follower.prototypes[0].mu.clone()
    follower.follow(features, replace(QUICK, refresh=refresh, confident=1.0))
    adapted, found = follower.adapter(follower._scaled(features)), follower.probabilities(features).argmax(-1)
    means = torch.stack([adapted[found == label].mean(0) for label in (0, 1)])
    assert torch.allclose(follower.prototypes[0].mu, (1 - refresh) * before + refresh * means, atol=1e-5)


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


def test_nobodys_random_numbers_are_used(follower, monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("the GPU's would begin anew"))
    torch.default_generator.manual_seed(0)
    expected = torch.rand(3)
    torch.default_generator.manual_seed(0)
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
    before = numbers(follower)
    with pytest.raises(TrainingError, match="diverged"):
        follower.follow(classes(1.0)[0], replace(QUICK, learning_rate=1e30))
    assert numbers(follower) == before
    assert len(follower.config.history) == 1


@pytest.mark.parametrize("adapt", [False, True])
def test_a_fit_that_diverges_changes_nothing_and_can_be_done_again(adapt):
    follower = DomainFollower.for_features(4, ["left", "right"], hidden=8)
    before = numbers(follower)
    with pytest.raises(TrainingError, match="diverged"):
        follower.fit(*classes(), replace(QUICK, learning_rate=1e30), adapt=adapt)
    assert follower.config.history == []
    assert numbers(follower) == before
    assert share_right(follower.fit(*classes(), QUICK, adapt=adapt), *classes(seed=7)) == 1


def test_who_stops_it_finds_it_as_it_was(follower, monkeypatch):
    before, steps = numbers(follower), []

    def interrupted(z, labels):
        steps.append(labels)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return (z.sum(-1) * labels).mean()

    monkeypatch.setattr("knowledge_plugin.domains.follower.functional.cross_entropy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        follower.follow(classes(1.0)[0], QUICK)
    assert numbers(follower) == before
    assert not any(parameter.requires_grad for parameter in follower.parameters())


def test_a_domain_too_many_is_refused_before_it_is_learned(follower, monkeypatch, tmp_path):
    monkeypatch.setattr(config, "MAX_MAPPING_WEIGHTS", follower.config.weights)
    monkeypatch.setattr(config, "MAX_HISTORY", 1)
    before = numbers(follower)
    with pytest.raises(TrainingError, match=r"a follower of 1 domains cannot keep another one: .* Fit a new follower"):
        follower.follow(classes(1.0)[0], QUICK)
    assert numbers(follower) == before
    follower.save_pretrained(tmp_path / "follower")
    assert len(DomainFollower.from_pretrained(tmp_path / "follower").config.history) == 1


def test_what_the_caller_has_set_for_gradients_and_precision_does_not_matter(follower):
    followed = numbers(follower.follow(classes(1.0)[0], QUICK))
    expected = follower.probabilities(classes()[0])
    for setting in (torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16)):
        again = DomainFollower.for_features(4, ["left", "right"], hidden=8, space=follower.config.space)
        with setting:
            again.fit(*classes(), QUICK).follow(classes(1.0)[0], QUICK)
            assert torch.equal(again.probabilities(classes()[0]), expected)
        assert numbers(again) == followed


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_it_learns_where_it_is():
    follower = DomainFollower.for_features(4, ["left", "right"], hidden=8).to("cuda")
    follower.fit(*classes(), QUICK).follow(classes(1.0)[0], QUICK)
    assert {tensor.device.type for tensor in follower.state_dict().values()} == {"cuda"}
    assert follower.predict(classes()[0][:2]) == ["left", "right"]


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
    with pytest.raises(TrainingError, match=r"labels: expected 80 whole numbers, found .*'left'"):
        empty.fit(features, ["left", "right"] * 40)
    with pytest.raises(TrainingError, match="features: expected numbers"):
        follower.predict(["left"])
    for learn in (
        lambda name: empty.fit(features, labels, name=name),
        lambda name: follower.follow(features, name=name),
    ):
        with pytest.raises(ConfigError, match="name: expected str"):
            learn(3)
    assert empty.config.history == []
