//! The filesystem: inodes, handles, files, directories, extended attributes, key leases and one errno table.
//!
//! It knows nothing of fuser, SQLite or the insides of a KMS: data keys come from [`crate::datakey::DataKeys`].
