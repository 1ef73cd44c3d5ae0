//! RuntimeDefault as a table: what containers may call, and what a capability allows besides. In effect what
//! containerd and docker allow by default.

use super::numbers::{self, Machine};
use super::{Action, Rule};
use rustix::thread::CapabilitySet;
use std::collections::BTreeMap;
use sys::syscall_numbers as calls;

/// The `CLONE_NEW*` bits that clone(2) takes (NEWTIME shares a bit with its exit signal and is not among
/// them).
const CLONE_NEW_NAMESPACES: u32 = 0x7e02_0000;
/// `AF_VSOCK` reaches the hypervisor past every network namespace.
const AF_VSOCK: u32 = 40;
/// personality(2): Linux, Linux 32 bit, UNAME26 with both, and asking.
const PERSONALITIES: &[u32] = &[0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
const ENOSYS: u16 = 38;

/// The table for a container that has these capabilities.
pub fn table(capabilities: CapabilitySet) -> BTreeMap<u32, Rule> {
    let mut table = BTreeMap::new();
    let mut set = |numbers: &[u32], rule: Rule| table.extend(numbers.iter().map(|number| (*number, rule)));
    let allow = Rule::Always(Action::Allow);
    set(COMMON, allow);
    set(LEGACY, allow);
    set(UNNAMED, allow);
    set(&calls![SYS_personality], Rule::OneOf { argument: 0, values: PERSONALITIES });
    set(&calls![SYS_socket], Rule::Not { argument: 0, value: AF_VSOCK });
    set(&calls![SYS_clone], Rule::NoBits { argument: 0, mask: CLONE_NEW_NAMESPACES });
    // Its flags are behind a pointer, where no filter can look; C libraries fall back to clone.
    set(&calls![SYS_clone3], Rule::Always(Action::Errno(ENOSYS)));
    for (capability, numbers) in with_capability() {
        if capabilities.contains(capability) {
            set(numbers, allow);
        }
    }
    table
}

/// The table of 32-bit programs: the same rules, found by the calls' names, and the calls that only they have (among them
/// `socketcall`, whose arguments no filter can see; so has docker's profile).
pub fn table_32_bit(native: &BTreeMap<u32, Rule>, capabilities: CapabilitySet) -> BTreeMap<u32, Rule> {
    let names: BTreeMap<u32, &str> =
        numbers::all(Machine::NATIVE).map(|(name, number)| (number, name)).collect();
    let numbers: BTreeMap<&str, u32> = numbers::all(Machine::I386).collect();
    let of_name = |name: &&str| numbers.get(name).copied();
    let allow = Rule::Always(Action::Allow);
    let mut table: BTreeMap<u32, Rule> = native
        .iter()
        .filter_map(|(number, rule)| Some((names.get(number).and_then(of_name)?, *rule)))
        .collect();
    table.extend(ONLY_32_BIT.split_ascii_whitespace().filter_map(|name| Some((of_name(&name)?, allow))));
    let more = [
        (CapabilitySet::SYS_ADMIN, "umount"),
        (CapabilitySet::SYS_TIME, "stime"),
        (CapabilitySet::SYS_TIME, "clock_settime64"),
    ];
    for (capability, name) in more {
        table.extend(
            of_name(&name).filter(|_| capabilities.contains(capability)).map(|number| (number, allow)),
        );
    }
    table
}

/// What 32-bit programs call where others have a call of another name.
const ONLY_32_BIT: &str = "_llseek _newselect chown32 clock_adjtime64 clock_getres_time64 clock_gettime64 \
    clock_nanosleep_time64 fadvise64_64 fchown32 fcntl64 fstat64 fstatat64 fstatfs64 ftruncate64 futex_time64 \
    get_thread_area getegid32 geteuid32 getgid32 getgroups32 getresgid32 getresuid32 getuid32 io_pgetevents_time64 ipc \
    lchown32 lstat64 mmap2 mq_timedreceive_time64 mq_timedsend_time64 nice oldfstat oldlstat oldstat ppoll_time64 \
    pselect6_time64 recvmmsg_time64 rt_sigtimedwait_time64 sched_rr_get_interval_time64 semtimedop_time64 sendfile64 \
    set_thread_area setfsgid32 setfsuid32 setgid32 setgroups32 setregid32 setresgid32 setresuid32 setreuid32 setuid32 \
    sigaction signal sigpending sigprocmask sigreturn sigsuspend socketcall stat64 statfs64 timer_gettime64 \
    timer_settime64 timerfd_gettime64 timerfd_settime64 truncate64 ugetrlimit utimensat_time64 waitpid";

/// What needs a capability, by it.
fn with_capability() -> [(CapabilitySet, &'static [u32]); 13] {
    [
        (CapabilitySet::SYS_ADMIN, ADMINISTRATION),
        (CapabilitySet::DAC_READ_SEARCH, const { &calls![SYS_open_by_handle_at] }),
        (CapabilitySet::SYS_BOOT, const { &calls![SYS_reboot] }),
        (CapabilitySet::SYS_CHROOT, const { &calls![SYS_chroot] }),
        (CapabilitySet::SYS_MODULE, const { &calls![SYS_init_module SYS_finit_module SYS_delete_module] }),
        (CapabilitySet::SYS_PACCT, const { &calls![SYS_acct] }),
        (CapabilitySet::SYS_PTRACE, const { &calls![SYS_kcmp SYS_pidfd_getfd SYS_process_madvise] }),
        (CapabilitySet::SYS_RAWIO, RAW_IO),
        (CapabilitySet::SYS_TIME, const { &calls![SYS_settimeofday SYS_clock_settime] }),
        (CapabilitySet::SYS_TTY_CONFIG, const { &calls![SYS_vhangup] }),
        (
            CapabilitySet::SYS_NICE,
            const { &calls![SYS_get_mempolicy SYS_mbind SYS_set_mempolicy SYS_set_mempolicy_home_node] },
        ),
        (CapabilitySet::SYSLOG, const { &calls![SYS_syslog] }),
        (CapabilitySet::BPF, const { &calls![SYS_bpf] }),
    ]
}

const ADMINISTRATION: &[u32] = &calls![
    SYS_bpf SYS_clone SYS_clone3 SYS_fanotify_init SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick SYS_mount
    SYS_mount_setattr SYS_move_mount SYS_open_tree SYS_perf_event_open SYS_quotactl SYS_quotactl_fd
    SYS_setdomainname SYS_sethostname SYS_setns SYS_syslog SYS_umount2 SYS_unshare
];

#[cfg(target_arch = "x86_64")]
const RAW_IO: &[u32] = &calls![SYS_iopl SYS_ioperm];
#[cfg(not(target_arch = "x86_64"))]
const RAW_IO: &[u32] = &[];

/// What every machine has. io_uring is not among them: it has been the way out of too many sandboxes.
const COMMON: &[u32] = &calls![
    // files and directories
    SYS_chdir SYS_close SYS_close_range SYS_copy_file_range SYS_dup SYS_dup3 SYS_faccessat SYS_faccessat2
    SYS_fadvise64 SYS_fallocate SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_fcntl
    SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs
    SYS_fsync SYS_ftruncate SYS_getcwd SYS_getdents64 SYS_getxattr SYS_ioctl SYS_lgetxattr SYS_linkat
    SYS_listxattr SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_mkdirat SYS_mknodat
    SYS_name_to_handle_at SYS_newfstatat SYS_openat SYS_openat2 SYS_pipe2 SYS_pread64 SYS_preadv SYS_preadv2
    SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead SYS_readlinkat SYS_readv SYS_removexattr
    SYS_renameat SYS_renameat2 SYS_sendfile SYS_setxattr SYS_splice SYS_statfs SYS_statx SYS_symlinkat SYS_sync
    SYS_sync_file_range SYS_syncfs SYS_tee SYS_truncate SYS_umask SYS_unlinkat SYS_utimensat SYS_vmsplice SYS_write
    SYS_writev
    // waiting for and about files
    SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2 SYS_eventfd2 SYS_fanotify_mark
    SYS_inotify_add_watch SYS_inotify_init1 SYS_inotify_rm_watch SYS_ppoll SYS_pselect6 SYS_signalfd4
    SYS_timerfd_create SYS_timerfd_gettime SYS_timerfd_settime SYS_io_cancel SYS_io_destroy SYS_io_getevents
    SYS_io_setup SYS_io_submit SYS_landlock_add_rule SYS_landlock_create_ruleset
    SYS_landlock_restrict_self
    // memory
    SYS_brk SYS_madvise SYS_membarrier SYS_memfd_create SYS_memfd_secret SYS_mincore SYS_mlock SYS_mlock2
    SYS_mlockall SYS_mmap SYS_mprotect SYS_mremap SYS_mseal SYS_msync SYS_munlock SYS_munlockall SYS_munmap
    SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_process_mrelease SYS_remap_file_pages
    // processes and threads
    SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_futex SYS_futex_waitv SYS_get_robust_list SYS_getcpu
    SYS_getpgid SYS_getpid SYS_getppid SYS_getpriority SYS_getrlimit SYS_getrusage SYS_getsid SYS_gettid
    SYS_ioprio_get SYS_ioprio_set SYS_pidfd_open SYS_pidfd_send_signal SYS_prctl SYS_prlimit64
    SYS_process_vm_readv SYS_process_vm_writev SYS_ptrace SYS_restart_syscall SYS_rseq SYS_sched_get_priority_max
    SYS_sched_get_priority_min SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_getscheduler
    SYS_sched_rr_get_interval SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler
    SYS_sched_yield SYS_set_robust_list SYS_set_tid_address SYS_setpgid SYS_setpriority SYS_setrlimit SYS_setsid
    SYS_wait4 SYS_waitid
    // identity
    SYS_capget SYS_capset SYS_getegid SYS_geteuid SYS_getgid SYS_getgroups SYS_getresgid SYS_getresuid SYS_getuid
    SYS_setfsgid SYS_setfsuid SYS_setgid SYS_setgroups SYS_setregid SYS_setresgid SYS_setresuid SYS_setreuid
    SYS_setuid
    // signals
    SYS_kill SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask SYS_rt_sigqueueinfo SYS_rt_sigreturn
    SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo SYS_sigaltstack SYS_tgkill SYS_tkill
    // time
    SYS_adjtimex SYS_clock_adjtime SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_getitimer
    SYS_gettimeofday SYS_nanosleep SYS_setitimer SYS_timer_create SYS_timer_delete SYS_timer_getoverrun
    SYS_timer_gettime SYS_timer_settime SYS_times
    // sockets and System V
    SYS_accept SYS_accept4 SYS_bind SYS_connect SYS_getpeername SYS_getsockname SYS_getsockopt SYS_listen
    SYS_mq_getsetattr SYS_mq_notify SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_msgctl
    SYS_msgget SYS_msgrcv SYS_msgsnd SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_semctl SYS_semget SYS_semop
    SYS_semtimedop SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setsockopt SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget
    SYS_shutdown SYS_socketpair
    // the machine
    SYS_getrandom SYS_sysinfo SYS_uname
];

/// What the `libc` crate has no name for on every machine. From 424 on a number is the same on every machine
/// (Documentation/process/adding-syscalls.rst): cachestat, fchmodat2, futex_wake, futex_wait, futex_requeue, and
/// setxattrat, getxattrat, listxattrat, removexattrat.
const UNNAMED: &[u32] = &[IO_PGETEVENTS, 451, 452, 454, 455, 456, 463, 464, 465, 466];
const IO_PGETEVENTS: u32 = if cfg!(target_arch = "x86_64") { 333 } else { 292 };

/// What newer machines do not have any more.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[u32] = &calls![
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create SYS_epoll_wait
    SYS_eventfd SYS_fork SYS_futimesat SYS_getdents SYS_getpgrp SYS_inotify_init SYS_lchown SYS_link SYS_lstat
    SYS_mkdir SYS_mknod SYS_modify_ldt SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_rename SYS_rmdir
    SYS_select SYS_signalfd SYS_stat SYS_symlink SYS_time SYS_unlink SYS_utime SYS_utimes SYS_vfork
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[u32] = &[];

#[cfg(test)]
mod tests {
    use super::super::compile::tests::run;
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const REFUSE: u32 = 0x0005_0001;
    const MISSING: u32 = 0x0005_0026;

    #[track_caller]
    fn check(capabilities: CapabilitySet, number: [u32; 1], arguments: [u64; 3], expected: u32) {
        let program = super::super::compile(&table(capabilities), 7);
        let [a, b, c] = arguments;
        assert_eq!(run(&program, 7, number[0], [a, b, c, 0, 0, 0]), expected);
    }

    #[test]
    fn by_default() {
        let none = CapabilitySet::empty();
        check(none, calls![SYS_read], [0; 3], ALLOW);
        check(none, calls![SYS_execve], [0; 3], ALLOW);
        check(none, calls![SYS_mount], [0; 3], REFUSE);
        check(none, calls![SYS_unshare], [0; 3], REFUSE);
        check(none, calls![SYS_keyctl], [0; 3], REFUSE);
        check(none, calls![SYS_io_uring_setup], [0; 3], REFUSE);
        check(none, calls![SYS_clone], [0x0001_0000, 0, 0], ALLOW);
        check(none, calls![SYS_clone], [0x1000_0000, 0, 0], REFUSE);
        check(none, calls![SYS_clone3], [0; 3], MISSING);
        check(none, calls![SYS_socket], [1, 0, 0], ALLOW);
        check(none, calls![SYS_socket], [40, 0, 0], REFUSE);
        check(none, calls![SYS_personality], [8, 0, 0], ALLOW);
        check(none, calls![SYS_personality], [4, 0, 0], REFUSE);
        check(none, [9999], [0; 3], MISSING);
        check(none, [0x4000_0000], [0; 3], MISSING);
    }

    #[test]
    fn with_capabilities() {
        let admin = CapabilitySet::SYS_ADMIN;
        check(admin, calls![SYS_mount], [0; 3], ALLOW);
        check(admin, calls![SYS_clone], [0x1000_0000, 0, 0], ALLOW);
        check(admin, calls![SYS_clone3], [0; 3], ALLOW);
        check(admin, calls![SYS_chroot], [0; 3], REFUSE);
        check(CapabilitySet::SYS_CHROOT, calls![SYS_chroot], [0; 3], ALLOW);
        check(CapabilitySet::BPF, calls![SYS_bpf], [0; 3], ALLOW);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn thirty_two_bits_get_the_same_rules() {
        let native = table(CapabilitySet::empty());
        let small = table_32_bit(&native, CapabilitySet::empty());
        let program = super::super::compile_for(&[(7, &native), (8, &small)]);
        // read, mount, socketcall, waitpid, socket(AF_VSOCK), clone(CLONE_NEWUSER), keyctl; and read of the native ones.
        for (arch, number, argument, expected) in [
            (8, 3, 0, ALLOW),
            (8, 21, 0, REFUSE),
            (8, 102, 0, ALLOW),
            (8, 7, 0, ALLOW),
            (8, 359, 40, REFUSE),
            (8, 120, 0x1000_0000, REFUSE),
            (8, 288, 0, REFUSE),
            (8, 9999, 0, MISSING),
            (7, 0, 0, ALLOW),
            (9, 0, 0, 0x8000_0000),
        ] {
            assert_eq!(run(&program, arch, number, [argument, 0, 0, 0, 0, 0]), expected, "{arch} {number}");
        }
        // Nothing is allowed there that is not allowed here, but for what only they have.
        assert!(small.len() < native.len() + ONLY_32_BIT.split_ascii_whitespace().count());
        let admin = table(CapabilitySet::SYS_ADMIN);
        let mount = table_32_bit(&admin, CapabilitySet::SYS_ADMIN);
        assert!(mount.contains_key(&21) && mount.contains_key(&22) && !small.contains_key(&22));
    }

    #[test]
    fn the_program_stays_small() {
        let program = super::super::compile(&table(CapabilitySet::all()), 7);
        assert!(program.len() < 400, "{} instructions", program.len());
    }
}
