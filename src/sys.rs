//! The one module that may use `unsafe`: system calls that no well-kept crate wraps.
#![allow(unsafe_code)]
