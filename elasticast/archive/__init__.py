"""Published results: write them from a finished suite, check them, and print their numbers in the documentation.

==================  ==================================================================================
module              contents
==================  ==================================================================================
``layout``          the files of an archive, ``docs/results/SUITE``, and reading one
``publish``         `elasticast publish`: write an archive from the results of a suite
``costs``           core-minutes of a suite, from Snakemake's benchmark files
``pictures``        of which data each figure of an archive was drawn
``pages``           ``python -m elasticast.archive.pages``: numbers in README.md and docs, from archives
``checks``          what `elasticast verify` compares without computing anything again
``repeat``          what `elasticast verify` computes again
``verify``          `elasticast verify`: all checks in turn
``write``           `snakemake archive`: one zip file of a suite with code, predictions and metadata
``contents``        which files of a suite are in the zip file, verified with their records
``paths``           refuses files that hold paths or the name of this machine
``crate``           metadata of the zip file as an RO-Crate
``croissant``       metadata of a generated dataset as Croissant
==================  ==================================================================================
"""
