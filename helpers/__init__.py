"""Reusable code of the notebooks: one module a topic. Only those that build or train networks load Keras."""
