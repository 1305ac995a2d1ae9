"""The trusted core: small pure functions, each with a page in docs/guarantees.

For experts. A part used alone keeps its own promise only; the joint promise of a run is
made by :mod:`fedpref.plan` and :mod:`fedpref.rounds`.
"""
