"""Figures and tables of the paper, drawn from tidy results; one module per kind of figure.

``results`` reads ``metrics.csv`` and joins it with the suite, ``style`` holds the look and the
saving, and the rest draw: ``curves`` (sweeps), ``lengths`` (native lengths), ``packing`` (a packed
batch), ``comparison`` (table 1), ``verdict`` (ours beside ``released``, ``claims`` tested) and ``ablation`` (variants
beside their base, with ``ablation_table``, ``ablation_figures`` and what these draw). The scripts in
``paper_figures/`` only wire these together.
"""
