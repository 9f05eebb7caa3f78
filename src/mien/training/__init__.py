"""Backbones, augmentation and the fit."""
