//! What is hidden or read-only in a container, the terminal, and devices.

use crate::rival::Rival;
use crate::support::{World, chain, finish, shell};
use manifest::cri::security::{MASKED_PATHS, READONLY_PATHS};
use manifest::cri::{Capability, ContainerConfig, LinuxContainerSecurityContext, Mount};
use std::os::unix::fs::symlink;

const ROUNDS: usize = 20;

/// As the kubelet asks for it.
fn masked() -> LinuxContainerSecurityContext {
    let strings = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    LinuxContainerSecurityContext {
        masked_paths: strings(&MASKED_PATHS),
        readonly_paths: strings(&READONLY_PATHS),
        ..LinuxContainerSecurityContext::default()
    }
}

/// Says of each masked path what shows there, and tries the read-only ones.
const SHOW: &str = "for p in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do \
    [ -e $p ] && echo $p $(stat -c %t:%T $p) $(head -c 1 $p | wc -c); done; \
    for p in /proc/acpi /proc/scsi /sys/firmware; do [ -d $p ] && echo $p $(ls $p | wc -l); done; \
    (echo x > /proc/sysrq-trigger) 2>&1; (echo x > /proc/sys/kernel/core_pattern) 2>&1; true";

fn check_masks(said: &str) {
    let mut lines = 0;
    for line in said.lines() {
        lines += 1;
        let good = match line.split(' ').collect::<Vec<_>>()[..] {
            [path, "1:3", "0"] => path.starts_with("/proc/"),
            [path, "0"] => path.starts_with('/'),
            // Kernels without sysrq have nothing there to write to.
            _ => line.contains("Read-only file system") || line.contains("sysrq-trigger: nonexistent"),
        };
        assert!(good, "{line:?} in {said}");
    }
    assert!(lines >= 4, "{said}");
}

/// `/dev/null` of the container exchanged for a link while paths are masked with a null device.
pub(crate) fn null_device(world: &World) {
    let dev = world.base.join("dev");
    std::fs::create_dir(&dev).expect("mkdir");
    let (place, link) = (dev.join("null"), dev.join("link"));
    symlink("/proc/sys/kernel/core_pattern", &link).expect("symlink");
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    let device = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(rustix::fs::CWD, &place, rustix::fs::FileType::CharacterDevice, mode, device)
        .expect("mknod");
    let volume = Mount { container_path: "/dev".into(), host_path: dev, ..Mount::default() };
    let pod = world.usual_pod();
    for mounts in [vec![], vec![volume]] {
        let rival = Rival::exchanging(&place, &link);
        let config = ContainerConfig { mounts, security_context: masked(), ..shell(SHOW) };
        for _ in 0..ROUNDS {
            check_masks(&world.run(&pod, &config).stdout);
        }
        drop(rival);
    }
    world.remove(pod);
}

/// A terminal for a container that has put links where its console and its devpts should be.
pub(crate) fn console(world: &World) {
    let dev = world.base.join("dev");
    std::fs::create_dir_all(dev.join("pts")).expect("mkdir");
    std::fs::create_dir(dev.join("fake")).expect("mkdir");
    std::fs::write(dev.join("pts/ptmx"), "").expect("write");
    let (place, link) = (dev.join("console"), dev.join("link"));
    std::fs::write(&place, "").expect("write");
    symlink("/proc/sysrq-trigger", &link).expect("symlink");
    let host_pts = dev.join("host-pts");
    symlink("/proc/1/root/dev/pts", &host_pts).expect("symlink");
    let pod = world.usual_pod();
    let volume = Mount { container_path: "/dev".into(), host_path: dev.clone(), ..Mount::default() };
    let tty = ContainerConfig { tty: true, ..shell("cat /proc/self/mountinfo; tty") };
    let rivals = [Rival::exchanging(&place, &link), Rival::exchanging(&dev.join("pts"), &host_pts)];
    for _ in 0..ROUNDS {
        let config =
            ContainerConfig { mounts: vec![volume.clone()], security_context: masked(), ..tty.clone() };
        let error = pod.create_container(&config, &world.image).expect_err("no devpts of its own");
        assert!(chain(&error).contains("/dev/pts"), "{}", chain(&error));
    }
    drop(rivals);
    // With the usual /dev there is nothing to exchange: its devpts and console are new.
    let config = ContainerConfig { security_context: masked(), ..tty };
    let mut container = world.start(&pod, &config);
    let said = finish(&mut container).stdout;
    let consoles: Vec<&str> = said.lines().filter(|line| line.contains(" /dev/console ")).collect();
    assert!(consoles.len() == 1 && consoles[0].contains(" - devpts "), "{said}");
    assert!(said.contains("/dev/pts/0") || said.contains("/dev/console"), "{said}");
    runtime::remove_container(&world.dirs, &container.id).expect("remove");
    world.remove(pod);
}

/// Opens everything below `/proc` and `/sys` for writing (without writing), except what is of its own processes.
pub(crate) fn proc_and_sys(world: &World) {
    // Pressure triggers are private to who opens them; a process may write to its own directory.
    let attempt = "find /proc /sys -path '/proc/[0-9]*' -prune -o -path /proc/self -prune -o \
        -path /proc/thread-self -prune -o -path '/proc/pressure/*' -prune -o -type f -perm /222 -print 2>/dev/null | \
        while read -r f; do (: >> \"$f\") 2>/dev/null && echo \"$f\"; done; \
        for d in /proc /proc/sys /sys /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/x 2>/dev/null && echo made $d/x; done";
    for user in [0, 1000] {
        let security_context = LinuxContainerSecurityContext { run_as_user: Some(user), ..masked() };
        let config = ContainerConfig { security_context, ..shell(attempt) };
        let outcome = world.run_alone(&config);
        assert_eq!(outcome.stdout, "", "opened for writing by user {user}");
    }
    let remount = shell(
        "for p in /proc/sys /sys /proc/sysrq-trigger; do mount -o remount,rw,bind $p; umount $p; done; \
        echo x > /proc/sysrq-trigger",
    );
    let outcome = world.run_alone(&ContainerConfig { security_context: masked(), ..remount });
    assert_ne!(outcome.code(), 0);
}

/// Device nodes that a container makes, or that its image brings, open nothing.
pub(crate) fn devices(world: &World) {
    let numbers = std::fs::read_to_string("/proc/partitions").expect("partitions");
    let disk = numbers.lines().skip(2).find_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse::<u32>().ok()?, words.next()?.parse::<u32>().ok()?))
    });
    let (major, minor) = disk.unwrap_or((8, 0));
    let node = |name: &str, kind, major, minor| {
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(rustix::fs::CWD, world.image_path(name), kind, mode, device).expect("mknod");
    };
    node("disk", rustix::fs::FileType::BlockDevice, major, minor);
    node("mem", rustix::fs::FileType::CharacterDevice, 1, 1);
    node("kmsg", rustix::fs::FileType::CharacterDevice, 1, 11);
    let script = format!(
        "mknod /own-disk b {major} {minor}; mknod /own-mem c 1 1; mknod /dev/port c 1 4; \
         for d in /disk /mem /kmsg /own-disk /own-mem /dev/port; do \
         (exec 3<$d) 2>/dev/null && echo $d; (exec 3<>$d) 2>/dev/null && echo $d; done; echo done"
    );
    for _ in 0..5 {
        assert_eq!(world.run_alone(&shell(&script)).stdout, "done\n");
    }
    let all = Capability { add_capabilities: vec!["ALL".to_owned()], ..Capability::default() };
    let security_context = LinuxContainerSecurityContext { capabilities: all, ..masked() };
    let config = ContainerConfig { security_context, ..shell(&script) };
    assert_eq!(world.run_alone(&config).stdout, "done\n", "with every capability, not privileged");
}
