//! System calls by name and by number, for each instruction set that a filter may meet.

/// An instruction set with numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// x86_64
    X86_64,
    /// What 32-bit programs on x86_64 use.
    I386,
    /// aarch64
    Aarch64,
}

impl Machine {
    /// That which this program is built for.
    pub const NATIVE: Machine = if cfg!(target_arch = "x86_64") { Machine::X86_64 } else { Machine::Aarch64 };

    /// `AUDIT_ARCH_*`, include/uapi/linux/audit.h.
    pub const fn audit(self) -> u32 {
        match self {
            Machine::X86_64 => 0xc000_003e,
            Machine::I386 => 0x4000_0003,
            Machine::Aarch64 => 0xc000_00b7,
        }
    }

    fn column(self) -> usize {
        match self {
            Machine::X86_64 => 0,
            Machine::I386 => 1,
            Machine::Aarch64 => 2,
        }
    }
}

const LIST: &str = include_str!("system-calls.txt");

/// Names and numbers of one machine, in the order of names.
pub fn all(machine: Machine) -> impl Iterator<Item = (&'static str, u32)> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(move |line| {
        let mut words = line.split(' ');
        let name = words.next()?;
        Some((name, words.nth(machine.column())?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_agrees_with_the_c_library() {
        let number = |name: &str| all(Machine::NATIVE).find(|(is, _)| *is == name).map(|(_, number)| number);
        let [read, openat2, clone3, mount] = sys::syscall_numbers![SYS_read SYS_openat2 SYS_clone3 SYS_mount];
        assert_eq!(
            ["read", "openat2", "clone3", "mount"].map(number),
            [read, openat2, clone3, mount].map(Some)
        );
        let i386 = |name: &str| all(Machine::I386).find(|(is, _)| *is == name).map(|(_, number)| number);
        assert_eq!((i386("read"), i386("socketcall"), i386("arch_prctl")), (Some(3), Some(102), Some(384)));
        assert_eq!(number("no_such_call"), None);
        assert_eq!(Machine::NATIVE.audit(), sys::seccomp::AUDIT_ARCH);
    }
}
