from __future__ import annotations

import inspect

import pytest
from huggingface_hub import errors as hub_errors
from huggingface_hub.utils import filter_repo_objects

from knowledge_plugin.errors import ArtifactError, HubError
from knowledge_plugin.hub import snapshot
from knowledge_plugin.hub.snapshot import resolve_folder


@pytest.fixture
def download(monkeypatch, tmp_path):
    """Stands in for the Hub: records what was asked for, and gives a folder or raises."""

    class Download:
        asked: tuple | None = None
        outcome: object = tmp_path

        def __call__(self, name, **options):
            self.asked = (name, options)
            if isinstance(self.outcome, BaseException):
                raise self.outcome
            return str(self.outcome)

    stand_in = Download()
    monkeypatch.setattr(snapshot, "snapshot_download", stand_in)
    return stand_in


def refusal(cls):
    """An error of huggingface_hub, made without a server's response."""
    error = cls.__new__(cls)
    Exception.__init__(error, "no")
    error.server_message = error.request_id = error.response = None
    return error


def test_a_folder_stays_what_it_is(tmp_path, download):
    assert resolve_folder(tmp_path) == tmp_path
    assert resolve_folder(str(tmp_path)) == tmp_path
    assert download.asked is None


def test_a_folder_that_looks_like_a_repo_id_is_a_folder(tmp_path, monkeypatch, download):
    (tmp_path / "user" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve_folder("user/name").samefile(tmp_path / "user" / "name")
    assert download.asked is None


def test_a_subfolder(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert resolve_folder(tmp_path, subfolder="a/b") == tmp_path / "a" / "b"


@pytest.mark.parametrize("subfolder", ["../other", "..", "/etc", "absent", "a/../../other"])
def test_a_subfolder_that_is_not_inside(tmp_path, subfolder):
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(ArtifactError, match="inside"):
        resolve_folder(tmp_path / "root", subfolder=subfolder)


@pytest.mark.parametrize("name", ["/no/such/folder", "./absent", "../absent", "a/b/c", "a b", "user/na me", "--x"])
def test_neither_folder_nor_repo_id(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match="expected a folder or a Hub repo id"):
        resolve_folder(name)


@pytest.mark.parametrize("name", ["", " ", "\n"])
def test_an_empty_text_is_not_the_current_folder(name, tmp_path, monkeypatch):
    (tmp_path / "secret").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match=r"expected a folder or a Hub repo id .*found an empty text") as caught:
        resolve_folder(name)
    assert "secret" not in str(caught.value)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="found a file"):
        resolve_folder(tmp_path / "file")


def test_offline_means_offline():
    with pytest.raises(HubError, match="not complete in the cache"):
        resolve_folder("user/never-downloaded")


@pytest.mark.parametrize("error", [hub_errors.RepositoryNotFoundError, hub_errors.LocalEntryNotFoundError])
@pytest.mark.parametrize("name", ["geografy", "runs/geografy"])
def test_a_mistyped_folder(download, tmp_path, monkeypatch, name, error):
    monkeypatch.chdir(tmp_path)
    download.outcome = refusal(error)
    with pytest.raises(HubError) as caught:
        resolve_folder(name)
    assert f"there is no folder {tmp_path / name}" in str(caught.value)


def test_what_is_asked_of_the_hub(download, tmp_path):
    found = resolve_folder(
        "user/name", repo_type="dataset", revision="v1", token="t", cache_dir=tmp_path, local_files_only=True
    )
    name, options = download.asked
    assert found == tmp_path
    assert name == "user/name"
    expected = {"repo_type": "dataset", "revision": "v1", "token": "t", "local_files_only": True}
    assert {key: options[key] for key in expected} == expected


def test_code_and_pickles_are_not_even_downloaded(download):
    resolve_folder("user/name")
    wanted = ["config.json", "mapping.safetensors", "knowledge_base/entities.parquet", "sub/config.json", "README.md"]
    unwanted = ["model.bin", "modeling.py", "knowledge_base/evil.pkl", "keys.marisa", "adapter_model.pt"]
    assert list(filter_repo_objects(wanted + unwanted, allow_patterns=download.asked[1]["allow_patterns"])) == wanted


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (hub_errors.RepositoryNotFoundError, "Check the spelling"),
        (hub_errors.GatedRepoError, "hf auth login"),
        (hub_errors.RevisionNotFoundError, "no such branch, tag or commit"),
        (hub_errors.LocalEntryNotFoundError, "not complete in the cache"),
        (hub_errors.OfflineModeIsEnabled, "not complete in the cache"),
        (hub_errors.HfHubHTTPError, "answered with an error"),
        (hub_errors.EntryNotFoundError, "broke off"),
        (OSError, "broke off"),
    ],
)
def test_each_refusal_of_the_hub_says_what_to_do(download, error, hint):
    download.outcome = refusal(error)
    with pytest.raises(HubError, match=hint) as caught:
        resolve_folder("user/name", revision="v9")
    assert "user/name@v9" in str(caught.value)
    assert caught.value.__cause__ is download.outcome


def test_a_refusal_is_no_missing_file():
    # A 401 must not read "file not found".
    assert not issubclass(HubError, FileNotFoundError)
    assert "revision" in inspect.signature(resolve_folder).parameters
