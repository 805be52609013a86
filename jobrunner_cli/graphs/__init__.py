"""Drawings of what a study's actions need: on a terminal, as SVG, and in the languages of other programs."""
