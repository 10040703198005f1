"""The injection methods of this package; each is a config, an injection and a way to train."""

from knowledge_plugin.methods import map_tuning
from knowledge_plugin.registry import register_method

for _method in (map_tuning.METHOD,):
    register_method(_method)
