"""`python -m pipeline VERB`."""

import atexit
import gc

from pipeline.cli import main

if __name__ == "__main__":
    atexit.register(gc.freeze)  # all memory goes back at once: nobody looks for garbage in it
    main()
