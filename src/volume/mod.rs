//! An encrypted directory: its configuration and the default keys of its directories.
