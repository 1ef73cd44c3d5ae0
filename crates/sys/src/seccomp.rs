//! Loading a seccomp filter: seccomp(2) `SECCOMP_SET_MODE_FILTER`.

use crate::process::last_errno;
use rustix::io::Errno;

/// One instruction of classic BPF, `struct sock_filter` (include/uapi/linux/filter.h).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip where a comparison is true.
    pub jump_true: u8,
    /// Instructions to skip where it is false.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// `AUDIT_ARCH_*` of the machine that this is built for (include/uapi/linux/audit.h): what a filter sees in
/// `seccomp_data.arch`. Zero where no filter can be made for it here.
pub const AUDIT_ARCH: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else {
    0
};

#[doc(hidden)]
pub mod numbers {
    pub use libc::*;
}

/// The numbers of system calls by their `SYS_*` names, as an array of `u32`, for the machine that this is
/// built for. A name that it does not have is an error of the compiler.
#[macro_export]
macro_rules! syscall_numbers {
    ($($name:ident)*) => { [$($crate::seccomp::numbers::$name as u32),*] };
}

/// Installs `program` for this thread and what it executes. Needs `CAP_SYS_ADMIN` or no_new_privs (`EACCES`);
/// a program that is malformed or has more than 4,096 instructions is `EINVAL`.
#[doc(alias = "seccomp")]
pub fn load(program: &[Instruction]) -> Result<(), Errno> {
    const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: `Instruction` has the layout of sock_filter; the kernel only reads the program, during the
    // call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
