"""The errors shown to users: one clear message, no traceback."""


class ElasticASTError(Exception):
    """Something a user can put right; the message says what and how."""


class ConfigError(ElasticASTError, ValueError):
    """One or more wrong values in a configuration file.

    Parameters
    ----------
    problems : list of str
        One line a problem, each naming the file, the key, the value and what would be right.
    """

    def __init__(self, problems: list[str]):
        self.problems = problems
        head = "" if len(problems) == 1 else f"{len(problems)} problems in the configuration:\n"
        super().__init__(head + "\n".join(problems))


class DataError(ElasticASTError):
    """Audio or annotations that are missing, damaged or unusable."""
