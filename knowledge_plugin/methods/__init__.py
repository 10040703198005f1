"""The injection methods of this package; each is a config, an injection and a way to train."""

from knowledge_plugin.methods import kb_attention, kformer, map_tuning, memory, passage
from knowledge_plugin.registry import register_method

for _method in (map_tuning.METHOD, kformer.METHOD, memory.METHOD, kb_attention.METHOD, passage.METHOD):
    register_method(_method)
