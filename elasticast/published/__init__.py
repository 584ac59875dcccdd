"""Published results, ``docs/results/SUITE``: write them, check them, print their numbers in the documentation.

==================  ====================================================================================
module              contents
==================  ====================================================================================
``layout``          the files of published results, and reading them
``publish``         `elasticast publish`: write them from the results of a suite
``costs``           core-minutes of a suite, from Snakemake's benchmark files
``pictures``        of which data each figure was drawn
``pages``           ``python -m elasticast.published.pages``: numbers in README.md and docs
``checks``          what `elasticast verify` compares without computing anything again
``repeat``          what `elasticast verify` computes again
``verify``          `elasticast verify`: all checks in turn
==================  ====================================================================================
"""
