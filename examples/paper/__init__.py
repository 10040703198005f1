"""The paper's comparison: four tasks, four ways to adapt a checkpoint, and what each gains from injected knowledge."""
