"""The scene side of IVIMTraining: panel, training in a process of its own, checks, and the models of a person."""
