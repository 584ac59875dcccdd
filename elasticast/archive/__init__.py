"""`snakemake archive`: one zip file of a suite, to cite and to check.

==================  ====================================================================================
module              contents
==================  ====================================================================================
``write``           write the zip file: code, results, figures, metadata and checksums
``contents``        which files of a suite are in it, verified with their records
``paths``           refuses files that hold paths or the name of this machine
``crate``           metadata of the zip file as an RO-Crate
``croissant``       metadata of a generated dataset as Croissant
==================  ====================================================================================
"""
