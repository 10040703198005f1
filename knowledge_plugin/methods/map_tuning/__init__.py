"""Map-tuning: the entity as a word of the text, before its mention."""

from knowledge_plugin.methods.map_tuning.config import MapTuningConfig
from knowledge_plugin.methods.map_tuning.injection import configure, make_hook, make_network
from knowledge_plugin.registry import Method

METHOD = Method(
    name="map-tuning",
    config=MapTuningConfig,
    configure=configure,
    network=make_network,
    hook=make_hook,
    origin="map-tuning (Zhang et al., ACL 2023)",
)
