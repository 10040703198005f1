from __future__ import annotations

from tests.methods.learning import check_it_learns, check_it_resumes


def test_it_learns_what_only_the_vectors_say(tmp_path):
    check_it_learns("kformer", tmp_path)


def test_it_goes_on_after_an_interruption(tmp_path):
    check_it_resumes("kformer", tmp_path)
