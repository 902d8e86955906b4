"""Damaged and hostile files: property tests (pytest), and a longer campaign (:mod:`Testing.fuzz.campaign`)."""
