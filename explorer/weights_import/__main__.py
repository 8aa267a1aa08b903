"""The child process that opens an untrusted file; see `explorer.weights_import.sandbox`."""

from explorer.weights_import.sandbox import main

if __name__ == "__main__":
    main()
