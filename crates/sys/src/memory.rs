//! Giving memory back: for a process that has done its work and waits; and not taking too much of it, for one of many
//! threads.
//!
//! Sources: madvise(2) `MADV_DONTNEED`, malloc_trim(3), mallopt(3) `M_ARENA_MAX`, proc_pid_smaps(5).

use rustix::io::Errno;

/// Gives back what can be had again or is not used: free memory of the allocator, the stack below, and pages of files
/// (the program, its libraries) that nothing was written to, which are read again from the page cache when they are
/// touched.
///
/// A mapping of a file without a page of its own (`Anonymous: 0 kB` in `/proc/self/smaps`) is only such pages. Those that
/// the dynamic linker has written to have some, and stay.
///
/// Costs about a millisecond. Only for a process with one thread: no other may be given a mapping at an address that was
/// just read about.
#[doc(alias = "madvise")]
pub fn give_back() -> Result<(), Errno> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").map_err(|_| Errno::IO)?;
    if let Some((start, length)) = parse_unused_stack(&smaps, std::ptr::from_ref(&smaps).addr()) {
        // SAFETY: below the frames of this function, and of all that called it, nothing on the stack is alive; some pages
        // are left to those that this call makes and to a signal handler.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
    for (start, length) in parse_unwritten(&smaps) {
        // SAFETY: a private mapping of a file without an anonymous page has the file's bytes before and after; text that
        // is being executed is read again too. Nothing of the program changes.
        unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    }
    // Last, since the text of smaps was tens of kilobytes too.
    drop(smaps);
    trim();
    Ok(())
}

/// Gives back what the allocator has free, of all arenas (malloc_trim(3)). For a process of any number of threads, which
/// wait for their arena meanwhile: about a millisecond for some tens of megabytes.
#[doc(alias = "malloc_trim")]
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no argument is a pointer; it gives back only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has all threads that come share one arena of the allocator: it gives each up to eight times as many as there are
/// processors, and what some thread has freed in its own is of no use to the others. To be called before there are threads;
/// threads that mostly wait lose nothing by it. Elsewhere than in glibc it does nothing.
#[doc(alias = "mallopt")]
pub fn share_one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no argument is a pointer; it sets a number that is read when an arena is to be made.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Bytes below a frame that are left as they are.
const STACK_MARGIN: usize = 16 * 1024;

/// The part of the main thread's stack that lies below a frame on it: start and length in bytes, whole pages.
fn parse_unused_stack(smaps: &str, frame: usize) -> Option<(usize, usize)> {
    let line = smaps.lines().find(|line| line.ends_with("[stack]"))?;
    let Range { start, end, .. } = parse_range(line)?;
    let until = frame.checked_sub(STACK_MARGIN)? & !(rustix::param::page_size() - 1);
    // A frame that is not on this stack is another thread's.
    (start..end)
        .contains(&frame)
        .then_some((start, until.checked_sub(start)?))
        .filter(|(_, length)| *length > 0)
}

/// Mappings of files, not writable, of which no page is our own: start and length in bytes.
fn parse_unwritten(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(range) = parse_range(line) {
            current = range.of_file.then_some((range.start, range.end.saturating_sub(range.start)));
        } else if line.split_whitespace().eq(["Anonymous:", "0", "kB"]) {
            found.extend(current.take());
        }
    }
    found
}

struct Range {
    start: usize,
    end: usize,
    /// A file's, private and not writable.
    of_file: bool,
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE PATH`
fn parse_range(line: &str) -> Option<Range> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let inode = fields.nth(2)?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let of_file = inode != "0" && ["r--p", "r-xp"].contains(&permissions);
    Some(Range { start: address(start)?, end: address(end)?, of_file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_or_no_file_stays() {
        let smaps = "\
55d0c000-55d0e000 r-xp 00001000 fe:00 77 /usr/bin/x
Rss:                   8 kB
Anonymous:             0 kB
55d10000-55d12000 r--p 00005000 fe:00 77 /usr/bin/x
Anonymous:             4 kB
55d14000-55d16000 rw-p 00009000 fe:00 77 /usr/bin/x
Anonymous:             0 kB
7ffc0000-7ffc2000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
";
        assert_eq!(parse_unwritten(smaps), [(0x55d0_c000, 0x2000)]);
    }

    #[test]
    fn the_stack_below_a_frame() {
        let smaps = "7ff000000000-7ff000800000 rw-p 00000000 00:00 0 [stack]\n";
        let frame = 0x7ff0_0070_1234;
        assert_eq!(
            parse_unused_stack(smaps, frame),
            Some((0x7ff0_0000_0000, (0x70_1234 - STACK_MARGIN) & !(rustix::param::page_size() - 1)))
        );
        assert_eq!(parse_unused_stack(smaps, 0x7ff0_0000_2000), None);
        assert_eq!(parse_unused_stack(smaps, 0x5555_0000_0000), None);
    }

    #[test]
    fn the_program_goes_on() {
        let before = std::fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(!parse_unwritten(&before).is_empty());
        // Tests have several threads, but none of them maps files here.
        give_back().unwrap();
        let text: String = (0..1000).map(|n| n.to_string()).collect();
        assert_eq!(text.len(), 2890);
    }
}
