"""The process in which a file of anybody's is opened; see `explorer.foreign.loading`."""

from explorer.foreign.loading import main

if __name__ == "__main__":
    main()
