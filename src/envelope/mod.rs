//! The file header: a pure codec from bytes to a verified header. No I/O, no clock.
