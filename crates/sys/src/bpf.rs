//! Device filters of cgroup version 2: bpf(2) `BPF_PROG_LOAD` and `BPF_PROG_ATTACH` of a cgroup device
//! program.
//!
//! Sources: bpf(2), Documentation/admin-guide/cgroup-v2.rst ("Device controller"), include/uapi/linux/bpf.h.

use crate::process::last_errno;
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

/// One instruction of eBPF, `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low half, source register in the high half.
    pub registers: u8,
    /// Jump or memory offset.
    pub offset: i16,
    /// Operand.
    pub immediate: i32,
}

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes what is left out as zero.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
}

/// The beginning of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a device program and attaches it to a cgroup v2 directory, besides what ancestors have (every one of
/// them must allow an access). It goes with the cgroup. `EINVAL` where the kernel was built without
/// `CONFIG_CGROUP_BPF`, or where it does not accept the program.
#[doc(alias = "bpf")]
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: &[Instruction]) -> Result<(), Errno> {
    let load = LoadAttributes {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(|_| Errno::INVAL)?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
    };
    let fd = call(BPF_PROG_LOAD, &load)?;
    // SAFETY: BPF_PROG_LOAD has just made this descriptor, which nobody else owns.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let attach = AttachAttributes {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    call(BPF_PROG_ATTACH, &attach).map(drop)
}

fn call<T>(command: libc::c_int, attributes: &T) -> Result<libc::c_int, Errno> {
    // SAFETY: `attributes` is a prefix of bpf_attr of the size that is passed; what it points to outlives the
    // call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(last_errno()) } else { Ok(result as libc::c_int) }
}
