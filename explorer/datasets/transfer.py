"""The process that downloads a dataset: torchvision fetches, checks and unpacks it, and the parent watches the files.

`python -m explorer.datasets.transfer`, as `downloads.serve` describes it. The request is the name of the class in
`torchvision.datasets`, what to set on it first, and the folder.
"""

from typing import Any

from explorer.downloads import DownloadFailure, failure_of, serve


def fetch(dataset: str, attributes: dict[str, Any], folder: str) -> DownloadFailure | None:
    """Downloads and unpacks a dataset of torchvision into `folder`; None, or what went wrong."""
    import torchvision.datasets  # here: it takes seconds, and the parent wants only the types above

    source = getattr(torchvision.datasets, dataset)
    for name, value in attributes.items():
        setattr(source, name, value)
    try:
        source(folder, train=False, download=True)
    except Exception as error:  # torchvision lets urllib, http, ssl, tarfile, zlib and its own RuntimeError through
        return failure_of(error)
    return None


if __name__ == "__main__":
    serve(fetch)
