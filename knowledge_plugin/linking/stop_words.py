"""English function words. Many of them are names of towns, people or genes; in a sentence they hardly ever are."""

from __future__ import annotations

ENGLISH_STOP_WORDS = frozenset(
    """
    a about above after again against all also am an and any are as at be because been before being below between
    both but by can could did do does doing done down during each few for from further had has have having he her
    here hers herself him himself his how i if in into is it its itself just may me might more most much must my
    myself no nor not now of off on once one only or other our ours ourselves out over own same she should so some
    such than that the their theirs them themselves then there these they this those through to too under until up
    upon us very was we were what when where which while who whom why will with would you your yours yourself
    yourselves
    """.split()
)
