"""Figures and tables of the paper, made from the results of runs; the scripts in ``paper_figures/`` call this package.

===================  ==================================================================================================
``collect``          joins the results of all runs into the summary tables of a suite
``read_tables``      reads these tables and the authors' curves; ``check_tables`` checks their values
``panels``           joins results with the suite's settings: one panel per dataset, task and kind of sweep
``released_curves``  matches the authors' curves to the experiments of a suite
``panel_inputs``     arguments of scripts that draw sweeps or print tables of them
``scripts``          arguments and error messages that all scripts share
``style``            look of all figures, and writing them to files; ``identity``: colour and dashes of each model
``captions``         sentences that several captions use
``curves``           score over length or resolution (figures 1, 4, 5), with ``legend``
``token_shares``     how many tokens cropping discards and padding adds (figure 2), drawn by ``native_lengths``
``packed_batch``     a packed batch (figure 3)
``comparison``       table 1
``verdict``          our curves compared with the authors', and the paper's ``claims`` tested on both
``overview``         the page of a suite; ``overview_data``: what its script draws
``tables``           printing tables as CSV, Markdown and LaTeX
``ablation``         figures and tables of ablations
===================  ==================================================================================================
"""
