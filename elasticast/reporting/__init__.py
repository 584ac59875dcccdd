"""Figures and tables of the paper, made from the results of runs; the scripts in ``paper_figures/`` call this package.

===================  ==================================================================================================
``collect``          joins the results of all runs into the summary tables of a suite
``read_tables``      reads these tables and the authors' curves
``panels``           joins results with the settings of the suite: one panel per dataset, task and kind of sweep
``released_curves``  matches the authors' curves to the experiments of a suite
``panel_inputs``     arguments of scripts that show sweeps
``scripts``          arguments and error messages of all scripts
``style``            look of all figures, and how they are written
``captions``         sentences of captions
``curves``           score over length or resolution (figures 1, 4, 5), with ``legend``
``token_shares``     what cropping and padding do to tokens (figure 2), drawn by ``native_lengths``
``packed_batch``     a packed batch (figure 3)
``comparison``       table 1
``verdict``          our curves and the authors', and the ``claims`` of the paper tested on both
``tables``           how tables are printed
``ablation``         figures and tables of ablations
===================  ==================================================================================================
"""
