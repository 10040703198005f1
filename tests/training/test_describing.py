"""A decoder that reads mentions: of a plugin, of a frozen model alone, of a LoRA."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import IterableDataset
from transformers import BertConfig, BertForMaskedLM, TrainingArguments

from knowledge_plugin import Entity, KnowledgeBase, KnowledgePlugin, MapTuningTrainer
from knowledge_plugin.errors import ArtifactError, SaveError, TrainingError
from knowledge_plugin.evaluation import shuffled
from knowledge_plugin.objectives.descriptions import DescribingCollator
from knowledge_plugin.objectives.side import SideModule
from knowledge_plugin.training import DescribingTrainer
from tests import tiny

WORDS = ["paris", "museum", "mayor", "train", "river", "vienna", "berlin", "house"]
NAMES = [f"{a} {b}" for a in WORDS for b in WORDS if a != b]
SAID = ["the harbour", "prague"]


@pytest.fixture
def model():
    """A language model whose layers pass on what they read."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, initializer_range=0.2,
    )  # fmt: skip
    return BertForMaskedLM(config).eval().requires_grad_(False)


@pytest.fixture
def kb():
    """Places of which the sign of the first number says whether the harbour is meant, or Prague."""
    vectors = torch.randn(len(NAMES), 4, generator=torch.Generator().manual_seed(0))
    vectors[:, 0] = vectors[:, 0].sign() * 5
    entities = [Entity(f"x:{i}", n, description=SAID[int(v[0] > 0)]) for i, (n, v) in enumerate(zip(NAMES, vectors))]
    return KnowledgeBase.from_entities(entities, vectors, name="toy|world", license="cc0-1.0")


ROWS = [{"text": f"the town of {name} opened"} for name in NAMES]
KNOWN, HELD_OUT = ROWS[:40], ROWS[40:]
# One text for all, so that nothing but a vector tells one place from another.
SAME = [{"text": "the river opened", "mentions": [[4, 9, f"x:{i}"]]} for i in range(len(NAMES))]


def arguments(folder, **options):
    return TrainingArguments(
        str(folder), report_to=[], disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
        **{"max_steps": 4, "per_device_train_batch_size": 8, "learning_rate": 0.01, "save_strategy": "no"} | options,
    )  # fmt: skip


def map_tuning(model, kb, folder, **options):
    torch.manual_seed(0)
    plugin = KnowledgePlugin.for_model(model, kb, mapping="affine")
    return MapTuningTrainer(
        model, arguments(folder, **options), plugin=plugin, objective="describe", train_dataset=SAME[:40],
        processing_class=tiny.tokenizer("wordpiece"), eval_dataset=SAME[40:], base_dropout=0.0,
    )  # fmt: skip


def describing(model, kb, folder, rows=KNOWN, **options):
    return DescribingTrainer(
        model, arguments(folder, **options), knowledge_base=kb, train_dataset=rows,
        processing_class=tiny.tokenizer("wordpiece"), eval_dataset=HELD_OUT,
    )  # fmt: skip


def lora(model):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    return peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["query", "value"]))


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def told_right(run, plugin, kb):
    """Return how often the right thing is told of entities that were not trained with."""
    with plugin.attach(run.model, tiny.tokenizer("wordpiece")) as attachment:
        collator = DescribingCollator()
        collator.use(attachment)
        told = run.side_modules["describe"].tell(run.model, collator, SAME[40:])
    right = [text == kb[mention.entity_id].description for ((mention, text),) in told]
    return sum(right) / len(right)


# ---- a plugin -------------------------------------------------------------------------------------------------------


def test_it_tells_of_entities_that_it_never_saw_what_only_their_vectors_say(model, kb, tmp_path):
    before = state(model)
    run = map_tuning(model, kb, tmp_path, max_steps=100)
    first = run.evaluate()["eval_loss"]
    run.train()
    assert run.evaluate()["eval_loss"] < first / 3
    assert told_right(run, run.plugin, kb) > 0.9
    others = KnowledgePlugin(run.plugin.config, run.plugin.mapping, shuffled(kb, seed=0))
    assert told_right(run, others, kb) < 0.8
    assert same(before, state(model))
    assert run.plugin.config.training.objective == "describe"


@pytest.mark.parametrize("head", [True, False], ids=["with a head", "without"])
def test_a_resumed_run_ends_where_an_uninterrupted_one_ends(head, model, kb, tmp_path):
    model = model if head else model.bert
    options = {"save_strategy": "steps", "save_steps": 2}
    whole = map_tuning(model, kb, tmp_path / "whole", **options)
    whole.train()
    resumed = map_tuning(model, kb, tmp_path / "resumed", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert same(state(whole.plugin.mapping), state(resumed.plugin.mapping))
    assert same(state(whole.side_modules), state(resumed.side_modules))
    whole.plugin.save_pretrained(tmp_path / "plugin")
    assert not list((tmp_path / "plugin").rglob("describe*"))


def test_a_decoder_that_learned_before_stays_as_it_is(model, kb, tmp_path):
    probe = describing(model, kb, tmp_path / "probe")
    probe.train()
    learned = state(probe.describing)
    run = map_tuning(model, kb, tmp_path / "run")
    mapping = state(run.plugin.mapping)
    run.side_modules["describe"] = probe.describing.requires_grad_(False)
    run.train()
    assert same(learned, state(probe.describing))
    assert not same(mapping, state(run.plugin.mapping))


# ---- a model alone, and a LoRA --------------------------------------------------------------------------------------


def test_a_probe_changes_nothing_and_writes_nothing_but_its_checkpoints(model, kb, tmp_path):
    before, modes = state(model), [module.training for module in model.modules()]
    run = describing(model, kb, tmp_path / "run", save_strategy="steps", save_steps=2)
    untrained = state(run.describing)
    run.train()
    assert not run.bakes
    assert not same(untrained, state(run.describing))
    assert same(before, state(model))
    assert modes == [module.training for module in model.modules()]
    run.save_model(str(tmp_path / "saved"))
    assert not list(tmp_path.joinpath("saved").glob("*"))
    names = {path.name for path in (tmp_path / "run" / "checkpoint-2").iterdir()}
    assert "describe.safetensors" in names
    assert not any("model" in name for name in names)


def test_a_lora_takes_up_what_is_said_and_is_labelled(model, kb, tmp_path):
    before, adapted = state(model), lora(model)
    run = describing(adapted, kb, tmp_path / "run", max_steps=5)
    assert run.bakes
    run.train()
    assert run.evaluate()["eval_loss"] > 0
    run.save_model(str(tmp_path / "saved"))
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "baked-in delta, and no knowledge plugin" in card
    assert "toy\\|world" in card
    assert "cc0-1.0" in card
    assert sorted(p.name for p in (tmp_path / "saved").iterdir()) == [
        "README.md", "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    learned = {name: tensor for name, tensor in state(adapted).items() if "lora_B" in name}
    assert all(bool(tensor.any()) for tensor in learned.values())
    assert same(before, state(adapted.unload()))
    from peft import PeftModel

    again = PeftModel.from_pretrained(model, tmp_path / "saved")
    assert same(learned, {name: tensor for name, tensor in state(again).items() if "lora_B" in name})


def test_the_decoder_is_in_no_adapter(model, kb, tmp_path):
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["query"], bias="all"))
    describing(adapted, kb, tmp_path, max_steps=1, save_strategy="steps", save_steps=1).train()
    names = load_file(tmp_path / "checkpoint-1" / "adapter_model.safetensors").keys()
    assert any(name.endswith(".bias") for name in names)
    assert not any("knowledge" in name for name in names)


def test_an_adapter_of_any_name_is_saved_as_often_as_one_likes(model, kb, tmp_path):
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["query"]), adapter_name="towns")
    run = describing(adapted, kb, tmp_path / "run", max_steps=1)
    for _ in range(2):
        run.train()
        run.save_model(str(tmp_path / "saved"))
    saved = load_file(tmp_path / "saved" / "towns" / "adapter_model.safetensors")
    assert same(
        saved, {n: t.contiguous() for n, t in peft.get_peft_model_state_dict(adapted, adapter_name="towns").items()}
    )
    adapted.peft_config["towns"].base_model_name_or_path = "someone/checkpoint"
    assert 'base_model: "someone/checkpoint"' in run._card()
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == ["README.md", "towns"]


def test_an_adapter_that_trainer_could_not_go_on_from_is_refused(model, kb, tmp_path):
    peft = pytest.importorskip("peft")
    model.add_adapter(peft.LoraConfig(r=2, target_modules=["query"]))
    with pytest.raises(TrainingError, match="get_peft_model"):
        describing(model, kb, tmp_path)


def test_training_data_is_needed(model, kb, tmp_path):
    with pytest.raises(TrainingError, match="train_dataset"):
        describing(model, kb, tmp_path, rows=None).train()


def test_baking_is_resumed_exactly(model, kb, tmp_path):
    runs = []
    for name, start in (("whole", None), ("resumed", str(tmp_path / "whole" / "checkpoint-2"))):
        adapted = lora(model)
        run = describing(adapted, kb, tmp_path / name, save_strategy="steps", save_steps=2)
        run.train(resume_from_checkpoint=start)
        runs.append((state(adapted), state(run.describing)))
        adapted.unload()
    assert all(same(*each) for each in zip(*runs, strict=True))


@pytest.mark.parametrize("baked", [False, True], ids=["probe", "lora"])
def test_the_best_is_loaded_at_the_end(baked, model, kb, tmp_path, monkeypatch):
    losses = iter([0.1, 0.5])
    run = describing(
        lora(model) if baked else model, kb, tmp_path, max_steps=2, save_strategy="steps", save_steps=1,
        eval_strategy="steps", eval_steps=1, load_best_model_at_end=True, metric_for_best_model="loss",
    )  # fmt: skip
    output = type("Output", (), {"num_samples": 1})
    monkeypatch.setattr(
        run,
        "evaluation_loop",
        lambda *args, **kwargs: (setattr(output, "metrics", {"eval_loss": next(losses)}), output)[1],
    )
    run.train()
    best, last = (load_file(tmp_path / f"checkpoint-{i}" / "describe.safetensors") for i in (1, 2))
    assert same(best, state(run.describing))
    assert not same(best, last)
    if baked:
        adapter = load_file(tmp_path / "checkpoint-1" / "adapter_model.safetensors")
        learned = {name.replace(".default", ""): w for name, w in state(run.model).items() if "lora_" in name}
        assert same(adapter, learned)


def test_of_accumulated_batches_the_loss_is_a_mean(model, kb, tmp_path):
    found = []
    for options in ({"per_device_train_batch_size": 40}, {"gradient_accumulation_steps": 5}):
        run = describing(model, kb, tmp_path, max_steps=1, **options)
        for module in run.describing.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        for layer in run.describing.decoder.layers.layers:
            layer.self_attn.dropout = 0.0
        found.append(run.train().training_loss)
    assert found[0] == pytest.approx(found[1], rel=0.05)


class Slope(SideModule):
    """Its loss is its one weight, so that of one step the gradient is 1, however many batches are in it."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    @contextmanager
    def step(self, model, hook, inputs):
        yield lambda outputs: self.weight


def test_a_last_step_of_fewer_batches_counts_in_full(model, kb, tmp_path):
    options = {"max_steps": -1, "num_train_epochs": 1, "gradient_accumulation_steps": 4}  # of 5 batches
    run = map_tuning(
        model, kb, tmp_path, optim="sgd", learning_rate=1.0, lr_scheduler_type="constant", max_grad_norm=0, **options
    )
    run.side_modules["slope"] = Slope()
    run.train()
    assert run.side_modules["slope"].weight.item() == pytest.approx(-2)
    probe = describing(model, kb, tmp_path, logging_strategy="steps", logging_steps=1, learning_rate=0.0, **options)
    probe.train()
    first, last = (entry["loss"] for entry in probe.state.log_history[:2])
    assert first == pytest.approx(last, rel=0.3)


@pytest.mark.parametrize("make", [map_tuning, describing])
def test_an_evaluation_knows_nothing_of_accumulation_and_drops_nothing(make, model, kb, tmp_path):
    runs = [make(model, kb, tmp_path, gradient_accumulation_steps=n) for n in (1, 4)]
    assert len({run.evaluate()["eval_loss"] for run in runs for _ in range(2)}) == 1


def test_weights_that_could_not_be_taken_off_are_refused(model, kb, tmp_path):
    with pytest.raises(TrainingError, match="get_peft_model"):
        describing(model.requires_grad_(True), kb, tmp_path)


def test_a_plugin_that_is_attached_is_refused(model, kb, tmp_path):
    with (
        KnowledgePlugin.for_model(model, kb).attach(model, tiny.tokenizer("wordpiece")),
        pytest.raises(TrainingError, match="detach"),
    ):
        describing(model, kb, tmp_path)


def test_a_tokenizer_is_needed(model, kb, tmp_path):
    with pytest.raises(TrainingError, match="processing_class"):
        DescribingTrainer(model, arguments(tmp_path), knowledge_base=kb, train_dataset=KNOWN)


def test_rows_of_which_nothing_is_known_are_refused_before_the_first_step(model, kb, tmp_path):
    silent = KnowledgeBase.from_entities([Entity(e.id, e.label) for e in kb], torch.ones(len(kb), 4), name="silent")
    with pytest.raises(TrainingError, match="description"):
        describing(model, silent, tmp_path / "probe").train()
    with pytest.raises(TrainingError, match="describe"):
        map_tuning(model, silent, tmp_path / "plugin").train()


class Stream(IterableDataset):
    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


def test_a_stream_of_which_nothing_is_known_is_refused_at_the_end(model, kb, tmp_path):
    describing(model, kb, tmp_path, rows=Stream(KNOWN)).train()
    with pytest.raises(TrainingError, match="description"):
        describing(model, kb, tmp_path, rows=Stream([{"text": "the river opened"}] * 40)).train()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the dataset is empty"),
        ([("the river", 1)], "row 1: expected a row such as"),
        ([*KNOWN, {"text": None}], f"row {len(KNOWN) + 1}: text: expected a text"),
    ],
)
def test_rows_that_cannot_be_read_are_named(model, kb, tmp_path, rows, message):
    with pytest.raises(TrainingError, match=message):
        describing(model, kb, tmp_path, rows=rows).train()


def test_a_folder_that_cannot_be_written(model, kb, tmp_path):
    run = describing(lora(model), kb, tmp_path / "run", max_steps=1)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SaveError, match="file"):
        run._save(str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_damaged_decoder_is_not_gone_on_from(model, kb, tmp_path):
    describing(model, kb, tmp_path / "run", save_strategy="steps", save_steps=2).train()
    (tmp_path / "run" / "checkpoint-2" / "describe.safetensors").write_bytes(b"no")
    with pytest.raises(ArtifactError, match="describe"):
        describing(model, kb, tmp_path / "again").train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
