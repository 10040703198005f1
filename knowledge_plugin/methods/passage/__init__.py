"""Passages: what a retriever knows a text by, as a token of the text."""

from knowledge_plugin.methods.passage.config import PassageConfig
from knowledge_plugin.methods.passage.injection import configure, initialise, make_hook, make_network
from knowledge_plugin.methods.passage.training import OBJECTIVES
from knowledge_plugin.registry import Method

_CITATION = """\
@inproceedings{cheng2024xrag,
  title = "{xRAG}: Extreme Context Compression for Retrieval-augmented Generation with One Token",
  author = "Cheng, Xin and Wang, Xun and Zhang, Xingxing and Ge, Tao and Chen, Si-Qing and Wei, Furu and \
Zhang, Huishuai and Zhao, Dongyan",
  booktitle = "Advances in Neural Information Processing Systems (NeurIPS)",
  year = "2024",
  url = "https://arxiv.org/abs/2405.13792"
}"""

METHOD = Method(
    name="passage",
    config=PassageConfig,
    configure=configure,
    network=make_network,
    hook=make_hook,
    initialise=initialise,
    objectives=OBJECTIVES,
    citation=_CITATION,
    origin="the bridge of xRAG (Cheng et al., NeurIPS 2024), whose language model and retriever were frozen too",
)
