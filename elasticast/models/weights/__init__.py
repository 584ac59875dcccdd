"""Weights from elsewhere: `sources` finds and opens them, `layouts` renames them, `adapt` makes them fit a model."""
