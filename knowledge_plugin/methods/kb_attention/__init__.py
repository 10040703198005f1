"""Knowledge in attention: entries as further keys and values, which every token may look at."""

from knowledge_plugin.methods.kb_attention.config import KBAttentionConfig
from knowledge_plugin.methods.kb_attention.injection import KBAttentionNetwork, configure, initialise, make_hook
from knowledge_plugin.methods.kb_attention.training import OBJECTIVES
from knowledge_plugin.registry import Method

_CITATION = """\
@inproceedings{wang2025kblam,
  title = "{KBLaM}: Knowledge Base augmented Language Model",
  author = "Wang, Xi and Isazawa, Taketomo and Mikaelyan, Liana and Hensman, James",
  booktitle = "International Conference on Learning Representations (ICLR)",
  year = "2025",
  url = "https://arxiv.org/abs/2410.10450"
}"""

METHOD = Method(
    name="kb-attention",
    config=KBAttentionConfig,
    configure=configure,
    network=KBAttentionNetwork,
    hook=make_hook,
    initialise=initialise,
    reads="attends to entries as to words",
    objectives=OBJECTIVES,
    citation=_CITATION,
    origin="the attention of KBLaM (Wang et al., ICLR 2025), whose language model was frozen too",
)
