from __future__ import annotations

import pytest

from knowledge_plugin.errors import LinkingError
from knowledge_plugin.linking.labels import check_labels


@pytest.mark.parametrize("labels", [["city", "river"], ("city", "river"), iter(["city", "river"])])
def test_any_iterable_of_labels_will_do(labels):
    assert check_labels(labels) == ("city", "river")


@pytest.mark.parametrize("labels", ["city", b"city", 5, None, [], ["city", None]])
def test_what_is_no_list_of_labels(labels):
    with pytest.raises(LinkingError, match="labels: expected a list of"):
        check_labels(labels)


def test_a_text_comes_with_what_to_type():
    with pytest.raises(LinkingError, match=r"found 'city'\. Type: labels=\['city'\]"):
        check_labels("city")
