"""A differentiable plug-in memory: entries are read by attention, and can be exchanged without training."""

from knowledge_plugin.methods.memory.config import MemoryConfig
from knowledge_plugin.methods.memory.injection import MemoryNetwork, configure, make_hook
from knowledge_plugin.methods.memory.training import OBJECTIVES
from knowledge_plugin.registry import Method

_CITATION = """\
@inproceedings{cheng2023pluglm,
  title = "Decouple Knowledge from Parameters for Plug-and-Play Language Modeling",
  author = "Cheng, Xin and Lin, Yankai and Chen, Xiuying and Zhao, Dongyan and Yan, Rui",
  booktitle = "Findings of ACL 2023",
  year = "2023",
  url = "https://arxiv.org/abs/2305.11564"
}"""

METHOD = Method(
    name="memory",
    config=MemoryConfig,
    configure=configure,
    network=MemoryNetwork,
    hook=make_hook,
    reads="looks entries up in a memory beside its feed-forward layers",
    objectives=OBJECTIVES,
    citation=_CITATION,
    origin="a frozen-LM variant of PlugLM's plug-in memory (Cheng et al., Findings of ACL 2023), which was pre-trained",
)
