"""Kformer: entries as further keys and values of the feed-forward."""

from knowledge_plugin.methods.kformer.config import KformerConfig
from knowledge_plugin.methods.kformer.injection import KformerNetwork, configure, make_hook
from knowledge_plugin.methods.kformer.training import OBJECTIVES
from knowledge_plugin.registry import Method

_CITATION = """\
@inproceedings{yao2022kformer,
  title = "Kformer: Knowledge Injection in Transformer Feed-Forward Layers",
  author = "Yao, Yunzhi and Huang, Shaohan and Dong, Li and Wei, Furu and Chen, Huajun and Zhang, Ningyu",
  booktitle = "Natural Language Processing and Chinese Computing (NLPCC)",
  year = "2022",
  url = "https://arxiv.org/abs/2201.05742"
}"""

METHOD = Method(
    name="kformer",
    config=KformerConfig,
    configure=configure,
    network=KformerNetwork,
    hook=make_hook,
    reads="finds entries in its feed-forward layers",
    objectives=OBJECTIVES,
    citation=_CITATION,
    origin="a frozen-LM variant of Kformer (Yao et al., NLPCC 2022), which fine-tuned the whole model",
)
