"""Diffusion models for any known linear corruption plus noise."""
