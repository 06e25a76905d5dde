"""`python -m pipeline VERB`."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
