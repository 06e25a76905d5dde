"""`python -m pipeline VERB`."""

import atexit
import gc

if __name__ == "__main__":
    gc.disable()  # what is imported stays
    from pipeline.cli import main

    gc.freeze()
    gc.enable()
    atexit.register(gc.freeze)  # all memory goes back at once: nobody looks for garbage in it
    main()
