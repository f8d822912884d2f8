//! Key-state changes to revocations: control sockets between who changes a key and who has files of it open.
