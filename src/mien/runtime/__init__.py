"""All that a program using a model needs: bundles, the recogniser, tracking and video."""
