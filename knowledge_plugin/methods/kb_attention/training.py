"""How knowledge in attention learns: by answers, and by refusing where nothing fits."""

from functools import partial

from knowledge_plugin.objectives.looking_up import LookupCollator, lookup_objective

# What KBLaM answers where no entry fits (Wang et al., 2025, section 5).
REFUSAL = "I am sorry I cannot find relevant information in the KB."

OBJECTIVES = {
    "task": lookup_objective(),
    "task-or-refuse": lookup_objective(partial(LookupCollator, refusal=REFUSAL)),
}
