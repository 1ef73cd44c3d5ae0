//! OCI images: import, content store, layers to lower directories.
#![forbid(unsafe_code)]
