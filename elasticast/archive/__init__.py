"""One archive of a suite that others can cite, unpack and check: code, results, figures, metadata, checksums.

===============  ======================================================================================================
``contents``     which files of a suite belong into the archive, verified with their records
``paths``        refuses files that hold paths or the name of this machine
``crate``        metadata of the archive as an RO-Crate
``croissant``    metadata of a generated dataset as Croissant
``write``        writes the archive
===============  ======================================================================================================
"""
