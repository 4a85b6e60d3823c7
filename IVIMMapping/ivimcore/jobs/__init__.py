"""Work that runs by itself: one job from a series to a folder of maps, and the process that carries it out."""
