//! Our own program overwritten from inside (CVE-2019-5736).

use crate::support::{World, finish, shell};
use manifest::cri::{NamespaceMode, NamespaceOption};
use rustix::fs::{Access, Mode, OFlags};
use rustix::io::Errno;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// How this program is called where it is the container's program.
pub(crate) const OVERWRITER: &str = "--as-overwriter";

/// In a container, run by `/proc/self/exe`: tries to get a way to write to this program. Its exit code is the number
/// of the attempt that succeeded.
pub(crate) fn overwriter() -> ! {
    let exe = "/proc/self/exe";
    if rustix::fs::access(exe, Access::WRITE_OK) != Err(Errno::ROFS) {
        std::process::exit(1);
    }
    for flags in [OFlags::WRONLY, OFlags::RDWR, OFlags::WRONLY | OFlags::TRUNC] {
        if rustix::fs::open(exe, flags, Mode::empty()).is_ok() {
            std::process::exit(2);
        }
    }
    let held = rustix::fs::open(exe, OFlags::PATH, Mode::empty()).expect("open");
    let held = rustix::fd::AsFd::as_fd(&held);
    let none = rustix::mount::MountAttrFlags::empty();
    let writable = rustix::mount::MountAttrFlags::MOUNT_ATTR_RDONLY;
    if sys::mount::set_attributes(held, false, none, writable, None).is_ok() {
        std::process::exit(3);
    }
    if rustix::fs::open(sys::mount::magic_link(held), OFlags::WRONLY, Mode::empty()).is_ok() {
        std::process::exit(4);
    }
    std::process::exit(0)
}

/// What of this program's file would change if it were written to.
fn identity(path: &Path) -> (u64, u64, i64, i64) {
    let metadata = std::fs::metadata(path).expect("stat");
    (metadata.ino(), metadata.len(), metadata.mtime(), metadata.ctime())
}

/// Puts into the image what this program needs to run: the dynamic loader is the image's, which is what the attack
/// makes use of.
fn bring_libraries(world: &World) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("maps");
    let libraries =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).filter(|path| path.contains(".so"));
    for library in libraries {
        let place = world.image_path(&library[1..]);
        std::fs::create_dir_all(place.parent().expect("parent")).expect("mkdir");
        std::fs::copy(library, &place).expect("copy");
    }
    let loader = Path::new("/lib64/ld-linux-x86-64.so.2");
    if let Ok(real) = loader.canonicalize() {
        let place = world.image_path("lib64/ld-linux-x86-64.so.2");
        std::fs::create_dir_all(place.parent().expect("parent")).expect("mkdir");
        std::fs::copy(real, place).expect("copy");
    }
}

pub(crate) fn as_the_program(world: &World) {
    bring_libraries(world);
    std::fs::write(world.image_path("script"), format!("#!/proc/self/exe {OVERWRITER}\n")).expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.image_path("script"), mode).expect("chmod");
    std::os::unix::fs::symlink("/proc/self/exe", world.image_path("link")).expect("symlink");
    let before = identity(Path::new("/proc/self/exe"));
    let pod = world.usual_pod();
    for turn in 0..10 {
        for argv in [&["/proc/self/exe", OVERWRITER][..], &["/script"], &["/link", OVERWRITER]] {
            let outcome = world.run(&pod, &crate::support::command(argv));
            assert_eq!(outcome.code(), 0, "turn {turn} {argv:?}: {}", outcome.stderr);
        }
        assert_eq!(identity(Path::new("/proc/self/exe")), before);
    }
    world.remove(pod);
}

/// A container that shares its processes with the others writes to whatever executable it finds, while containers are
/// started and commands executed beside it.
pub(crate) fn through_another_process(world: &World) {
    let before = identity(Path::new("/proc/self/exe"));
    let pod = world.pod(NamespaceOption { pid: NamespaceMode::Pod, ..crate::support::usual() });
    let hunt = "while :; do for p in /proc/[0-9]*; do \
        case \"$(readlink $p/exe)\" in */busybox|'') ;; *) (exec 3<>$p/exe) 2>/dev/null && echo GOT $p; esac; \
        for f in $p/fd/*; do case \"$(readlink $f)\" in /dev/null|pipe*|'') ;; /*) (exec 3<>$f) 2>/dev/null && echo GOT $f;; esac; done; \
        done; done";
    let mut hunter = world.start(&pod, &shell(hunt));
    let mut prey = world.start(&pod, &shell("sleep 1000"));
    for _ in 0..40 {
        assert_eq!(world.run(&pod, &shell("true")).code(), 0);
        assert_eq!(world.exec(&prey.id, &["true"]).0, 0);
    }
    for container in [&mut prey, &mut hunter] {
        runtime::kill(&world.dirs, &container.id, runtime::signal::KILL, true).expect("kill");
    }
    let said = finish(&mut hunter).stdout;
    assert!(!said.contains("GOT"), "{said}");
    prey.wait().expect("wait");
    assert_eq!(identity(Path::new("/proc/self/exe")), before);
    world.remove(pod);
}
