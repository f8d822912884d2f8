//! The adapter between the kernel and [`crate::fs`]: fuser requests in, filesystem calls out.
