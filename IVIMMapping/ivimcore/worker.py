"""Door of the worker: `python -m ivimcore.worker job.json`; see `ivimcore.jobs.worker`."""

from __future__ import annotations

from .jobs.worker import main

if __name__ == "__main__":
    main()
