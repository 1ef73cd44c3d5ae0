//! The only unsafe code: mount API, clone, namespaces, by fd.
