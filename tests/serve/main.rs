//! `kmsfs serve` as clients meet it: a real process, real sockets, real mounts. One server answers all tests that leave it as it was.

mod beside;
mod caller;
mod document;
mod ending;
mod fixture;
mod http;
mod limits;
mod mounts;
mod operations;
mod tls;
mod unix;
mod wire;
