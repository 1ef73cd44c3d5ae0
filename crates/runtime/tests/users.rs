//! Pods with `hostUsers: false`: who is who inside and outside, what each kind of mount shows, and which way mounts go.
//!
//! Every case runs in a process of its own with a mount namespace, a tmpfs and cgroups of its own.

mod support;

use manifest::cri::{ContainerConfig, LinuxContainerSecurityContext, Mount, MountPropagation};
use manifest::cri::{NamespaceMode, NamespaceOption, PodSandboxConfig};
use runtime::{ExecConfig, ExecStdio, Sandbox};
use rustix::fd::AsFd;
use rustix::mount::{MountFlags, MountPropagationFlags};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use support::{Case, World, chain, command, shell, usual};

use MountPropagation::{Bidirectional, HostToContainer, Private};

fn main() {
    if rustix::process::geteuid().is_root() && !can_map_ids_of_tmpfs() {
        println!(
            "test users ... SKIPPED: this kernel cannot map the ids of a tmpfs (Linux 6.3), which these worlds are on"
        );
        println!("0 passed, 0 failed, {} skipped", CASES.len());
        return;
    }
    support::run("users", CASES)
}

/// Whether idmapped mounts of a tmpfs can be had: a detached one is asked.
fn can_map_ids_of_tmpfs() -> bool {
    let none = rustix::mount::MountAttrFlags::empty();
    let Ok(tmpfs) = sys::mount::new_file_system("tmpfs", "tmpfs", &[], none) else { return false };
    let users = sys::process::spawn(sys::namespace::Namespaces::USER, None, || {
        loop {
            let _ = rustix::event::poll(&mut [], None);
        }
    });
    let users = users.expect("spawn");
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{map}", users.pid.as_raw_nonzero()), "0 100000 65536\n")
            .expect("map");
    }
    let namespace = sys::namespace::open_of(users.pid, "user").expect("namespace");
    let mapped = sys::mount::map_ids(tmpfs.as_fd(), false, namespace.as_fd()).is_ok();
    sys::process::send_signal(users.pidfd.as_fd(), 9).expect("kill");
    let _ = rustix::process::waitpid(Some(users.pid), rustix::process::WaitOptions::empty());
    mapped
}

const CASES: &[Case] = &[
    ("ids_inside_and_outside", ids_inside_and_outside),
    ("files_keep_their_owners_on_disk", files_keep_their_owners_on_disk),
    ("root_inside_is_root_of_its_own_only", root_inside_is_root_of_its_own_only),
    ("exec_and_terminals", exec_and_terminals),
    ("every_propagation_mode", every_propagation_mode),
    (
        "own_mounts_below_a_bidirectional_volume_stay_inside",
        own_mounts_below_a_bidirectional_volume_stay_inside,
    ),
    ("read_only_and_single_files", read_only_and_single_files),
    ("a_file_system_that_cannot_map_ids", a_file_system_that_cannot_map_ids),
    ("ranges_of_pods_do_not_overlap", ranges_of_pods_do_not_overlap),
    ("a_shared_pid_namespace", a_shared_pid_namespace),
    ("another_supervisor_takes_over", another_supervisor_takes_over),
    ("sysctls_of_the_pod", sysctls_of_the_pod),
];

fn config(world: &World) -> PodSandboxConfig {
    PodSandboxConfig { user_namespace: true, ..world.pod_config(usual()) }
}

fn pod(world: &World) -> Sandbox {
    Sandbox::run(&world.dirs, config(world)).unwrap_or_else(|error| panic!("sandbox: {}", chain(&error)))
}

fn privileged(config: ContainerConfig) -> ContainerConfig {
    let security_context =
        LinuxContainerSecurityContext { privileged: true, ..LinuxContainerSecurityContext::default() };
    ContainerConfig { security_context, ..config }
}

fn as_user(user: i64, config: ContainerConfig) -> ContainerConfig {
    let security_context =
        LinuxContainerSecurityContext { run_as_user: Some(user), ..LinuxContainerSecurityContext::default() };
    ContainerConfig { security_context, ..config }
}

fn volume(at: &str, source: &Path, propagation: MountPropagation) -> Mount {
    Mount { container_path: at.into(), host_path: source.to_owned(), propagation, ..Mount::default() }
}

fn tmpfs(at: &Path) {
    let none: Option<&std::ffi::CStr> = None;
    std::fs::create_dir_all(at).expect("mkdir");
    rustix::mount::mount("tmpfs", at, "tmpfs", MountFlags::empty(), none).expect("tmpfs");
}

fn is_mounted(at: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    table.lines().any(|line| line.split(' ').nth(4) == at.to_str())
}

fn base(pod: &Sandbox) -> u32 {
    pod.record().user_base.expect("a range")
}

fn ids_inside_and_outside(world: &World) {
    let pod = pod(world);
    let base = base(&pod);
    let outcome = world.run(
        &pod,
        &shell("id -u; id -g; cat /proc/self/uid_map; cat /proc/self/gid_map; stat -c %u:%g / /etc/passwd"),
    );
    let map = format!("{:>10} {base:>10} {:>10}", 0, 65536);
    assert_eq!(outcome.lines(), ["0", "0", &map, &map, "0:0", "0:0"], "{}", outcome.stderr);
    for (user, inside) in [(None, 0), (Some(1000), 1000)] {
        let sleep = command(&["sleep", "1000"]);
        let container = world.start(&pod, &user.map_or(sleep.clone(), |user| as_user(user, sleep)));
        let status = format!("/proc/{}/status", container.pid.as_raw_nonzero());
        let status = std::fs::read_to_string(status).expect("status");
        let outside = base + inside;
        assert!(status.contains(&format!("Uid:\t{outside}\t{outside}\t{outside}\t{outside}\n")), "{status}");
        end(world, container);
    }
    let error = pod.create_container(&as_user(70_000, shell("true")), &world.image).expect_err("no such id");
    assert!(chain(&error).contains("70000"), "{}", chain(&error));
    world.remove(pod);
    assert!(!world.dirs.state.with_file_name("user-ranges").exists());
}

fn end(world: &World, mut container: runtime::Container) {
    runtime::kill(&world.dirs, &container.id, runtime::signal::KILL, true).expect("kill");
    container.wait().expect("wait");
    runtime::remove_container(&world.dirs, &container.id).expect("remove");
}

/// Image, writable layer, volume on disk, volume in memory: on disk there is what there would be without the namespace.
fn files_keep_their_owners_on_disk(world: &World) {
    let (disk, memory) = (world.base.join("volume"), world.base.join("memory"));
    std::fs::create_dir(&disk).expect("mkdir");
    tmpfs(&memory);
    for dir in [&disk, &memory] {
        std::fs::write(dir.join("of-33"), "").expect("write");
        std::os::unix::fs::chown(dir.join("of-33"), Some(33), Some(34)).expect("chown");
    }
    std::os::unix::fs::chown(world.image_path("etc/plain"), Some(33), Some(34)).expect("chown");
    let mounts = vec![volume("/disk", &disk, Private), volume("/memory", &memory, Private)];
    let script = "stat -c %u:%g /etc/plain /disk/of-33 /memory/of-33; \
        for d in / /disk /memory; do touch $d/new && chown 5:6 $d/new; touch $d/root; mkdir $d/dir; done; \
        echo more >> /etc/plain; rm /etc/group; cat /made 2>/dev/null; stat -c %u:%g /dev/shm/. ; touch /dev/shm/x /tmp/x /dev/own; ls /dev/own";
    let pod = pod(world);
    let mut container = world.start(&pod, &ContainerConfig { mounts, ..shell(script) });
    let outcome = support::finish(&mut container);
    let expected = ["33:34", "33:34", "33:34"];
    assert_eq!(outcome.lines()[..3], expected, "{}", outcome.stderr);
    assert!(outcome.stdout.ends_with("/dev/own\n"), "{} {}", outcome.stdout, outcome.stderr);
    let upper = world.dirs.data.join(&container.id).join("0/upper");
    // The writable layer is the container's alone and goes with it: it holds ids as the machine has them.
    for (dir, shift) in [(&disk, 0), (&memory, 0), (&upper, base(&pod))] {
        for (name, owner) in [("new", (5, 6)), ("root", (0, 0)), ("dir", (0, 0))] {
            let metadata = std::fs::metadata(dir.join(name)).expect("stat");
            let expected = (owner.0 + shift, owner.1 + shift);
            assert_eq!((metadata.uid(), metadata.gid()), expected, "{name} in {}", dir.display());
        }
    }
    runtime::remove_container(&world.dirs, &container.id).expect("remove");
    // As somebody else, who is not the owner of the volume.
    let mounts = vec![volume("/disk", &disk, Private)];
    let other = as_user(
        33,
        ContainerConfig { mounts, ..shell("echo x > /disk/of-33; echo $?; echo x > /disk/new; echo $?") },
    );
    assert_eq!(world.run(&pod, &other).stdout, "0\n1\n");
    rustix::mount::unmount(&memory, rustix::mount::UnmountFlags::empty()).expect("umount");
    world.remove(pod);
}

/// Privileged, and still nobody on the machine.
fn root_inside_is_root_of_its_own_only(world: &World) {
    let secret = world.base.join("secret");
    std::fs::write(&secret, "secret").expect("write");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    let host_uts = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname");
    let pod = pod(world);
    let script = "hostname changed && hostname; ifconfig lo 127.0.0.2 && echo network; \
        mount -t tmpfs x /tmp && echo mounted; \
        (echo 1 > /proc/sys/kernel/panic_on_oops) 2>/dev/null && echo WROTE; \
        (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo WROTE; \
        (echo 3 > /proc/sys/vm/drop_caches) 2>/dev/null && echo WROTE; \
        (echo b > /proc/sysrq-trigger) 2>/dev/null && echo WROTE; \
        for d in /dev/*; do [ -b $d ] && (exec 3<$d) 2>/dev/null && echo OPENED $d; done; \
        dmesg >/dev/null 2>&1 && echo DMESG; \
        mknod /disk b 8 0 2>/dev/null && echo MKNOD; chroot / true && echo chroot";
    let outcome = world.run(&pod, &privileged(shell(script)));
    assert_eq!(outcome.stdout, "changed\nnetwork\nmounted\nchroot\n", "{}", outcome.stderr);
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname"), host_uts);
    // A volume's files that are the machine's root's are root's inside, and that is all that it can reach of them.
    let mounts = vec![volume("/s", &secret, Private)];
    let read = ContainerConfig { mounts, ..shell("cat /s") };
    assert_eq!(world.run(&pod, &read).stdout, "secret");
    world.remove(pod);
}

fn exec_and_terminals(world: &World) {
    let pod = pod(world);
    let container = world.start(&pod, &command(&["sleep", "1000"]));
    let (code, said) = world.exec(&container.id, &["sh", "-c", "id -u; touch /x && stat -c %u /x; readlink /proc/self/ns/user; readlink /proc/1/ns/user; echo y > /dev/stdout"]);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((code, lines[0], lines[1]), (0, "0", "0"), "{said}");
    assert_eq!(lines[2], lines[3], "one user namespace");
    let null = std::fs::File::options().read(true).write(true).open("/dev/null").expect("null");
    let stdio = ExecStdio { stdin: None, stdout: null.as_fd(), stderr: null.as_fd() };
    let words = ["sh", "-c", "tty; id -u; echo x > $(tty)"].map(str::to_owned).to_vec();
    let tty = ExecConfig { command: words, tty: true, ..ExecConfig::default() };
    let process =
        runtime::exec(&world.dirs, &container.id, &tty, stdio).unwrap_or_else(|e| panic!("{}", chain(&e)));
    let said = support::read_all(process.terminal.as_ref().expect("terminal").try_clone().expect("dup"));
    assert!(said.starts_with("/dev/pts/0\r\n0\r\nx"), "{said:?}");
    assert_eq!(process.wait().expect("wait"), 0);
    end(world, container);
    for user in [0, 1000] {
        let config = ContainerConfig {
            tty: true,
            ..shell("tty; stat -c %u $(tty); echo x > /dev/console && echo y > $(tty) && echo done")
        };
        let outcome = world.run(&pod, &as_user(user, config));
        assert!(
            outcome.stdout.contains(&format!("\r\n{user}\r\n")) && outcome.stdout.ends_with("done\r\n"),
            "{:?}",
            outcome.stdout
        );
    }
    world.remove(pod);
}

/// A shared tmpfs with one mount below it.
fn shared_volume(world: &World) -> PathBuf {
    let source = world.base.join("volume");
    tmpfs(&source);
    rustix::mount::mount_change(&source, MountPropagationFlags::SHARED).expect("shared");
    tmpfs(&source.join("before"));
    source
}

fn clear(source: &Path) {
    runtime::mounts::detach_tree(source).expect("detach");
}

/// What each mode means without a user namespace it means with one.
fn every_propagation_mode(world: &World) {
    for (mode, sees_host, host_sees) in
        [(Private, false, false), (HostToContainer, true, false), (Bidirectional, true, true)]
    {
        let source = shared_volume(world);
        let pod = pod(world);
        let mounts = vec![volume("/data", &source, mode)];
        let container =
            world.start(&pod, &privileged(ContainerConfig { mounts, ..command(&["sleep", "1000"]) }));
        let inside = |words: &str| world.exec(&container.id, &["sh", "-c", words]);
        assert_eq!(
            inside("grep -q ' /data/before ' /proc/self/mountinfo").0,
            0,
            "{mode:?}: what was there at the start"
        );
        tmpfs(&source.join("later"));
        assert_eq!(
            inside("grep -q ' /data/later ' /proc/self/mountinfo").0 == 0,
            sees_host,
            "{mode:?}: the host's mount"
        );
        let (code, said) =
            inside("mkdir /data/own && mount -t tmpfs x /data/own && echo hello > /data/own/file");
        assert_eq!(code, 0, "{mode:?}: {said}");
        assert_eq!(is_mounted(&source.join("own")), host_sees, "{mode:?}: the container's mount");
        if host_sees {
            assert_eq!(std::fs::read_to_string(source.join("own/file")).expect("read"), "hello\n");
        }
        // A mount that was there at the start is not locked to the container's root, as none is that was moved in.
        assert_eq!(inside("umount /data/before").0, 0, "{mode:?}");
        assert_eq!(is_mounted(&source.join("before")), !host_sees, "{mode:?}: the container's unmount");
        end(world, container);
        clear(&source);
        world.remove(pod);
    }
}

fn own_mounts_below_a_bidirectional_volume_stay_inside(world: &World) {
    let source = shared_volume(world);
    let (other, file) = (world.base.join("other"), world.base.join("file"));
    std::fs::create_dir(&other).expect("mkdir");
    std::fs::write(&file, "file").expect("write");
    let mounts = vec![
        volume("/data", &source, Bidirectional),
        volume("/data/nested", &other, Private),
        volume("/data/before/file", &file, Private),
    ];
    let config = privileged(ContainerConfig { mounts, ..command(&["sleep", "1000"]) });
    let before = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").lines().count();
    for _ in 0..4 {
        let pod = pod(world);
        let shm = 1;
        let container = world.start(&pod, &config);
        let now = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").lines().count();
        assert_eq!(now, before + shm, "mounts on the host");
        tmpfs(&source.join("later"));
        let (code, said) = world.exec(
            &container.id,
            &["sh", "-c", "grep -q ' /data/later ' /proc/self/mountinfo && grep -q ' /data/nested ' /proc/self/mountinfo && cat /data/before/file"],
        );
        assert_eq!((code, said.as_str()), (0, "file"));
        rustix::mount::unmount(source.join("later"), rustix::mount::UnmountFlags::empty()).expect("umount");
        end(world, container);
        world.remove_pod(pod);
    }
    clear(&source);
    world.check_nothing_left();
}

fn read_only_and_single_files(world: &World) {
    let (dir, file) = (world.base.join("dir"), world.base.join("hosts"));
    std::fs::create_dir(&dir).expect("mkdir");
    std::fs::write(&file, "127.0.0.1 localhost\n").expect("write");
    let read_only = Mount { readonly: true, recursive_read_only: true, ..volume("/ro", &dir, Private) };
    let mounts = vec![read_only, volume("/etc/hosts", &file, Private)];
    let masked = LinuxContainerSecurityContext {
        masked_paths: manifest::cri::security::MASKED_PATHS.map(str::to_owned).to_vec(),
        readonly_paths: manifest::cri::security::READONLY_PATHS.map(str::to_owned).to_vec(),
        readonly_rootfs: true,
        ..LinuxContainerSecurityContext::default()
    };
    let script = "touch /ro/x 2>/dev/null || echo ro; touch /x 2>/dev/null || echo ro; echo more >> /etc/hosts && stat -c %u /etc/hosts; \
        head -c 1 /proc/kcore | wc -c; (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null || echo ro";
    let pod = pod(world);
    let outcome = world.run(&pod, &ContainerConfig { mounts, security_context: masked, ..shell(script) });
    assert_eq!(outcome.stdout, "ro\nro\n0\n0\nro\n", "{}", outcome.stderr);
    assert_eq!(std::fs::metadata(&file).expect("stat").uid(), 0);
    world.remove(pod);
}

/// procfs is one on every kernel.
fn a_file_system_that_cannot_map_ids(world: &World) {
    let pod = pod(world);
    let mounts = vec![volume("/host-proc", Path::new("/proc"), Private)];
    let error =
        pod.create_container(&ContainerConfig { mounts, ..shell("true") }, &world.image).expect_err("proc");
    assert!(
        chain(&error).contains("cannot map the ids of a file system") && chain(&error).contains("/proc"),
        "{}",
        chain(&error)
    );
    world.remove(pod);
}

fn ranges_of_pods_do_not_overlap(world: &World) {
    let of = |name: &str| PodSandboxConfig {
        cgroup_parent: format!("{}-{name}", world.cgroup_parent),
        ..config(world)
    };
    let [first, second] = ["one", "two"].map(|name| Sandbox::run(&world.dirs, of(name)).expect("sandbox"));
    assert!(base(&first).abs_diff(base(&second)) >= 65_536);
    let container = world.start(&first, &command(&["sleep", "1000"]));
    // Root of the one cannot see into the other, nor signal it.
    let pid = container.pid.as_raw_nonzero();
    let node = NamespaceOption { pid: NamespaceMode::Node, ..usual() };
    let third = PodSandboxConfig { namespace_options: node, ..of("three") };
    let third = Sandbox::run(&world.dirs, third).expect("sandbox");
    let script = format!(
        "kill -9 {pid} 2>/dev/null && echo KILLED; cat /proc/{pid}/environ 2>/dev/null && echo READ; echo done"
    );
    assert_eq!(world.run(&third, &privileged(shell(&script))).stdout, "done\n");
    end(world, container);
    for pod in [first, second, third] {
        pod.remove().expect("remove");
    }
    world.check_nothing_left();
    assert!(!world.dirs.state.with_file_name("user-ranges").exists());
}

fn a_shared_pid_namespace(world: &World) {
    let options = NamespaceOption { pid: NamespaceMode::Pod, ..usual() };
    let config = PodSandboxConfig { namespace_options: options, ..config(world) };
    let pod = Sandbox::run(&world.dirs, config).expect("sandbox");
    let sleeper = world.start(&pod, &command(&["sleep", "1000"]));
    let outcome = world.run(&pod, &shell("stat -c %u /proc/1/task; ps -o pid,comm | grep -c sleep; id -u"));
    assert_eq!(outcome.lines()[1..], ["1", "0"], "{} {}", outcome.stdout, outcome.stderr);
    end(world, sleeper);
    world.remove(pod);
}

fn another_supervisor_takes_over(world: &World) {
    let pod = pod(world);
    let (id, users) = (pod.id().to_owned(), base(&pod));
    let sleeper = world.start(&pod, &command(&["sleep", "1000"]));
    drop(pod);
    let pod = Sandbox::adopt(&world.dirs, &id).unwrap_or_else(|error| panic!("adopt: {}", chain(&error)));
    assert_eq!(base(&pod), users);
    let outcome = world.run(&pod, &shell("cat /proc/self/uid_map"));
    assert!(outcome.stdout.contains(&users.to_string()), "{}", outcome.stdout);
    end(world, sleeper);
    world.remove(pod);
}

fn sysctls_of_the_pod(world: &World) {
    let sysctls = [
        ("net.ipv4.tcp_syncookies".to_owned(), "0".to_owned()),
        ("kernel.shmmni".to_owned(), "18".to_owned()),
    ];
    let config = PodSandboxConfig { sysctls: sysctls.into(), ..config(world) };
    let pod = Sandbox::run(&world.dirs, config).unwrap_or_else(|error| panic!("sandbox: {}", chain(&error)));
    let outcome =
        world.run(&pod, &shell("cat /proc/sys/net/ipv4/tcp_syncookies /proc/sys/kernel/shmmni; hostname"));
    assert_eq!(outcome.stdout, "0\n18\npod-name\n");
    world.remove(pod);
}
