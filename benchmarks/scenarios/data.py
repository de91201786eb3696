"""The data folder: public data sets that numaplace reads and never ships."""

from __future__ import annotations

import os
from pathlib import Path

from probe.errors import BadInputError

ADVICE = "Maybe set NUMAPLACE_DATA to the data folder; benchmarks/README.md, 'Public data', says where each set is had."


class DataMissingError(BadInputError):
    """A public data set that a scenario reads is not on this machine."""


def data_folder() -> Path:
    """$NUMAPLACE_DATA, else `../shared/data`."""
    return Path(os.environ.get("NUMAPLACE_DATA") or "../shared/data")


def data_file(name: str) -> Path:
    """A file of the data folder.

    Raises:
        DataMissingError: it is not there.
    """
    path = data_folder() / name
    if not path.is_file():
        raise DataMissingError(f"{path}: not there.", advice=ADVICE)
    return path
