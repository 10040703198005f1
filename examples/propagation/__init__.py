"""Does knowledge propagate? An invented world in the form of ECBD and Entity Inferences, whose answers are known."""
