"""Guidance: two denoisers of one process extrapolated, which is a denoiser again.

It brings samples closer to their condition and makes them less diverse.
"""

from ._auto_guidance import AutoGuidance as AutoGuidance
from ._classifier_free import ClassifierFree as ClassifierFree
