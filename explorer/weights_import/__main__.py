"""The process in which a file of anybody's is opened; see `explorer.weights_import.sandbox`."""

from explorer.weights_import.sandbox import main

if __name__ == "__main__":
    main()
