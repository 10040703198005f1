import pytest

from knowledge_plugin import KnowledgePlugin
from tests import tiny
from tests.hub.card_snapshots import RESULTS
from tests.hub.loopback import Fault


@pytest.fixture
def plugin(kb):
    model = tiny.classifier()
    model.config._name_or_path = "org/base"
    return KnowledgePlugin.for_model(model, kb)


def test_results_travel_and_code_names_the_repo(hub, plugin, tmp_path):
    plugin.results = RESULTS
    plugin.save_pretrained(tmp_path)
    again = KnowledgePlugin.from_pretrained(tmp_path)
    assert again.results == RESULTS
    first = again.push_to_hub("alice/x")
    assert again.push_to_hub("alice/x").oid == first.oid
    files = hub.repos["model", "alice/x"].resolve("main").files
    assert ".eval_results/knowledge-plugin.yaml" in files
    text = files["README.md"].decode()
    assert 'from_pretrained("alice/x")' in text
    assert "knowledge_base/embeddings" in text
    assert "about New York" in text
    assert 'from_pretrained("path/to/this/folder")' in files["knowledge_base/README.md"].decode()
    assert KnowledgePlugin.from_pretrained("alice/x").results == RESULTS
    again.results = []
    again.push_to_hub("alice/x")
    files = hub.repos["model", "alice/x"].resolve("main").files
    assert not [f for f in files if "eval" in f]
    assert "Evaluation" not in files["README.md"].decode()
    again.results = RESULTS
    again.save_pretrained(tmp_path)
    again.results = []
    again.save_pretrained(tmp_path)
    assert not (tmp_path / "evaluation.json").exists()
    assert not (tmp_path / ".eval_results/knowledge-plugin.yaml").exists()


def test_a_readme_that_is_no_text_stops_no_push(hub, plugin):
    hub.add("alice/x", {"README.md": "Städte".encode("latin-1")})
    with pytest.warns(UserWarning, match="UnicodeDecodeError"):
        plugin.push_to_hub("alice/x")
    files = hub.repos["model", "alice/x"].resolve("main").files
    assert files["README.md"] == "Städte".encode("latin-1")
    assert "config.json" in files


def test_metadata_that_the_hub_refuses_stop_no_push(hub, plugin):
    hub.faults.append(Fault("POST /api/validate-yaml", status=400, times=9))
    with pytest.warns(UserWarning, match="pushed without its card"):
        plugin.push_to_hub("alice/x")
    files = hub.repos["model", "alice/x"].resolve("main").files
    assert "README.md" not in files
    assert "config.json" in files


def test_subfolder(hub, plugin):
    plugin.push_to_hub("alice/x", subfolder="b")
    files = hub.repos["model", "alice/x"].resolve("main").files
    assert 'from_pretrained("alice/x", subfolder="b")' in files["b/README.md"].decode()
