"""Tables and figures of ablations."""
