"""A second reader of the kmsfs file format, written from docs/FORMAT.md and nothing else.

It shares no code with kmsfs: where the two disagree about a file, one of them is wrong or the document is. It only reads. It
needs Python 3.11 and the `cryptography` package, of which it uses AES-256-GCM alone.

    python3 -m kmsfs_reader --help
"""
