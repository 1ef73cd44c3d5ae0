//! Reading the kernel's files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// What most of them fit in.
const USUAL_BYTES: usize = 16 * 1024;

/// Reads a file of /proc. Their size is said to be 0, for which `std::fs::read` begins with 32 bytes and doubles: ten calls
/// for a mount table of this size, each of which takes the lock of all mounts and looks for its place anew (`m_start()`,
/// fs/proc_namespace.c); the kernel gives a page a call.
///
/// # Errors
/// As open(2) and read(2).
#[doc(alias = "read")]
pub fn read_proc(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_read() {
        let path = Path::new("/proc/self/status");
        let lines = |bytes: Vec<u8>| bytes.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines(read_proc(path).unwrap()), lines(std::fs::read(path).unwrap()));
        assert!(read_proc(Path::new("/proc/self/nothing")).is_err());
    }
}
