"""Map-tuning: the entity as a word of the text, before its mention."""

from knowledge_plugin.methods.map_tuning.config import MapTuningConfig
from knowledge_plugin.methods.map_tuning.injection import configure, make_hook, make_network
from knowledge_plugin.methods.map_tuning.training import OBJECTIVES
from knowledge_plugin.registry import Method

_CITATION = """\
@inproceedings{zhang-etal-2023-plug,
  title = "Plug-and-Play Knowledge Injection for Pre-trained Language Models",
  author = "Zhang, Zhengyan and Zeng, Zhiyuan and Lin, Yankai and Wang, Huadong and \
Ye, Deming and Xiao, Chaojun and Han, Xu and Liu, Zhiyuan and Li, Peng and Sun, Maosong and Zhou, Jie",
  booktitle = "Proceedings of ACL 2023",
  year = "2023",
  url = "https://aclanthology.org/2023.acl-long.594"
}"""

METHOD = Method(
    name="map-tuning",
    config=MapTuningConfig,
    configure=configure,
    network=make_network,
    hook=make_hook,
    origin="map-tuning",
    objectives=OBJECTIVES,
    citation=_CITATION,
)
