//! Containers on the real kernel: what is around a process that was started, and that nothing stays of it.
//!
//! Every case runs in a process of its own with a mount namespace, a tmpfs and cgroups of its own. The
//! programs are busybox's.

mod support;

use manifest::cri::{
    AppArmorProfile, Capability, ContainerConfig, LinuxContainerResources, LinuxContainerSecurityContext,
    Mount, MountPropagation, NamespaceMode, NamespaceOption, PodSandboxConfig, SeccompProfile,
};
use runtime::{Error, ExecConfig, ExecStdio, Io, START_ERROR_EXIT_CODE, Status};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::{CGROUP_TOP, Case, World, cgroup_top, chain, command, finish, read_all, shell, strings, usual};
use sys::namespace::Namespaces;
use sys::process::{exit, spawn};

/// How the program is called by itself, in the world of a case.
const SUPERVISOR: &str = "--as-supervisor";
const REMOVER: &str = "--as-remover";
const EXE_CHECK: &str = "--as-exe-check";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(SUPERVISOR) => supervisor(&arguments[1]),
        Some(REMOVER) => remover(),
        Some(EXE_CHECK) => exe_check(),
        _ => {}
    }
    support::run("containers", CASES)
}

const CASES: &[Case] = &[
    ("exit_codes", exit_codes),
    ("programs_that_cannot_be_started", programs_that_cannot_be_started),
    ("capabilities_seccomp_and_no_new_privs", capabilities_seccomp_and_no_new_privs),
    ("privileged", privileged),
    ("the_filter_refuses", the_filter_refuses),
    ("three_descriptors", three_descriptors),
    ("namespaces", namespaces),
    ("a_shared_pid_namespace", a_shared_pid_namespace),
    ("the_node_s_namespaces", the_node_s_namespaces),
    ("loopback_and_host_name", loopback_and_host_name),
    ("variables", variables),
    ("users", users),
    ("sysctls", sysctls),
    ("thirty_two_bit_programs", thirty_two_bit_programs),
    ("a_filter_of_the_user_s", a_filter_of_the_user_s),
    ("app_armor_where_there_is_none", app_armor_where_there_is_none),
    ("app_armor_where_it_is", app_armor_where_it_is),
    ("a_hostile_passwd", a_hostile_passwd),
    ("working_directories", working_directories),
    ("a_terminal", a_terminal),
    ("stdin", stdin),
    ("exec_is_like_the_container", exec_is_like_the_container),
    ("exec_on_a_terminal", exec_on_a_terminal),
    ("exec_that_cannot_be", exec_that_cannot_be),
    ("cgroups_and_limits", cgroups_and_limits),
    ("out_of_memory", out_of_memory),
    ("devices", devices),
    ("devices_by_program", devices_by_program),
    ("controllers_reach_below_what_was_only_made", controllers_reach_below_what_was_only_made),
    ("oom_scores_are_clamped", oom_scores_are_clamped),
    ("stopping", stopping),
    ("signals_from_outside", signals_from_outside),
    ("removing_a_running_container", removing_a_running_container),
    ("a_supervisor_that_is_killed_later", a_supervisor_that_is_killed_later),
    ("a_supervisor_that_is_killed_before_the_start", a_supervisor_that_is_killed_before_the_start),
    ("every_fault_leaves_nothing", every_fault_leaves_nothing),
    ("every_fault_at_the_end_can_be_mended", every_fault_at_the_end_can_be_mended),
    ("a_mount_of_the_host_in_the_window_arrives", a_mount_of_the_host_in_the_window_arrives),
    ("the_host_hears_of_no_mount", the_host_hears_of_no_mount),
    ("our_executable_is_read_only", our_executable_is_read_only),
    ("a_wrong_configuration_makes_nothing", a_wrong_configuration_makes_nothing),
];

fn hierarchies() -> runtime::cgroup::Hierarchies {
    runtime::cgroup::Hierarchies::read().expect("hierarchies")
}

fn security(change: impl FnOnce(&mut LinuxContainerSecurityContext)) -> LinuxContainerSecurityContext {
    let mut security = LinuxContainerSecurityContext::default();
    change(&mut security);
    security
}

fn exit_codes(world: &World) {
    assert_eq!(world.run_alone(&command(&["true"])).code(), 0);
    let outcome = world.run_alone(&shell("echo out; echo err >&2; exit 42"));
    assert_eq!((outcome.code(), outcome.stdout.as_str(), outcome.stderr.as_str()), (42, "out\n", "err\n"));
    assert_eq!(outcome.exit.signal, None);
    let outcome = world.run_alone(&shell("sh -c 'kill -TERM $$'; exit $?"));
    assert_eq!(outcome.code(), 143);
}

fn programs_that_cannot_be_started(world: &World) {
    let pod = world.usual_pod();
    let check = |config: &ContainerConfig, message: &str, code: i32| {
        let mut container = world.create(&pod, config);
        let error = container.start().expect_err("start");
        assert_eq!(chain(&error), message);
        assert!(matches!(error, Error::Execute { exit_code, .. } if exit_code == code), "{error:?}");
        let record = runtime::status(&world.dirs, &container.id).expect("status");
        let exit = record.exit.expect("exit");
        assert_eq!((record.status, exit.code), (Status::Exited, Some(START_ERROR_EXIT_CODE)));
        assert_eq!(exit.start_error.as_deref(), Some(message));
        runtime::remove_container(&world.dirs, &container.id).expect("remove");
    };
    check(&command(&["foo"]), "exec: \"foo\": executable file not found in $PATH", 127);
    check(&command(&["/bin/foo"]), "exec: \"/bin/foo\": stat /bin/foo: no such file or directory", 127);
    check(&command(&["/etc/plain"]), "exec: \"/etc/plain\": permission denied", 126);
    check(&command(&["/etc"]), "exec: \"/etc\": permission denied", 126);
    let image = world.image_path("bin/nonsense");
    std::fs::write(&image, "\x7fnonsense").expect("write");
    std::fs::set_permissions(&image, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    check(&command(&["nonsense"]), "exec /bin/nonsense: exec format error", 126);
    world.remove(pod);
}

fn status_field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} in {status}")).trim().to_owned()
}

fn capabilities_seccomp_and_no_new_privs(world: &World) {
    let status = |security: LinuxContainerSecurityContext| {
        let config = ContainerConfig { security_context: security, ..command(&["cat", "/proc/self/status"]) };
        world.run_alone(&config).stdout
    };
    let has = |status: &str, what: [&str; 5]| {
        let fields = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
        assert_eq!(fields.map(|field| status_field(status, field)), what.map(str::to_owned));
    };
    let (none, default) = ("0000000000000000", "00000000a80425fb");
    let usual = status(security(|_| ()));
    has(&usual, [none, default, default, default, none]);
    assert_eq!(status_field(&usual, "Seccomp"), "2");
    assert_eq!(status_field(&usual, "NoNewPrivs"), "0");
    let other = status(security(|security| {
        security.run_as_user = Some(1000);
        security.no_new_privs = true;
        security.seccomp = SeccompProfile::Unconfined;
    }));
    has(&other, [none, none, none, default, none]);
    assert_eq!(
        (status_field(&other, "Seccomp"), status_field(&other, "NoNewPrivs")),
        ("0".to_owned(), "1".to_owned())
    );
    let changed = status(security(|security| {
        security.capabilities =
            Capability { add_capabilities: strings(&["NET_ADMIN"]), drop_capabilities: strings(&["ALL"]) };
    }));
    let admin = "0000000000001000";
    has(&changed, [none, admin, admin, admin, none]);
}

fn privileged(world: &World) {
    let config = ContainerConfig {
        security_context: security(|security| security.privileged = true),
        ..shell("cat /proc/self/status; mount -t tmpfs tmpfs /tmp && echo mounted")
    };
    let outcome = world.run_alone(&config);
    let ours = std::fs::read_to_string("/proc/self/status").expect("status");
    assert_eq!(status_field(&outcome.stdout, "CapEff"), status_field(&ours, "CapBnd"));
    assert_eq!(status_field(&outcome.stdout, "CapBnd"), status_field(&ours, "CapBnd"));
    assert_eq!(status_field(&outcome.stdout, "Seccomp"), status_field(&ours, "Seccomp"));
    assert!(outcome.stdout.ends_with("mounted\n"), "{}", outcome.stderr);
}

fn the_filter_refuses(world: &World) {
    // With the capability dropped both ways the kernel would refuse too: `unshare -U` needs none, only the
    // filter stops it.
    let outcome = world.run_alone(&shell("unshare -U true; echo $?"));
    assert_eq!(outcome.stdout, "1\n");
    assert!(outcome.stderr.contains("Operation not permitted"), "{}", outcome.stderr);
    let unconfined = ContainerConfig {
        security_context: security(|security| security.seccomp = SeccompProfile::Unconfined),
        ..shell("unshare -U true; echo $?")
    };
    assert_eq!(world.run_alone(&unconfined).stdout, "0\n");
}

fn three_descriptors(world: &World) {
    // A descriptor of ours without close-on-exec, as a careless library would leave it.
    let leak = std::fs::File::open("/etc").expect("open");
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).expect("fcntl");
    // The fourth is the directory that ls reads.
    assert_eq!(world.run_alone(&command(&["ls", "/proc/self/fd"])).stdout, "0\n1\n2\n3\n");
    let pod = world.usual_pod();
    let container = world.start(&pod, &command(&["sleep", "1000"]));
    assert_eq!(world.exec(&container.id, &["ls", "/proc/self/fd"]), (0, "0\n1\n2\n3\n".to_owned()));
    let (_, of_init) = world.exec(&container.id, &["ls", "/proc/1/fd"]);
    assert_eq!(of_init, "0\n1\n2\n");
    end(world, container);
    world.remove(pod);
}

fn end(world: &World, mut container: runtime::Container) {
    runtime::kill(&world.dirs, &container.id, runtime::signal::KILL, false).expect("kill");
    container.wait().expect("wait");
    runtime::remove_container(&world.dirs, &container.id).expect("remove");
}

const KINDS: [&str; 7] = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"];

fn namespaces_of_self() -> Vec<String> {
    KINDS
        .iter()
        .map(|kind| {
            std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("ns").to_string_lossy().into_owned()
        })
        .collect()
}

fn show_namespaces() -> ContainerConfig {
    shell("for k in mnt pid net ipc uts user cgroup; do readlink /proc/self/ns/$k; done")
}

fn namespaces(world: &World) {
    let pod = world.usual_pod();
    let outcomes = [world.run(&pod, &show_namespaces()), world.run(&pod, &show_namespaces())];
    let [first, second] = outcomes.each_ref().map(support::Outcome::lines);
    let host = namespaces_of_self();
    for (index, kind) in KINDS.iter().enumerate() {
        let own = match *kind {
            "user" => false,
            "cgroup" => hierarchies().is_v2_only(),
            _ => true,
        };
        assert_eq!(first[index] != host[index], own, "{kind} against the node's");
        // mnt and pid of a container that is gone may get its number again.
        if ["net", "ipc", "uts"].contains(kind) {
            assert_eq!(first[index], second[index], "{kind} of one pod");
        }
    }
    assert_eq!(host, namespaces_of_self(), "the supervisor is where it was");
    world.remove(pod);
}

fn a_shared_pid_namespace(world: &World) {
    let pod = world.pod(NamespaceOption { pid: NamespaceMode::Pod, ..usual() });
    let sleeper = world.start(&pod, &command(&["sleep", "1000"]));
    let listing = world.run(&pod, &shell("ps -o pid,comm; kill -0 1; echo $?; (sleep 0.2 &)"));
    assert!(listing.stdout.contains("sleep"), "{}", listing.stdout);
    assert!(listing.stdout.contains(" 1 rhizome-init"), "{}", listing.stdout);
    let secrets = world.run(&pod, &shell("ls /proc/1/fd | wc -l; readlink /proc/1/exe || echo hidden"));
    assert_eq!(secrets.stdout, "0\nhidden\n", "{}", secrets.stderr);
    // The orphan of the second container has been reaped by the pod's pid 1.
    std::thread::sleep(Duration::from_millis(400));
    let (_, zombies) = world.exec(&sleeper.id, &["ps", "-o", "stat,comm"]);
    assert!(!zombies.contains('Z'), "{zombies}");
    end(world, sleeper);
    world.remove(pod);
}

fn the_node_s_namespaces(world: &World) {
    let node = NamespaceMode::Node;
    let pod = world.pod(NamespaceOption { network: node, pid: node, ipc: node });
    let outcome = world.run(&pod, &show_namespaces());
    let host = namespaces_of_self();
    for (index, kind) in KINDS.iter().enumerate().filter(|(_, kind)| **kind != "mnt" && **kind != "cgroup") {
        assert_eq!(outcome.lines()[index], host[index], "{kind}");
    }
    // Without a pid namespace of its own, what a container leaves behind is killed with its first process.
    let outcome = world.run(&pod, &shell("sleep 1000 >/dev/null 2>&1 & exit 3"));
    assert_eq!(outcome.code(), 3);
    reap_all();
    world.remove(pod);
}

/// Takes the exit statuses of orphans that came to us.
fn reap_all() {
    let deadline = Instant::now() + Duration::from_secs(60);
    let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOHANG;
    while Instant::now() < deadline {
        match rustix::process::waitid(rustix::process::WaitId::All, options) {
            Err(Errno::CHILD) => return,
            _ => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    panic!("a child does not end");
}

fn loopback_and_host_name(world: &World) {
    let outcome = world.run_alone(&shell(
        "ifconfig lo; hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls /sys/class/net",
    ));
    assert!(outcome.stdout.contains("127.0.0.1") && outcome.stdout.contains("UP"), "{}", outcome.stdout);
    assert!(outcome.stdout.ends_with("pod-name\n0\nlo\n"), "{}", outcome.stdout);
}

fn variables(world: &World) {
    let mut world = World::at(world.base.clone());
    world.image.config.env = strings(&["FROM_IMAGE=1", "BOTH=image", "nonsense"]);
    let config = ContainerConfig {
        envs: vec![("BOTH".to_owned(), "pod".to_owned()), ("EMPTY".to_owned(), String::new())],
        ..command(&["env"])
    };
    let outcome = world.run_alone(&config);
    let mut lines = outcome.lines();
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(lines, ["BOTH=pod", "EMPTY=", "FROM_IMAGE=1", "HOME=/root", "HOSTNAME=pod-name", path]);
    world.image.config.entrypoint = strings(&["echo", "entry"]);
    world.image.config.cmd = strings(&["image"]);
    assert_eq!(world.run_alone(&ContainerConfig::default()).stdout, "entry image\n");
    let args = ContainerConfig { args: strings(&["own"]), ..ContainerConfig::default() };
    assert_eq!(world.run_alone(&args).stdout, "entry own\n");
    assert_eq!(world.run_alone(&command(&["echo", "all"])).stdout, "all\n");
}

fn users(world: &World) {
    let mut world = World::at(world.base.clone());
    let script = "id -u; id -g; id -G; echo $HOME; echo x > /dev/stdout; (cd /root && touch x) 2>/dev/null || echo refused";
    let check = |world: &World, security_context, expected: &str| {
        let config = ContainerConfig { security_context, ..shell(script) };
        assert_eq!(world.run_alone(&config).stdout, expected);
    };
    check(&world, security(|_| ()), "0\n0\n0\n/root\nx\n");
    std::fs::set_permissions(world.image_path("root"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("chmod");
    world.image.config.user = "www".to_owned();
    check(&world, security(|_| ()), "33\n34\n34 77\n/var/www\nx\nrefused\n");
    let asked = security(|security| {
        security.run_as_user = Some(1000);
        security.run_as_group = Some(2000);
        security.supplemental_groups = vec![3000];
    });
    check(&world, asked, "1000\n2000\n2000 3000\n/\nx\nrefused\n");
    world.image.config.user = "nobody".to_owned();
    let pod = world.usual_pod();
    let error = pod.create_container(&shell("true"), &world.image).expect_err("no such user");
    assert!(
        chain(&error).ends_with("unable to find user nobody: no matching entries in passwd file"),
        "{}",
        chain(&error)
    );
    world.remove(pod);
}

fn sysctls(world: &World) {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/{name}")).expect("sysctl");
    let host = [read("net/ipv4/ip_local_port_range"), read("kernel/shmmni")];
    let sysctls = [("net.ipv4.ip_local_port_range", "2000 3000"), ("kernel.shmmni", "17")];
    let sysctls = sysctls.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = |sysctls| PodSandboxConfig { sysctls, ..world.pod_config(usual()) };
    let pod = runtime::Sandbox::run(&world.dirs, config(sysctls.into())).expect("sandbox");
    let show = "cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shmmni";
    assert_eq!(world.run(&pod, &shell(show)).stdout, "2000\t3000\n17\n");
    assert_eq!([read("net/ipv4/ip_local_port_range"), read("kernel/shmmni")], host);
    world.remove(pod);
    for (name, value, words) in [
        ("net.ipv4.no_such_thing", "1", "No such file"),
        ("kernel.shmmni", "many", "Invalid argument"),
        ("net.//.kernel.hostname", "x", "is no kernel parameter"),
    ] {
        let wrong = config([(name.to_owned(), value.to_owned())].into());
        let error = runtime::Sandbox::run(&world.dirs, wrong).expect_err(name);
        assert!(chain(&error).contains(words), "{}", chain(&error));
        world.check_nothing_left();
    }
}

/// A program of 32 bits that writes "32", tries mount(2) and ends with the errno of that.
fn thirty_two_bit_program() -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    let code_at = 52 + 32;
    let mut code = vec![0xb8, 4, 0, 0, 0, 0xbb, 1, 0, 0, 0, 0xb9];
    let text_at = BASE + code_at + 11 + 4 + 7 + 7 + 2 + 2 + 5 + 2;
    code.extend(text_at.to_le_bytes());
    code.extend([0xba, 3, 0, 0, 0, 0xcd, 0x80]); // write(1, text, 3)
    code.extend([0xb8, 21, 0, 0, 0, 0xcd, 0x80]); // mount(…)
    code.extend([0xf7, 0xd8, 0x89, 0xc3, 0xb8, 1, 0, 0, 0, 0xcd, 0x80]); // exit(-result)
    code.extend(b"32\n");
    let mut program =
        vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 1, 0, 0, 0];
    for word in [BASE + code_at, 52, 0, 0] {
        program.extend(word.to_le_bytes());
    }
    for half in [52u16, 32, 1, 0, 0, 0] {
        program.extend(half.to_le_bytes());
    }
    let size = code_at + code.len() as u32;
    for word in [1, 0, BASE, BASE, size, size, 5, 0x1000] {
        program.extend(word.to_le_bytes());
    }
    program.extend(code);
    program
}

fn thirty_two_bit_programs(world: &World) {
    let path = world.image_path("bin/small");
    std::fs::write(&path, thirty_two_bit_program()).expect("write");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    if Command::new(&path).output().is_err() {
        println!("  SKIPPED: this kernel runs no 32-bit programs");
        return;
    }
    let outcome = world.run_alone(&command(&["small"]));
    assert_eq!((outcome.stdout.as_str(), outcome.code()), ("32\n", Errno::PERM.raw_os_error()));
}

fn a_filter_of_the_user_s(world: &World) {
    let folder = world.dirs.seccomp_profiles();
    std::fs::create_dir_all(folder.join("below")).expect("mkdir");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]}"#;
    std::fs::write(folder.join("below/mine.json"), profile).expect("write");
    std::fs::write(folder.join("bad.json"), "{}").expect("write");
    let with = |file: &str, script: &str| ContainerConfig {
        security_context: security(|security| security.seccomp = SeccompProfile::Localhost(file.to_owned())),
        ..shell(script)
    };
    let pod = world.usual_pod();
    let script = "mkdir /x; kill -10 $$; kill -0 $$ && echo alive; grep Seccomp: /proc/self/status";
    let outcome = world.run(&pod, &with("below/mine.json", script));
    assert_eq!(outcome.stdout, "alive\nSeccomp:\t2\n");
    assert!(
        outcome.stderr.contains("No space left") && outcome.stderr.contains("not permitted"),
        "{}",
        outcome.stderr
    );
    let sleeper = world.start(&pod, &with("below/mine.json", "exec sleep 1000"));
    let (_, said) = world.exec(&sleeper.id, &["mkdir", "/y"]);
    assert!(said.contains("No space left"), "{said}");
    end(world, sleeper);
    for (file, words) in [("none.json", "No such file"), ("bad.json", "defaultAction")] {
        let error = pod.create_container(&with(file, "true"), &world.image).expect_err(file);
        let said = chain(&error);
        assert!(said.contains("cannot load seccomp profile") && said.contains(words), "{said}");
    }
    world.remove(pod);
}

fn app_armor_where_there_is_none(world: &World) {
    if Path::new("/sys/module/apparmor").exists() {
        println!("  SKIPPED: this kernel has AppArmor");
        return;
    }
    let pod = world.usual_pod();
    let with = |apparmor| ContainerConfig {
        security_context: security(|security| security.apparmor = apparmor),
        ..shell("true")
    };
    let error =
        pod.create_container(&with(AppArmorProfile::RuntimeDefault), &world.image).expect_err("a profile");
    assert!(chain(&error).contains("AppArmor is not enabled on the host"), "{}", chain(&error));
    assert_eq!(world.run(&pod, &with(AppArmorProfile::Unconfined)).code(), 0);
    world.remove(pod);
}

/// The label that each choice gives, to the container and to what is executed in it, and that it confines.
fn app_armor_where_it_is(world: &World) {
    const NAMES: [&str; 2] = ["rhizome-test", "rhizome-default"];
    let on =
        std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"));
    let parser = ["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join("apparmor_parser"));
    let Some(parser) = parser.iter().find(|path| on && path.exists()) else {
        println!("  app_armor_where_it_is: SKIPPED, no AppArmor on this kernel, or no apparmor_parser");
        return;
    };
    let loaded = std::fs::read_to_string("/sys/kernel/security/apparmor/profiles").expect("profiles");
    if NAMES.iter().any(|name| loaded.contains(name)) {
        println!("  app_armor_where_it_is: SKIPPED, this machine has profiles of these names");
        return;
    }
    let rules = |name: &str| {
        format!(
            "profile {name} flags=(attach_disconnected,mediate_deleted) {{\n network,\n capability,\n file,\n mount,\n \
             umount,\n signal,\n ptrace,\n unix,\n deny /tmp/{name} w,\n}}\n"
        )
    };
    let parse = |how: &str, name: &str| {
        let mut child = Command::new(parser)
            .args(["-q", "-K", how])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("apparmor_parser");
        std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), rules(name).as_bytes())
            .expect("write");
        assert!(child.wait().expect("wait").success(), "{how} {name}");
    };
    NAMES.iter().for_each(|name| parse("-r", name));
    let pod = world.usual_pod();
    let script = "for name in rhizome-test rhizome-default; do \
        (echo x > /tmp/$name) 2>/dev/null && echo wrote $name; done; true";
    let with = |apparmor| ContainerConfig {
        security_context: security(|security| security.apparmor = apparmor),
        ..command(&["sleep", "1000"])
    };
    let table = [
        (AppArmorProfile::Localhost("rhizome-test".to_owned()), "rhizome-test (enforce)", "rhizome-default"),
        (AppArmorProfile::RuntimeDefault, "rhizome-default (enforce)", "rhizome-test"),
        (AppArmorProfile::Unset, "rhizome-default (enforce)", "rhizome-test"),
        (AppArmorProfile::Unconfined, "unconfined", "rhizome-test rhizome-default"),
    ];
    for (profile, label, writes) in table {
        let mut container = world.start(&pod, &with(profile.clone()));
        let seen = world.exec(&container.id, &["cat", "/proc/1/attr/current", "/proc/self/attr/current"]).1;
        assert_eq!(seen, format!("{label}\n{label}\n"), "{profile:?}");
        let (code, said) = world.exec(&container.id, &["sh", "-c", script]);
        let expected: String = writes.split(' ').map(|name| format!("wrote {name}\n")).collect();
        assert_eq!((code, said), (0, expected), "{profile:?}");
        runtime::kill(&world.dirs, &container.id, runtime::signal::KILL, true).expect("kill");
        container.wait().expect("wait");
        runtime::remove_container(&world.dirs, &container.id).expect("remove");
    }
    let unknown = AppArmorProfile::Localhost("rhizome-nosuch".to_owned());
    let error = pod.create_container(&with(unknown), &world.image).expect_err("no such profile");
    assert!(chain(&error).contains("apparmor profile not found rhizome-nosuch"), "{}", chain(&error));
    NAMES.iter().for_each(|name| parse("-R", name));
    world.remove(pod);
}

fn a_hostile_passwd(world: &World) {
    let pod = world.usual_pod();
    let passwd = world.image_path("etc/passwd");
    let refused = |error: Errno| {
        let result = pod.create_container(&shell("true"), &world.image);
        let Err(Error::Child { source, .. }) = result else { panic!("{result:?}") };
        assert_eq!((source.step, source.errno), (runtime::Step::User, Some(error.raw_os_error())));
        std::fs::remove_file(&passwd).expect("remove");
    };
    std::fs::remove_file(&passwd).expect("remove");
    rustix::fs::mknodat(rustix::fs::CWD, &passwd, rustix::fs::FileType::Fifo, 0o644.into(), 0)
        .expect("mkfifo");
    assert!(std::fs::metadata(&passwd).expect("stat").file_type().is_fifo());
    refused(Errno::INVAL);
    std::os::unix::fs::symlink("/proc/self/fd/3", &passwd).expect("symlink");
    refused(Errno::LOOP);
    std::fs::File::create(&passwd).and_then(|file| file.set_len(1 << 40)).expect("sparse");
    refused(Errno::FBIG);
    // None at all is no reason not to run as root.
    assert_eq!(world.run(&pod, &shell("id -u")).stdout, "0\n");
    world.remove(pod);
}

fn working_directories(world: &World) {
    let mut world = World::at(world.base.clone());
    world.image.config.working_dir = "/tmp".to_owned();
    assert_eq!(world.run_alone(&command(&["pwd"])).stdout, "/tmp\n");
    let at = |dir: &str| ContainerConfig { working_dir: dir.to_owned(), ..command(&["pwd"]) };
    assert_eq!(world.run_alone(&at("/not/there/yet")).stdout, "/not/there/yet\n");
    let pod = world.usual_pod();
    // CVE-2024-21626: a descriptor of ours as the working directory. Those that there are lead to no
    // directory.
    for number in 0..32 {
        let result = pod.create_container(&at(&format!("/proc/self/fd/{number}")), &world.image);
        let Err(Error::Child { source, .. }) = result else { panic!("{number}: {result:?}") };
        assert_eq!(source.step, runtime::Step::WorkingDirectory, "{number}");
    }
    let result = pod.create_container(&at("/etc/passwd"), &world.image);
    assert!(
        chain(&result.expect_err("a file"))
            .ends_with("enter the working directory /etc/passwd: Not a directory (os error 20)")
    );
    world.remove(pod);
}

fn a_terminal(world: &World) {
    let config = ContainerConfig {
        tty: true,
        ..shell(
            "tty; test -t 0 && test -t 1 && test -t 2 && echo terminal; echo $TERM; ls /proc/self/fd; echo hello > /dev/console; stat -c %t,%T /dev/console",
        )
    };
    let outcome = world.run_alone(&config);
    assert_eq!(outcome.stdout, "/dev/pts/0\r\nterminal\r\nxterm\r\n0  1  2  3\r\nhello\r\n88,0\r\n");
    assert_eq!(outcome.code(), 0);
    // The terminal is the controlling one: Ctrl-C reaches what runs on it.
    let pod = world.usual_pod();
    let config = ContainerConfig {
        tty: true,
        ..shell("trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done")
    };
    let mut container = world.start(&pod, &config);
    let Io::Terminal { master } = &container.io else { panic!("no terminal") };
    // A terminal may give a line in pieces.
    let mut said = Vec::new();
    while !said.ends_with(b"\n") {
        let mut buffer = [0u8; 64];
        let count = rustix::io::read(master, &mut buffer).expect("read");
        said.extend_from_slice(&buffer[..count]);
    }
    assert_eq!(said, b"ready\r\n");
    rustix::io::write(master, b"\x03").expect("write");
    let outcome = finish(&mut container);
    assert!(outcome.stdout.contains("caught"), "{}", outcome.stdout);
    assert_eq!(outcome.code(), 5);
    world.remove(pod);
}

fn stdin(world: &World) {
    assert_eq!(world.run_alone(&command(&["cat"])).stdout, "");
    let pod = world.usual_pod();
    let mut container = world.start(&pod, &ContainerConfig { stdin: true, ..command(&["cat"]) });
    let Io::Pipes { stdin, .. } = &mut container.io else { panic!("a terminal") };
    rustix::io::write(stdin.take().expect("stdin"), b"words\n").expect("write");
    assert_eq!(finish(&mut container).stdout, "words\n");
    world.remove(pod);
}

fn exec_is_like_the_container(world: &World) {
    let pod = world.usual_pod();
    let script = "for k in mnt pid net ipc uts user cgroup; do readlink /proc/self/ns/$k; done; \
        grep -E '^(Cap|Seccomp:|NoNew|Uid|Gid|Groups)' /proc/self/status; cat /proc/self/cgroup; env | grep -v SHLVL | sort; pwd; cat /proc/self/oom_score_adj";
    let config = ContainerConfig {
        envs: vec![("A".to_owned(), "b c".to_owned())],
        working_dir: "/tmp".to_owned(),
        security_context: security(|security| {
            security.run_as_user = Some(33);
            security.no_new_privs = true;
        }),
        resources: LinuxContainerResources { oom_score_adj: 500, ..LinuxContainerResources::default() },
        ..shell(&format!("{script}; exec sleep 1000"))
    };
    let mut container = world.start(&pod, &config);
    // It says the same as the container, which is killed below and must have said it by then.
    let comm = format!("/proc/{}/comm", container.pid.as_raw_nonzero());
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while std::fs::read_to_string(&comm).expect("comm") != "sleep\n" {
        assert!(std::time::Instant::now() < end, "the container's script does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (code, of_exec) = world.exec(&container.id, &["sh", "-c", script]);
    assert_eq!(code, 0);
    assert_eq!(world.exec(&container.id, &["sh", "-c", "exit 7"]).0, 7);
    assert_eq!(world.exec(&container.id, &["sh", "-c", "kill -9 $$"]).0, 137);
    runtime::kill(&world.dirs, &container.id, runtime::signal::KILL, false).expect("kill");
    let of_container = finish(&mut container).stdout;
    assert_eq!(of_exec, of_container);
    assert!(of_exec.ends_with("A=b c\nHOME=/var/www\nHOSTNAME=pod-name\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/tmp\n/tmp\n500\n"), "{of_exec}");
    world.remove(pod);
}

fn exec_on_a_terminal(world: &World) {
    let pod = world.usual_pod();
    let container = world.start(&pod, &command(&["sleep", "1000"]));
    let null = std::fs::File::open("/dev/null").expect("null");
    let stdio = ExecStdio { stdin: None, stdout: null.as_fd(), stderr: null.as_fd() };
    let script = "tty; echo $TERM; ls /proc/self/fd; exit 9";
    let config = ExecConfig { command: strings(&["sh", "-c", script]), tty: true, ..ExecConfig::default() };
    let process = runtime::exec(&world.dirs, &container.id, &config, stdio)
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let output = read_all(process.terminal.as_ref().expect("terminal").try_clone().expect("dup"));
    assert_eq!(output, "/dev/pts/0\r\nxterm\r\n0  1  2  3\r\n");
    assert_eq!(process.wait().expect("wait"), 9);
    end(world, container);
    world.remove(pod);
}

fn exec_that_cannot_be(world: &World) {
    let pod = world.usual_pod();
    let mut container = world.create(&pod, &command(&["sleep", "1000"]));
    let null = std::fs::File::open("/dev/null").expect("null");
    let stdio = ExecStdio { stdin: None, stdout: null.as_fd(), stderr: null.as_fd() };
    let try_to = |id: &str, command: &[&str]| {
        let config = ExecConfig { command: strings(command), ..ExecConfig::default() };
        runtime::exec(&world.dirs, id, &config, stdio).expect_err("exec")
    };
    assert!(matches!(try_to(&container.id, &["true"]), Error::WrongState { .. }));
    container.start().expect("start");
    let error = try_to(&container.id, &["foo"]);
    assert!(matches!(error, Error::Execute { exit_code: 127, .. }), "{error:?}");
    assert_eq!(error.to_string(), "exec: \"foo\": executable file not found in $PATH");
    assert!(matches!(try_to(&container.id, &["/etc/plain"]), Error::Execute { exit_code: 126, .. }));
    assert!(matches!(try_to(&container.id, &[]), Error::Config { .. }));
    assert!(matches!(try_to("nonsense", &["true"]), Error::NotFound { .. }));
    assert!(matches!(try_to("../x", &["true"]), Error::NotFound { .. }));
    let id = container.id.clone();
    end(world, container);
    assert!(matches!(try_to(&id, &["true"]), Error::NotFound { .. }));
    world.remove(pod);
}

fn cgroups_and_limits(world: &World) {
    let pod = world.usual_pod();
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 64 << 20,
        cpu_shares: 512,
        cpu_quota: 50_000,
        cpu_period: 100_000,
        ..LinuxContainerResources::default()
    };
    let config = ContainerConfig { resources, ..command(&["sleep", "1000"]) };
    let mut container = world.start(&pod, &config);
    let cgroup = runtime::cgroup::Cgroup::at(&hierarchies(), &container.record().cgroup).expect("cgroup");
    let pid = container.pid.as_raw_nonzero().get();
    assert_eq!(cgroup.pids().expect("pids"), [pid]);
    let directories: Vec<PathBuf> = cgroup.directories().map(|(_, dir)| dir).collect();
    for dir in &directories {
        let procs = std::fs::read_to_string(dir.join("cgroup.procs")).expect("cgroup.procs");
        assert_eq!(procs, format!("{pid}\n"), "{}", dir.display());
    }
    let read = |v1: &str, v2: &str| {
        let found = directories
            .iter()
            .flat_map(|dir| [dir.join(v1), dir.join(v2)])
            .find_map(|path| std::fs::read_to_string(path).ok());
        found.unwrap_or_else(|| panic!("neither {v1} nor {v2}")).trim().to_owned()
    };
    assert_eq!(read("memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert!(["512", "20"].contains(&read("cpu.shares", "cpu.weight").as_str()));
    assert!(["50000", "50000 100000"].contains(&read("cpu.cfs_quota_us", "cpu.max").as_str()));
    let (code, view) = world.exec(&container.id, &["cat", "/proc/self/cgroup"]);
    let own = if hierarchies().is_v2_only() { "/" } else { container.record().cgroup.as_str() };
    assert!(code == 0 && view.lines().all(|line| line.ends_with(&format!(":{own}"))), "{view}");
    runtime::kill(&world.dirs, &container.id, runtime::signal::KILL, true).expect("kill");
    assert_eq!(finish(&mut container).code(), 137);
    world.remove(pod);
}

fn out_of_memory(world: &World) {
    let resources =
        LinuxContainerResources { memory_limit_in_bytes: 16 << 20, ..LinuxContainerResources::default() };
    let config = ContainerConfig {
        resources,
        ..command(&["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"])
    };
    let outcome = world.run_alone(&config);
    assert_eq!((outcome.code(), outcome.exit.oom_killed), (137, true));
    assert!(!world.run_alone(&command(&["true"])).exit.oom_killed);
}

fn devices(world: &World) {
    let script = "mknod /tmp/kmsg c 1 11 && dd if=/tmp/kmsg of=/dev/null count=1 bs=8192 2>/dev/null; echo $?; head -c 1 /dev/urandom > /dev/null; echo $?";
    let outcome = world.run_alone(&shell(script));
    if hierarchies().0.is_empty() {
        println!("  devices: SKIPPED, no cgroups");
    } else {
        assert_eq!(outcome.stdout, "1\n0\n", "{}", outcome.stderr);
    }
    let config = ContainerConfig {
        security_context: security(|security| security.privileged = true),
        ..shell(script)
    };
    assert_eq!(world.run_alone(&config).stdout, "0\n0\n");
}

fn devices_by_program(world: &World) {
    use runtime::cgroup::{Cgroup, Devices, Hierarchies, Limits, Version};
    let only_v2 = hierarchies().0.into_iter().filter(|hierarchy| hierarchy.version == Version::V2).collect();
    let only_v2 = Hierarchies(only_v2);
    if only_v2.0.is_empty() {
        println!("  devices_by_program: SKIPPED, no version 2 hierarchy");
        return;
    }
    let cgroup = Cgroup::at(&only_v2, &world.cgroup_parent).expect("cgroup");
    cgroup.create().expect("create");
    let open_in = |devices| {
        cgroup
            .limit(&Limits { devices, ..Limits::default() })
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        let entrance = cgroup.entrance().expect("entrance");
        let child = spawn(Namespaces::empty(), entrance.v2.as_ref().map(AsFd::as_fd), || {
            let denied = |path| {
                let error = std::fs::File::open(path).err().and_then(|error| error.raw_os_error());
                i32::from(error == Some(Errno::PERM.raw_os_error()))
            };
            exit(2 * denied("/dev/kmsg") + denied("/dev/null"))
        })
        .expect("spawn");
        let status = rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty());
        status.expect("wait").and_then(|(_, status)| status.exit_status())
    };
    assert_eq!(open_in(Devices::All), Some(0));
    assert_eq!(open_in(Devices::Usual), Some(2));
    cgroup.kill_and_remove().expect("remove");
    cgroup.parent().expect("parent").remove_if_empty();
}

/// The first pods of a machine come at once: one makes a cgroup and is not done with it when the next already makes its own
/// below.
fn controllers_reach_below_what_was_only_made(world: &World) {
    use runtime::cgroup::{Cgroup, Hierarchies, Version};
    let offers = |hierarchy: &runtime::cgroup::Hierarchy| {
        hierarchy.version == Version::V2 && !hierarchy.controllers.is_empty()
    };
    let v2 = Hierarchies(hierarchies().0.into_iter().filter(offers).collect());
    let Some(hierarchy) = v2.0.first() else {
        println!(
            "  controllers_reach_below_what_was_only_made: SKIPPED, no version 2 hierarchy with controllers"
        );
        return;
    };
    let parent = format!("{}/made/only", world.cgroup_parent);
    let folder = hierarchy.mount_point.join(&parent[1..]);
    std::fs::create_dir_all(&folder).expect("make cgroups");
    let cgroup = Cgroup::at(&v2, &format!("{parent}/new")).expect("cgroup");
    cgroup.create().unwrap_or_else(|error| panic!("{}", chain(&error)));
    let offered = std::fs::read_to_string(folder.join("new/cgroup.controllers")).expect("read");
    let offered: Vec<&str> = offered.split_ascii_whitespace().collect();
    let lacks: Vec<_> =
        hierarchy.controllers.iter().filter(|name| !offered.contains(&name.as_str())).collect();
    assert!(lacks.is_empty(), "{lacks:?}");
    cgroup.remove().expect("remove");
    let mut above = cgroup.parent();
    while let Some(cgroup) = above.filter(Cgroup::remove_if_empty) {
        above = cgroup.parent();
    }
}

fn oom_scores_are_clamped(world: &World) {
    let pod = world.usual_pod();
    let score = |wanted| {
        let resources =
            LinuxContainerResources { oom_score_adj: wanted, ..LinuxContainerResources::default() };
        let mut container = world
            .start(&pod, &ContainerConfig { resources, ..command(&["cat", "/proc/self/oom_score_adj"]) });
        (container.warnings.len(), finish(&mut container).stdout)
    };
    assert_eq!(score(300), (0, "300\n".to_owned()));
    let bounding = runtime::capability::read_bounding_set().expect("bounding");
    if bounding.contains(rustix::thread::CapabilitySet::SYS_RESOURCE) {
        assert_eq!(score(-998), (0, "-998\n".to_owned()));
    } else {
        let ours = std::fs::read_to_string("/proc/self/oom_score_adj").expect("score");
        assert_eq!(score(-998), (1, ours));
    }
    world.remove(pod);
}

fn stopping(world: &World) {
    let pod = world.usual_pod();
    let stop = |script: &str, grace: u64| {
        let mut container =
            world.start(&pod, &shell(&format!("{script}; echo ready; while :; do sleep 0.02; done")));
        let Io::Pipes { stdout, .. } = &container.io else { panic!("a terminal") };
        rustix::io::read(stdout, &mut [0u8; 16]).expect("read");
        let by_itself =
            runtime::stop_container(&world.dirs, &container.id, Duration::from_millis(grace)).expect("stop");
        (by_itself, container.wait().expect("wait").code)
    };
    assert_eq!(stop("trap 'exit 3' TERM", 5000), (true, Some(3)));
    assert_eq!(stop("trap '' TERM", 100), (false, Some(137)));
    assert_eq!(stop(":", 0), (false, Some(137)));
    world.remove(pod);
}

fn signals_from_outside(world: &World) {
    let pod = world.usual_pod();
    let mut container =
        world.start(&pod, &shell("trap 'exit 4' 34; echo ready; while :; do sleep 0.02; done"));
    let Io::Pipes { stdout, .. } = &container.io else { panic!("a terminal") };
    rustix::io::read(stdout, &mut [0u8; 16]).expect("read");
    let signal = runtime::signal::parse("SIGRTMIN").expect("signal");
    runtime::kill(&world.dirs, &container.id, signal, false).expect("kill");
    let exit = container.wait().expect("wait");
    assert_eq!(exit.code, Some(4));
    // To one that has ended, and to one that is not there.
    runtime::kill(&world.dirs, &container.id, 15, false).expect("kill");
    assert!(matches!(runtime::kill(&world.dirs, "0", 15, false), Err(Error::NotFound { .. })));
    world.remove(pod);
}

fn removing_a_running_container(world: &World) {
    let pod = world.usual_pod();
    let script = "mkdir -p /a/b/c; echo x > /a/b/c/d; (sleep 1000 &) ; (sleep 1000 &) ; exec sleep 1000";
    let mut container = world.start(&pod, &shell(script));
    std::thread::sleep(Duration::from_millis(100));
    runtime::remove_container(&world.dirs, &container.id)
        .unwrap_or_else(|error| panic!("remove: {}", chain(&error)));
    // Its parent still learns how it ended.
    assert_eq!(container.wait().expect("wait").code, Some(137));
    world.remove(pod);
}

/// A supervisor in a process of its own: makes a pod and a container, says the container's id, and does as it
/// is told.
fn supervisor(what: &str) -> ! {
    let world = World::at(PathBuf::from("/media"));
    let (namespaces, config) = match what {
        "volumes" => (NamespaceOption { pid: NamespaceMode::Node, ..usual() }, with_volumes(&world)),
        _ => (usual(), command(&["sleep", "1000"])),
    };
    let pod = match runtime::Sandbox::run(&world.dirs, world.pod_config(namespaces)) {
        Ok(pod) => pod,
        Err(error) => fail(&error),
    };
    let mut container = match pod.create_container(&config, &world.image) {
        Ok(container) => container,
        Err(error) => fail(&error),
    };
    if what != "created"
        && let Err(error) = container.start()
    {
        fail(&error);
    }
    println!("{}", container.id);
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn fail(error: &dyn std::error::Error) -> ! {
    println!("failed: {}", chain(error));
    std::process::exit(3)
}

/// The host's volume in each mode that receives, with a mount of the container's own below each.
fn with_volumes(world: &World) -> ContainerConfig {
    let mount = |host: &str, container: &str, propagation| Mount {
        host_path: world.base.join(host),
        container_path: PathBuf::from(container),
        propagation,
        ..Mount::default()
    };
    let mounts = vec![
        mount("vol", "/received", MountPropagation::HostToContainer),
        mount("own", "/received/own", MountPropagation::Private),
        mount("vol", "/both", MountPropagation::Bidirectional),
        mount("own", "/both/own", MountPropagation::Private),
    ];
    ContainerConfig { mounts, ..command(&["sleep", "1000"]) }
}

/// Starts a supervisor; its first line, and the process.
fn start_supervisor(what: &str, fault: &str) -> (String, std::process::Child) {
    let mut child = spawn_supervisor(what, fault);
    let line = first_line(&mut child);
    (line, child)
}

fn first_line(supervisor: &mut std::process::Child) -> String {
    let mut line = String::new();
    let stdout = supervisor.stdout.take().expect("stdout");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("read");
    line.trim().to_owned()
}

fn spawn_supervisor(what: &str, fault: &str) -> std::process::Child {
    Command::new(std::env::current_exe().expect("exe"))
        .args([SUPERVISOR, what])
        .env("RHIZOME_FAULT", fault)
        .env(CGROUP_TOP, cgroup_top())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("supervisor")
}

fn remove_everything(world: &World) {
    for id in runtime::list_sandboxes(&world.dirs).expect("list") {
        runtime::remove_sandbox(&world.dirs, &id).unwrap_or_else(|error| panic!("remove: {}", chain(&error)));
    }
    for id in runtime::list_containers(&world.dirs).expect("list") {
        runtime::remove_container(&world.dirs, &id)
            .unwrap_or_else(|error| panic!("remove: {}", chain(&error)));
    }
    reap_all();
}

fn a_supervisor_that_is_killed_later(world: &World) {
    let (id, mut child) = start_supervisor("started", "");
    child.kill().expect("kill");
    child.wait().expect("wait");
    assert_eq!(runtime::status(&world.dirs, &id).expect("status").status, Status::Running);
    assert_eq!(world.exec(&id, &["echo", "still here"]), (0, "still here\n".to_owned()));
    runtime::kill(&world.dirs, &id, runtime::signal::KILL, false).expect("kill");
    let deadline = Instant::now() + Duration::from_secs(60);
    let exit = loop {
        let record = runtime::status(&world.dirs, &id).expect("status");
        if record.status == Status::Exited {
            break record.exit.expect("exit");
        }
        assert!(Instant::now() < deadline, "still {:?}", record.status);
        std::thread::sleep(Duration::from_millis(5));
    };
    // While nobody has waited for it, /proc still tells how it ended.
    assert!(exit.code.is_none_or(|code| code == 137), "{exit:?}");
    reap_all();
    let exit = runtime::status(&world.dirs, &id).expect("status").exit.expect("exit");
    assert_eq!((exit.code, exit.at), (None, None));
    remove_everything(world);
    world.check_nothing_left();
}

fn a_supervisor_that_is_killed_before_the_start(world: &World) {
    let (id, mut child) = start_supervisor("created", "");
    assert_eq!(runtime::status(&world.dirs, &id).expect("status").status, Status::Created);
    child.kill().expect("kill");
    child.wait().expect("wait");
    // Its first process sees that nobody can start it any more.
    reap_all();
    assert_eq!(runtime::status(&world.dirs, &id).expect("status").status, Status::Exited);
    remove_everything(world);
    world.check_nothing_left();
}

/// Every point that a sandbox with one container passes, but `sandbox.record`: what is left there is found by an id that
/// was written down before, as `agent` does and tests.
const POINTS: &[&str] = &[
    "sandbox.state",
    "sandbox.cgroup",
    "cgroup.create",
    "sandbox.namespaces",
    "sandbox.shm",
    "create.state",
    "create.cgroup",
    "cgroup.limit",
    "create.mounts.prepare",
    "create.clone",
    "child.process",
    "child.cgroup",
    "child.namespaces",
    "child.mounts",
    "mounts.unshare",
    "child.user",
    "child.cwd",
    "child.capabilities",
    "child.ready",
    "create.mounts.verify",
    "create.record",
    "start.record",
    "start.go",
    "child.execute",
];

fn every_fault_leaves_nothing(world: &World) {
    if !cfg!(debug_assertions) {
        println!("  faults: SKIPPED, there are no fault points in a release build");
        return;
    }
    for point in POINTS {
        for action in ["error", "kill"] {
            let (line, mut child) = start_supervisor("started", &format!("{point}:{action}"));
            if line.len() == 64 {
                // A first process that dies in its last step is a container that has ended.
                assert_eq!((*point, action), ("child.execute", "kill"), "not passed");
                child.kill().expect("kill");
                child.wait().expect("wait");
            } else if action == "error" {
                assert!(line.starts_with("failed: "), "{point}: {line:?}");
                assert_eq!(child.wait().expect("wait").code(), Some(3), "{point}");
            } else {
                let _ = child.wait().expect("wait");
            }
            for id in runtime::list_containers(&world.dirs).expect("list") {
                let status = runtime::status(&world.dirs, &id).expect("status").status;
                let truthful = status != Status::Running
                    || runtime::status(&world.dirs, &id).is_ok_and(|r| r.init.is_some());
                assert!(truthful, "{point}:{action}: {status:?}");
            }
            remove_everything(world);
            world.check_nothing_left();
        }
    }
}

/// Every point that the end of a running container and its sandbox passes.
const END_POINTS: &[&str] = &[
    "exec.open",
    "exec.clone",
    "stop",
    "stop.kill",
    "remove.cgroup",
    "cgroup.kill",
    "remove.data",
    "remove.state",
    "sandbox.remove.cgroup",
    "sandbox.remove.shm",
    "sandbox.remove.state",
];

/// Stops and removes all that there is, as a command does after the supervisor's death.
fn remover() -> ! {
    let world = World::at(PathBuf::from("/media"));
    let end = || -> runtime::Result<()> {
        for id in runtime::list_containers(&world.dirs)? {
            let null = std::fs::File::open("/dev/null").expect("null");
            let stdio = ExecStdio { stdin: None, stdout: null.as_fd(), stderr: null.as_fd() };
            let config = ExecConfig { command: strings(&["true"]), ..ExecConfig::default() };
            runtime::exec(&world.dirs, &id, &config, stdio)?.wait()?;
            // What was stopped has not to be killed.
            if !std::env::var("RHIZOME_FAULT").is_ok_and(|fault| fault.starts_with("cgroup.kill")) {
                runtime::stop_container(&world.dirs, &id, Duration::from_millis(1))?;
            }
        }
        for id in runtime::list_sandboxes(&world.dirs)? {
            runtime::remove_sandbox(&world.dirs, &id)?;
        }
        Ok(())
    };
    match end() {
        Ok(()) => std::process::exit(0),
        Err(error) => fail(&error),
    }
}

fn every_fault_at_the_end_can_be_mended(world: &World) {
    if !cfg!(debug_assertions) {
        println!("  faults: SKIPPED, there are no fault points in a release build");
        return;
    }
    for point in END_POINTS {
        for action in ["error", "kill"] {
            let (id, mut child) = start_supervisor("started", "");
            assert_eq!(id.len(), 64, "{id}");
            child.kill().expect("kill");
            child.wait().expect("wait");
            let remove = |fault: &str| {
                let mut command = Command::new(std::env::current_exe().expect("exe"));
                command.arg(REMOVER).env("RHIZOME_FAULT", fault).env(CGROUP_TOP, cgroup_top());
                command.output().expect("remover").status.code()
            };
            let expected = if action == "error" { Some(3) } else { None };
            assert_eq!(remove(&format!("{point}:{action}")), expected, "{point}:{action}");
            remove_everything(world);
            world.check_nothing_left();
        }
    }
}

/// The child of a supervisor that has stopped itself at a fault point.
fn stopped_child(supervisor: u32) -> rustix::process::Pid {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
        for pid in children.expect("children").split_whitespace() {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            if status.contains("State:\tT") {
                return rustix::process::Pid::from_raw(pid.parse().expect("a pid")).expect("a pid");
            }
        }
        assert!(Instant::now() < deadline, "no child of {supervisor} stops");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The kernel tells of every mount that comes or goes in the host's namespace, however short it is there: while a
/// container with mounts below its volumes is made, started and removed there is none.
fn the_host_hears_of_no_mount(world: &World) {
    use sys::fanotify::{MountEvent, MountEvents};
    let events = match MountEvents::new() {
        Ok(events) => events,
        Err(errno) => {
            println!("  the_host_hears_of_no_mount: SKIPPED, no fanotify for mounts (Linux 6.15): {errno}");
            return;
        }
    };
    for directory in ["vol/own", "own", "probe"] {
        std::fs::create_dir_all(world.base.join(directory)).expect("mkdir");
    }
    let volume = world.base.join("vol");
    rustix::mount::mount_bind(&volume, &volume).expect("bind");
    rustix::mount::mount_change(&volume, MountPropagationFlags::SHARED).expect("share");
    // With its `/dev/shm`, which is on the host; no other mount of the sandbox is.
    let pod = world.usual_pod();
    events.add(std::fs::File::open("/proc/self/ns/mnt").expect("ns").as_fd()).expect("mark");
    let heard = || {
        let (mut buffer, mut heard) = (vec![0u8; 64 << 10], Vec::new());
        while events.read(&mut buffer, &mut heard).expect("read") {}
        heard
    };
    for _ in 0..5 {
        let mut container = world.start(&pod, &with_volumes(world));
        let (code, table) = world.exec(&container.id, &["cat", "/proc/self/mountinfo"]);
        assert_eq!(code, 0);
        assert!(table.contains(" /both/own ") && table.contains(" /received/own "), "{table}");
        runtime::kill(&world.dirs, &container.id, runtime::signal::KILL, true).expect("kill");
        container.wait().expect("wait");
        runtime::remove_container(&world.dirs, &container.id).expect("remove");
        let heard: Vec<MountEvent> = heard();
        assert!(heard.is_empty(), "{heard:?}");
    }
    // It would have been heard.
    rustix::mount::mount_bind(&volume, world.base.join("probe")).expect("bind");
    rustix::mount::unmount(world.base.join("probe"), rustix::mount::UnmountFlags::empty()).expect("unmount");
    assert!(!heard().is_empty());
    runtime::mounts::detach_tree(&volume).expect("detach");
    world.remove(pod);
}

/// The window: what the host mounts after the sources are cloned and before the container's first process is in its own
/// mount namespace. The first process is stopped there, once an attempt.
fn a_mount_of_the_host_in_the_window_arrives(world: &World) {
    if !cfg!(debug_assertions) {
        println!("  window: SKIPPED, there are no fault points in a release build");
        return;
    }
    for directory in ["vol/own", "vol/late", "own"] {
        std::fs::create_dir_all(world.base.join(directory)).expect("mkdir");
    }
    let volume = world.base.join("vol");
    rustix::mount::mount_bind(&volume, &volume).expect("bind");
    rustix::mount::mount_change(&volume, MountPropagationFlags::SHARED).expect("share");
    let mount = || {
        let none: Option<&std::ffi::CStr> = None;
        rustix::mount::mount("tmpfs", volume.join("late"), "tmpfs", MountFlags::empty(), none)
            .expect("mount");
    };
    let go_on =
        |child| rustix::process::kill_process(child, rustix::process::Signal::CONT).expect("continue");

    let mut supervisor = spawn_supervisor("volumes", "mounts.unshare:stop");
    let first = stopped_child(supervisor.id());
    mount();
    go_on(first);
    let second = stopped_child(supervisor.id());
    assert_ne!(first, second, "the one that missed it was thrown away");
    go_on(second);
    let id = first_line(&mut supervisor);
    let (code, table) = world.exec(&id, &["cat", "/proc/self/mountinfo"]);
    assert_eq!(code, 0, "{table}");
    for place in ["/received/late", "/both/late", "/received/own", "/both/own"] {
        let rows = table.lines().filter(|line| line.split(' ').nth(4) == Some(place)).count();
        assert_eq!(rows, 1, "{place} in {table}");
    }
    supervisor.kill().expect("kill");
    supervisor.wait().expect("wait");
    remove_everything(world);

    // A host that mounts something in every attempt ends in an error, not in a loop.
    let mut supervisor = spawn_supervisor("volumes", "mounts.unshare:stop");
    for _ in 0..runtime::mounts::REDO_MAX {
        let child = stopped_child(supervisor.id());
        mount();
        go_on(child);
    }
    let line = first_line(&mut supervisor);
    assert!(line.contains("changed during each of 16 attempts"), "{line}");
    assert_eq!(supervisor.wait().expect("wait").code(), Some(3));
    remove_everything(world);
    let ours = 1 + runtime::mounts::REDO_MAX as usize;
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    assert_eq!(
        table.lines().filter(|line| line.contains("/vol/late ")).count(),
        ours,
        "none of them is doubled"
    );
    rustix::mount::unmount(&volume, rustix::mount::UnmountFlags::DETACH).expect("umount");
    world.check_nothing_left();
}

fn exe_check() -> ! {
    let read_only = sys::process::exe_is_read_only().expect("statvfs");
    let writable = rustix::fs::access("/proc/self/exe", rustix::fs::Access::WRITE_OK);
    println!("{read_only} {:?}", writable.err().map(Errno::raw_os_error));
    if !read_only {
        panic!("{}", sys::process::ensure_read_only_exe().expect_err("re-exec"));
    }
    std::process::exit(0)
}

fn our_executable_is_read_only(_: &World) {
    let exe = std::env::current_exe().expect("exe");
    let inode = std::fs::metadata(&exe).expect("stat").ino();
    assert_ne!(inode, 0);
    let output = Command::new(exe).arg(EXE_CHECK).output().expect("run");
    let expected = format!("false None\ntrue Some({})\n", Errno::ROFS.raw_os_error());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
}

fn a_wrong_configuration_makes_nothing(world: &World) {
    let pod = world.usual_pod();
    let before = std::fs::read_dir(&world.dirs.state).expect("state").count();
    let check = |config: &ContainerConfig, field: &str| {
        let result = pod.create_container(config, &world.image);
        assert!(matches!(&result, Err(Error::Config { field: is, .. }) if *is == field), "{result:?}");
        assert_eq!(std::fs::read_dir(&world.dirs.state).expect("state").count(), before);
    };
    check(&ContainerConfig::default(), "command");
    check(&command(&["a\0b"]), "command");
    let unknown = security(|security| security.capabilities.add_capabilities = strings(&["SYS_FOO"]));
    check(&ContainerConfig { security_context: unknown, ..shell("true") }, "capabilities");
    let negative = security(|security| security.run_as_user = Some(-1));
    check(&ContainerConfig { security_context: negative, ..shell("true") }, "runAsUser");
    let mut wrong = world.image.clone();
    wrong.config.stop_signal = Some("SIGFOO".to_owned());
    assert!(matches!(pod.create_container(&shell("true"), &wrong), Err(Error::Config { .. })));
    world.remove(pod);
}
